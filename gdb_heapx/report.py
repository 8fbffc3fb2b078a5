"""What a command answers: typed tables, problems, and sentences. Nothing here formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Union

from .errors import Problem

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
    shows for None: `?` where it is unknown.
    """

    name: str
    kind: Kind
    rank: int = ALWAYS
    title: str | None = None
    absent: str = "?"

    @property
    def heading(self) -> str:
        return self.title or self.name.replace("_", " ")


@dataclass(frozen=True)
class Table:
    """A named table; `total` has values for the columns that can be added up."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    total: Row | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Report:
    """The answer of a command. `lead` goes above the tables, `notes` and `next_steps` below."""

    tables: tuple[Table, ...]
    problems: tuple[Problem, ...] = ()
    lead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_steps: tuple[tuple[str, str], ...] = ()


def total(columns: Sequence[Column], rows: Sequence[Row], *names: str) -> dict[str, Value]:
    """Return the sums of these columns; None where a value is unknown."""
    sums: dict[str, Value] = {}
    for name in names:
        values = [row[name] for row in rows]
        known = [value for value in values if isinstance(value, int)]
        sums[name] = sum(known) if len(known) == len(values) else None
    return sums


UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size: int) -> str:
    """Return a size for use in a sentence: `128 KiB`, `1.9 GiB`."""
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} B"
