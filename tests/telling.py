"""The commands that docs/explaining-rss.md shows, run again, and what they say beside the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from live import HEAPX, environment, run


class Step(NamedTuple):
    """A command as the page has it, and what it says there."""

    command: str
    shown: str


def steps_of(text: str) -> list[Step]:
    """Return the commands of a part of the page, in their order."""
    blocks = re.findall(r"^```text\n(.*?)^```", text, re.M | re.S)
    each = r"^\$ (.*)\n((?:(?!\$ ).*\n)*)"
    return [Step(c, s.strip("\n")) for block in blocks for c, s in re.findall(each, block, re.M)]


def said_by(command: str, live: Mapping[str, str], *gdb: str) -> str:
    """Return what a command of the page says now; `live` are the ids and addresses that stand for
    those of the page. gdb's own greetings aren't shown there.
    """
    known = rf"\b({'|'.join(live)})\b"
    words = shlex.split(re.sub(known, lambda m: live[m[0]], command))
    env = environment(COLUMNS="80")
    if words[0] == "gdb":
        answer = run(["gdb", "-nx", *words[1:]], env=env).out
        return "\n".join(line for line in answer.splitlines() if line.startswith("$"))
    if words[0] != "scripts/heapx":
        return run(words, env=env).out
    done = run((HEAPX, *gdb, *words[1:]), env=env)
    assert done.status == 0, done.err
    return done.err + done.out


def as_on_the_page(said: str, page: str, pid: int) -> str:
    """Return an answer with the page's process id instead of the real one, as wide; a part of a
    figure isn't one.
    """
    before = r"(?P<before> *)"

    def instead(found: re.Match[str]) -> str:
        return found["before"][:1] + page.rjust(len(found[0]) - len(found["before"][:1]))

    return re.sub(rf"{before}(?<![\w.,]){pid}(?!\w|[.,]\d)", instead, said).strip("\n")
