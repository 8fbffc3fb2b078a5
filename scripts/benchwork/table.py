"""The figures as a table: in text, row by row as they come, and for a page of docs/."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Callable

from .serving import GDB
from .trial import Row

HEADS = (
    *("heap", "chunks", "MiB", "read", "command", "seconds", "CPU", "x read", "stands still"),
    *("bare", "peak MiB"),
)
LEFT = ("heap", "command")
WIDTHS = (17, 11, 6, 6, 28, 7, 7, 7, 12, 6, 8)
FEW = 0.1  # CPUs
SHORTEST = 0.01  # seconds: what takes less to read is not what looking at it costs
BEGIN, END = re.compile(r"<!-- begin: scripts/bench(.*) -->"), "<!-- end: scripts/bench -->"


def cells(row: Row) -> list[str]:
    """Return a row's texts; seconds, CPU and memory are beyond a bare gdb."""
    wanted, core = row.heap, ", core" if row.core else ""
    usual = wanted.number == wanted.heap.number
    name = wanted.heap.name if usual else f"{wanted.heap.name}={wanted.number}"
    what = [name, f"{row.facts.chunks:,}", f"{row.facts.size >> 20:,}", f"{row.read.seconds:.2f}"]
    if row.cost is None:
        return [*what, row.name + core, "failed", *[""] * 5]
    seconds = row.cost.seconds - row.bare.seconds
    return [
        *(*what, row.name + core, f"{seconds:.2f}", f"{row.cost.cpu - row.bare.cpu:.2f}"),
        f"{seconds / row.read.seconds:.1f}" if row.read.seconds >= SHORTEST else "",
        *(["", ""] if row.core else [f"{row.cost.still:.2f}", f"{row.bare.still:.2f}"]),
        f"{(row.cost.peak - row.bare.peak) / 1024:.0f}",
    ]


def lines(rows: Iterable[Row]) -> list[str]:
    """Return rows of one heap as lines of text; what is the heap's stands in the first."""
    return [
        _padded(texts if not i else ["", "", "", "", *texts[4:]])
        for i, texts in enumerate(cells(row) for row in rows)
    ]


def head() -> str:
    return _padded(HEADS)


def _padded(texts: Sequence[str]) -> str:
    return "  ".join(
        f"{text:{'<' if title in LEFT else '>'}{width}}"
        for text, title, width in zip(texts, HEADS, WIDTHS)
    ).rstrip()


def markdown(rows: Sequence[Row], others: float) -> str:
    """Return the table for a page, with what it was measured on, and what others did meanwhile."""
    rule = "|".join("---" if title in LEFT else "---:" for title in HEADS)
    body = [_line(HEADS), f"|{rule}|", *(_line(cells(row)) for row in rows)]
    walks = " and ".join(sorted({row.facts.walk for row in rows}))
    meanwhile = " ".join(("", disturbance(others))).rstrip()
    return "\n".join(body) + f"\n\nMeasured on {machine()}. Walk: {walks}.{meanwhile}"


def disturbance(others: float) -> str:
    """Say that other programs took so many CPUs; nothing where they took next to none."""
    if others < FEW:
        return ""
    return f"Other programs used {others:.1f} CPUs meanwhile: seconds are too many, CPU less so."


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def machine() -> str:
    """Return what the figures depend on, in words."""
    with open("/proc/cpuinfo") as known:
        models = [line.split(":")[1].strip() for line in known if line.startswith("model name")]
    said = subprocess.run([GDB, "--version"], capture_output=True, text=True).stdout
    return ", ".join(
        (
            f"{len(os.sched_getaffinity(0))} CPUs ({models[0] if models else platform.machine()})",
            f"Linux {platform.release()}",
            " ".join(platform.libc_ver()),
            f"gdb {said.partition(chr(10))[0].split()[-1]}",
        )
    )


def update(page: Path, measured: Callable[[list[str]], str]) -> None:
    """Measure each table of a page again: its marker has the arguments."""
    text, at = page.read_text(), 0
    while found := BEGIN.search(text, at):
        end = text.find(END, found.end())
        if end < 0:
            raise ValueError(f"{page.name} lacks {END} behind {found.group()}")
        table = f"\n{measured(shlex.split(found.group(1)))}\n"
        text = text[: found.end()] + table + text[end:]
        at = found.end() + len(table)
        page.write_text(text)
