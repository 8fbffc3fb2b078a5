"""What docs/explaining-rss.md shows, and the server of scripts/demo: it has freed what it answered,
and waits.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from live import ROOT, TIMEOUT, at_rest, environment, eventually

MB = 256
FIRST, SECOND = (ROOT / "docs" / "explaining-rss.md").read_text().split("\n## A second case")


class Shown(NamedTuple):
    """A command of heapx's as the page has it: the process, what is asked, and what it says."""

    pid: int
    line: str
    said: str


def shown_in(page: str) -> list[Shown]:
    """Return the commands of a part of the page, and what they say up to an empty line."""
    found = re.findall(r"^\$ scripts/heapx -p (\d+)(.*)\n((?:.+\n)+)", page, re.M)
    return [Shown(int(pid), line.strip(), said) for pid, line, said in found]


def words(text: str) -> str:
    """Return a text without its figures, units and files."""
    text = re.sub(r"\bprocess .*", "process", " ".join(text.split()))
    text = re.sub(r"0x[0-9a-f]+|[\d,.]+|\b(B|KiB|MiB|GiB)\b", "#", text)
    return re.sub(r"[# ]*#[# ]*", " # ", text)


class Server(NamedTuple):
    """The server, and the lines that it says from now on."""

    pid: int
    lines: Iterator[str]


def demo_program(directory: Path) -> Path:
    """Return the server, compiled."""
    program = directory / "demo_server"
    words = ("cc", "-std=c11", "-O1", "-g", "-pthread", "-o", program)
    subprocess.run([*words, ROOT / "scripts" / "demo_server.c"], check=True, timeout=TIMEOUT)
    return program


@contextlib.contextmanager
def serving(program: Path, mb: int = MB, **env: str) -> Iterator[Server]:
    """Start the server; in the end it must free all it has, and exit with 0."""
    with subprocess.Popen(
        [program, str(mb)], stdout=subprocess.PIPE, text=True, env=environment(**env)
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert any(line.startswith("ready ") for line in lines)
            eventually(lambda: at_rest(process.pid), "the demo rests")
            yield Server(process.pid, lines)
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
