"""What a command line may ask for that needs no target, and what is meant for another place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .. import __version__
from ..errors import UsageError

HELP = ("--help", "-h")
VERSION = f"heapx {__version__}"
# Options of the shell command, and what does the same in gdb.
IN_GDB = {
    **dict.fromkeys(("-p", "--pid"), "attach {}"),
    "--core": "core-file {}",
    "--exe": "file {}",
    "--set": "set heapx {}",
    "--snapshot": "heapx load {}",
}
WANTED = {"attach {}": "PID", "core-file {}": "CORE", "file {}": "PROGRAM", "heapx load {}": "FILE"}


def help_topic(words: Sequence[str]) -> list[str] | None:
    """Return the words of the command whose help is asked for, none if heapx's own is; None if it
    isn't help that is asked for.
    """
    if words[:1] == ["help"] or any(word in HELP for word in words):
        return [word for word in words if word not in ("help", "heapx", *HELP)]
    return None


def check_at_prompt(
    words: Sequence[str], line: str, expressions: bool, runs: Callable[[str], bool]
) -> None:
    """Refuse words that only a shell understands, in a line typed at gdb's prompt; UsageError says
    what gdb has for it. Where it may have `expressions`, `|` is one's unless a program follows:
    `runs` tells.
    """
    option, _, value = words[0].partition("=") if words else ("", "", "")
    if option in IN_GDB:
        there = IN_GDB[option]
        value = value or (words[1] if len(words) > 1 else WANTED.get(there, "NAME VALUE"))
        value = value.replace("=", " ", 1) if option == "--set" else value
        raise UsageError(f"{option} is for a shell", f"In gdb: {there.format(value)}")
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if re.match(r">(?!=)", word):
            file = word.lstrip(">") or following or "FILE"
            before = " ".join(("heapx", *words[:at]))
            raise UsageError("gdb redirects nothing", f"In gdb: {before} --output {file}")
        program = word[1:] or following
        if word.startswith("|") and (not expressions or runs(program)):
            raise UsageError("gdb has a command for pipes", f"In gdb: pipe {line}")
