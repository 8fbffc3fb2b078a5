"""What valgrind says of a program's leaks, asked while the program rests at its checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from live import run, running
from oracle import Oracle

RECORD = re.compile(
    r"==\d+== ([\d,]+) (?:\(([\d,]+) direct, [\d,]+ indirect\) )?bytes in ([\d,]+) blocks"
    r" are (still reachable|\w+ lost) in loss record"
)
FRAME = re.compile(r"==\d+==    (?:at|by) 0x[0-9A-F]+: (\S+)")


class Record(NamedTuple):
    """Blocks that were allocated at one place and have one fate: what was asked for, in bytes."""

    fate: str  # still reachable, possibly lost, definitely lost, indirectly lost
    blocks: int
    bytes: int
    frames: tuple[str, ...]


class Checked(NamedTuple):
    """What a program knows, and what valgrind found."""

    oracle: Oracle
    records: list[Record]


def checked(exe: Path, *arguments: str, directory: Path) -> Checked:
    """Run a program under valgrind to its checkpoint, and ask for every block's fate there.

    valgrind is asked from outside, so that registers and stacks are those of a program that rests.
    """
    prefix = f"--vgdb-prefix={directory / 'vgdb'}"
    options = ("--leak-check=no", "--vgdb=yes", prefix, f"--log-file={directory / 'log'}")
    command = ("valgrind", *options, str(exe))
    with running(exe, *arguments, directory=directory, command=command) as inferior:
        asked = ("leak_check", "full", "reachable", "any", "unlimited")
        done = run(("vgdb", prefix, f"--pid={inferior.pid}", *asked))
        assert "LEAK SUMMARY" in done.out, done.err
        return Checked(inferior.oracle, list(_records(done.out.splitlines())))


def _records(lines: Iterable[str]) -> Iterable[Record]:
    current, frames = None, []
    for line in lines:
        if match := RECORD.match(line):
            everything, direct, blocks, fate = match.groups()
            current = (fate, _number(blocks), _number(direct or everything))
            frames = []
        elif match := FRAME.match(line):
            frames.append(match[1])
        elif current:
            yield Record(*current, tuple(frames))
            current = None


def _number(text: str) -> int:
    return int(text.replace(",", ""))
