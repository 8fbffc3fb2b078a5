"""What a command answers: typed tables, problems, and sentences. Nothing here formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Union

from ..errors import Problem

Value = Union[int, str, bool, None]
Row = Mapping[str, Value]


class Kind(Enum):
    """What a column holds; its name is the JSON kind."""

    BYTES = "bytes"
    COUNT = "count"
    ADDRESS = "address"
    TEXT = "text"
    BOOL = "bool"
    INDEX = "index"


ALWAYS, DATA_ONLY = 0, 99


@dataclass(frozen=True)
class Column:
    """One column.

    `rank` orders what text leaves out where the terminal is narrow: 0 never. `absent` is what text
    shows for None: `?` where it is unknown. An `exact` size is in bytes, whatever the unit of the
    others, and has no total: a chunk's. Text that `flows` may be broken into narrow lines, so that
    other columns fit; it comes last.
    """

    name: str
    kind: Kind
    rank: int = ALWAYS
    title: str | None = None
    absent: str = "?"
    exact: bool = False
    flows: bool = False

    @property
    def heading(self) -> str:
        return self.name.replace("_", " ") if self.title is None else self.title

    @property
    def scaled(self) -> bool:
        """Whether it holds sizes in the unit of its table."""
        return self.kind is Kind.BYTES and not self.exact

    @property
    def leftward(self) -> bool:
        """Whether its cells begin at the left: numbers end at the right."""
        return self.kind in (Kind.TEXT, Kind.BOOL)


@dataclass(frozen=True)
class Table:
    """A named table; `total` has values for the columns that can be added up.

    The first table of a report may be a stream: its `rows` are an iterator, read once and only
    while the target is stopped. Text has one unit for all sizes: that of the largest one, or of the
    largest in the column `scale`.
    """

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Row] | Iterator[Row]
    total: Row | None = None
    scale: str | None = None

    @property
    def streamed(self) -> bool:
        return isinstance(self.rows, Iterator)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Finding:
    """Something learnt: a stable code, the bytes at stake, and what to do about it.

    `bytes` are bytes of RAM, None where they can't be told. `evidence` are addresses and figures.
    The first sentence of `statement` says it all, that of `remedy` is what to do; more explain.
    """

    code: str
    bytes: int | None
    statement: str
    evidence: tuple[str, ...] = ()
    remedy: str | None = None


@dataclass(frozen=True)
class Bar:
    """A whole cut into parts: each has its letter, and its size."""

    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Dump:
    """Bytes of the target, for a hex dump; `offset` is how far into their chunk they begin."""

    address: int
    data: bytes
    offset: int = 0


@dataclass(frozen=True)
class Report:
    """The answer of a command, in the order in which text shows it.

    `brief` findings come in a sentence, without their evidence. With a streamed table, `problems`
    may be a list that grows while its rows are read.
    """

    tables: tuple[Table, ...]
    problems: Sequence[Problem] = ()
    lead: tuple[str, ...] = ()
    bar: Bar | None = None
    dump: Dump | None = None
    findings: tuple[Finding, ...] = ()
    brief: bool = False
    notes: tuple[str, ...] = ()
    next_steps: tuple[tuple[str, str], ...] = ()


def total(columns: Sequence[Column], rows: Sequence[Row], *counts: str) -> dict[str, Value]:
    """Return the sums of all sizes, and of these counts; None where a value is unknown."""
    sums: dict[str, Value] = {}
    for name in (*counts, *(c.name for c in columns if c.scaled)):
        values = [row[name] for row in rows]
        known = [value for value in values if isinstance(value, int)]
        sums[name] = sum(known) if len(known) == len(values) else None
    return sums


UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size: int) -> str:
    """Return a size for use in a sentence: `128 KiB`, `25.5 MiB`, `2.05 GiB`."""
    for unit, name in UNITS:
        if size >= unit:
            text = f"{size / unit:.{2 if unit >= 1 << 30 else 1}f}"
            return f"{text.rstrip('0').rstrip('.')} {name}"
    return f"{size} B"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 chunk`, `2,000 chunks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
