"""Tables: how they are declared, and their typed rows. Nothing here formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from ..records import dataclass

if TYPE_CHECKING:
    from .metrics import Metrics

Value = Union[int, str, bool, None]
Row = Sequence[Value]  # one for each column, in their order
_Thing = TypeVar("_Thing")


class Kind(Enum):
    """What a column holds; its name is the JSON kind."""

    BYTES = "bytes"
    COUNT = "count"
    ADDRESS = "address"
    TEXT = "text"
    BOOL = "bool"
    INDEX = "index"
    TENTHS = "tenths"  # of a percent; only in what people see


ALWAYS, DATA_ONLY = 0, 99


@dataclass(frozen=True)
class Column:
    """One column.

    `of` is how it gets its value from the thing that a row is about: a function, or the path of an
    attribute; without it, the attribute of its own name. A thing that lacks it is an error, and
    None unknown.

    `rank` orders what text leaves out where the terminal is narrow: 0 never. `absent` is what text
    shows for None: `?` where it is unknown. An `exact` size is in bytes, whatever the unit of the
    others, and has no total: a chunk's. A `signed` number is a change: text has a plus before what
    is more. Text that `flows` may be broken into narrow lines, so that
    other columns fit; it comes last. Of text that `shrinks` the middle is left out where the table
    wouldn't fit. A letter that `marks` a part of a bar has the colour that it has there.
    """

    name: str
    kind: Kind
    rank: int = ALWAYS
    title: str | None = None
    absent: str = "?"
    exact: bool = False
    signed: bool = False
    flows: bool = False
    shrinks: bool = False
    marks: bool = False
    of: str | Callable[[Any], Value] | None = None

    @property
    def getter(self) -> Callable[[Any], Value]:
        return self.of if callable(self.of) else attrgetter(self.of or self.name)

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


def within(path: str, *columns: Column) -> tuple[Column, ...]:
    """Return columns about a part of the thing, the attribute with this path."""
    return tuple(replace(each, of=_behind(path, each)) for each in columns)


def _behind(path: str, column: Column) -> str | Callable[[Any], Value]:
    if not callable(column.of):
        return f"{path}.{column.of or column.name}"
    part, get = attrgetter(path), column.of
    return lambda thing: get(part(thing))


@dataclass(frozen=True)
class Many(Generic[_Thing]):
    """Things that are made whenever they are gone over, because they are too many to keep."""

    number: int
    make: Callable[[], Iterator[_Thing]]

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[_Thing]:
        return self.make()


NONE_KNOWN = 0  # rows: not since there are none


@dataclass(frozen=True)
class Table:
    """A named table; `total` has values for the columns that can be added up.

    The first table of a report may be a stream: its `rows` are an iterator, read once and only
    while the target is stopped. Text has one unit for all sizes: that of the largest one, or of the
    largest in the column `scale`. It shows a `few` of the rows at most, of the first table if no
    more are asked for; where that is NONE_KNOWN, it shows nothing without rows, not even that there
    are none. What is in the columns named by `bars` it draws, too, where it has room: as the parts
    of a bar.
    """

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Row] | Many[Row] | Iterator[Row]
    total: Mapping[str, Value] | None = None
    scale: str | None = None
    few: int | None = None
    metrics: Metrics | None = None
    bars: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kept = isinstance(self.rows, Sequence)
        if kept and any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.name}: a row has other columns")

    @property
    def streamed(self) -> bool:
        return isinstance(self.rows, Iterator)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def values(self, name: str) -> Iterator[Value]:
        """Yield what the rows have in a column."""
        at = [column.name for column in self.columns].index(name)
        return (row[at] for row in self.rows)

    def named(self, row: Row) -> dict[str, Value]:
        """Return the values of a row by their columns' names."""
        return {column.name: value for column, value in zip(self.columns, row)}


@dataclass(frozen=True)
class Schema:
    """A table as it is declared: its name, and its columns.

    `adds` are the columns that its total adds up, besides all sizes; None without a total.
    `metrics` tells which are metrics, `bars` which are drawn. ValueError where a column comes
    twice, or isn't there.
    """

    name: str
    columns: tuple[Column, ...]
    adds: tuple[str, ...] | None = None
    metrics: Metrics | None = None
    bars: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"{self.name} has two columns {twice}")
        metrics = self.metrics.columns if self.metrics else ()
        for name in (*(self.adds or ()), *metrics, *self.bars):
            self._check(name)

    def _check(self, name: str) -> None:
        if name not in (column.name for column in self.columns):
            raise ValueError(f"{self.name} has no column {name}")

    def but(self, name: str, **changes: Any) -> Schema:
        """Return the same table with one column changed."""
        self._check(name)
        columns = (replace(c, **changes) if c.name == name else c for c in self.columns)
        return replace(self, columns=tuple(columns))

    def of(self, things: Iterable[Any], scale: str | None = None) -> Table:
        """Return the table with a row about each thing: a stream, where they are one."""
        if isinstance(things, Iterator):
            stream = self._rows(things)
            return Table(self.name, self.columns, stream, scale=scale, metrics=self.metrics)
        rows: list[Row] | Many[Row]
        if isinstance(things, Many):
            rows = Many(len(things), lambda: self._rows(things))
        else:
            rows = list(self._rows(things))
        sums = None if self.adds is None else total(self.columns, rows, *self.adds)
        return Table(
            self.name, self.columns, rows, sums, scale, metrics=self.metrics, bars=self.bars
        )

    def _rows(self, things: Iterable[Any]) -> Iterator[Row]:
        paths = [column.of or column.name for column in self.columns if not callable(column.of)]
        if len(paths) == len(self.columns) > 1:
            return map(attrgetter(*paths), things)  # one call a row
        getters = [column.getter for column in self.columns]
        return (tuple(get(thing) for get in getters) for thing in things)


def total(columns: Sequence[Column], rows: Iterable[Row], *counts: str) -> dict[str, int | None]:
    """Return the sums of all sizes, and of these counts; None where a value is unknown."""
    names = (*counts, *(column.name for column in columns if column.scaled))
    sums: dict[str, int | None] = dict.fromkeys(names, 0)
    places = [(column.name, at) for at, column in enumerate(columns) if column.name in sums]
    for row in rows:
        for name, at in places:
            value, so_far = row[at], sums[name]
            if so_far is not None:
                sums[name] = so_far + value if isinstance(value, int) else None
    return sums
