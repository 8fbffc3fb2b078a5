"""Programs whose chunks in use are known, as heapx can see them: running, and in cores."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from live import (
    Report,
    at_rest,
    eventually,
    gcore,
    gdb,
    kernel_core,
    reports,
    run,
    running,
    table,
)
from oracle import Oracle

WAYS = ("live", "gcore", "kernel", "stripped")
NO_SYMBOLS = ("-iex", "set debug-file-directory /nonexistent")
ALL = "--limit 100000"  # rows


Found = dict[Optional[int], Counter[str]]  # chunks by size and degree


class Seen(NamedTuple):
    """What a program knows, and what heapx says of it, by command."""

    oracle: Oracle
    reports: dict[str, Report]


def stripped(exe: Path, directory: Path) -> Path:
    """Copy a program without its symbols, with the libraries that it is given."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in (exe, exe.parent / "held.so", exe.parent / "libcount.so"):
        copy = Path(shutil.copy(file, directory))
        assert not run(("strip", "--strip-all", copy)).err
    return directory / exe.name


@contextlib.contextmanager
def seen(
    way: str,
    exe: Path,
    *arguments: str,
    directory: Path,
    commands: Sequence[str],
    symbols: Sequence[str] = (),
    **options: Any,
) -> Iterator[Seen]:
    """Run a program to its checkpoint and ask these commands of it, in one of the ways.

    What says that it is ready may be a child of what was started. `symbols` are words for gdb.
    """
    if way == "stripped":
        exe, symbols = stripped(exe, directory / "stripped"), NO_SYMBOLS
    with running(exe, *arguments, directory=directory, **options) as inferior:
        pid = int((directory / "ready").read_text())
        eventually(lambda: at_rest(pid), f"{exe.name} rests")
        target: tuple[Any, ...] = ("-p", pid)
        if way == "gcore":
            target = (exe, gcore(pid, directory / "core"))
        elif way == "kernel":
            target = (exe, kernel_core(inferior))
        lines = [f"heapx {command} {ALL}" for command in commands]
        found = reports(lines, directory / "reports", (*symbols, *target))
        yield Seen(inferior.oracle, dict(zip(commands, found.values())))


def in_use(oracle: Oracle) -> tuple[int, int]:
    """Return the chunks in use and their bytes, as the counter preloaded around malloc has them."""
    return (
        sum(count.chunks for count in oracle.counts.values()),
        sum(count.bytes for count in oracle.counts.values()),
    )


def degrees_by_size(report: Report) -> Found:
    """Return how many chunks of each size `heapx leaks` has in each degree.

    What hangs from a leaked head is `indirect`.
    """
    found: Found = {}
    for row in table(report, "leaks"):
        counted = found.setdefault(row["size"], Counter())
        if row["degree"] in ("leaked", "unreferenced"):
            counted["leaked"] += row["heads"]
            counted["indirect"] += row["indirect_chunks"]
        else:
            counted[row["degree"]] += row["chunks"]
    return found


# A part is as short as parts can be, and no more than 128 KiB are at hand, or one part.
FEW_AT_HAND = (
    "python import gdb_heapx.held.parts as p, gdb_heapx.target.cgroups as c",
    "python p.PIECE = 64 << 10; c.affordable = lambda pid: 128 << 10",
)


def in_passes(pid: int, line: str) -> str:
    """Return what heapx says behind what gdb says of where it has stopped."""
    lines = (*FEW_AT_HAND, "echo \\n--\\n", f"heapx {line} --passes")
    return gdb(*lines, target=("-p", pid)).out.partition("\n--\n")[2]
