"""Backtraces: to be read, and in one line each, for tools that make flame graphs."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import escape
from ..records import dataclass
from .model import Report

FOLDED, STACK, BYTES = "folded", "stack", "bytes"


@dataclass(frozen=True)
class Trace:
    """A backtrace: what it is about, and its frames, the innermost first."""

    heading: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class Traces:
    """Backtraces to be read; scripts have them as a table with a column `stack`."""

    traces: tuple[Trace, ...]


def folded(report: Report) -> Iterator[str]:
    """Yield a line for each row of a table that has stacks: `main;grow;malloc 135168`."""
    for table in report.tables:
        if table.column(STACK) is not None:
            for stack, size in zip(table.values(STACK), table.values(BYTES)):
                yield f"{escape(str(stack))} {size}\n"
