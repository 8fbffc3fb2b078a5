"""What the symbols of an ELF file call a place: sorted once, three words for each symbol."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .headers import Data
from .mapped import Mapped

STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC = 1, 2, 5, 6, 10
PLACED = (STT_OBJECT, STT_FUNC, STT_COMMON, STT_GNU_IFUNC)  # symbols whose value is an address
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
# By STB_ number: of several names for one place a global one leads, then a weak one.
BINDINGS = {0: 2, 1: 0, 2: 1, 10: 0}
UNKNOWN_BINDING, NO_SIZE = 3, 4
LONGEST_NAME = 1 << 16  # bytes; those of C++ can be long
ROW_BITS, TABLE_BITS, RANK_BITS = 32, 2, 4


class Symbol(NamedTuple):
    """The symbol that a place lies in: its name, how far into it, and its size in bytes."""

    name: str
    offset: int
    size: int


class Function(NamedTuple):
    """A function: where it begins and ends, and its name."""

    start: int
    end: int
    name: str


class SymbolTable(NamedTuple):
    """A symbol table and its strings, as offsets in the file."""

    start: int
    size: int
    strings: int
    strings_size: int


class Row(NamedTuple):
    """One symbol: where its name is in the strings, and what it is."""

    name: int
    info: int
    section: int
    value: int
    size: int


class Rows:
    """The symbols of one table. A file is read when it is asked; what only memory holds, now."""

    def __init__(self, data: Data, table: SymbolTable, word: int, order: str) -> None:
        self._wide = word == 8
        self._layout = struct.Struct(order + ("IBBHQQ" if self._wide else "IIIBBH"))
        rows, text = table.start, table.strings
        if isinstance(data, Mapped):
            self._rows = memoryview(data[rows : rows + table.size])
            self._text: Data | bytes = data[text : text + table.strings_size]
            text = 0
        else:
            self._rows = memoryview(data)[rows : rows + table.size]
            self._text = data
        self._strings = range(text, text + table.strings_size)
        self._rows = self._rows[: self.count * self._layout.size]

    @property
    def count(self) -> int:
        return len(self._rows) // self._layout.size

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._layout.iter_unpack(self._rows))

    def __getitem__(self, number: int) -> Row:
        return self._row(self._layout.unpack_from(self._rows, number * self._layout.size))

    def _row(self, fields: Sequence[int]) -> Row:
        if self._wide:
            name, info, _, section, value, size = fields
        else:
            name, value, size, info, _, section = fields
        return Row(name, info, section, value, size)

    def name(self, row: Row) -> str:
        """Return a symbol's name without its version, "" without one."""
        start = self._strings.start + row.name
        text = self._text[start : min(start + LONGEST_NAME, self._strings.stop)]
        return text.split(b"\0", 1)[0].partition(b"@")[0].decode(errors="replace")


class SymbolIndex:
    """The symbols of these kinds in the order of their values, each value once."""

    def __init__(self, tables: Iterable[Rows], kinds: tuple[int, ...]) -> None:
        self._tables = tuple(tables)
        self._starts, self._rows, self._reach = array("Q"), array("Q"), array("Q")
        shift, reach = ROW_BITS + TABLE_BITS + RANK_BITS, 0
        for key in sorted(self._keys(kinds)):
            start, row = key >> shift, key & (1 << ROW_BITS + TABLE_BITS) - 1
            if not self._starts or self._starts[-1] != start:
                reach = max(reach, start + self._row(row)[1].size)
                self._starts.append(start)
                self._rows.append(row)
                self._reach.append(min(reach, (1 << 64) - 1))

    def _keys(self, kinds: tuple[int, ...]) -> Iterator[int]:
        """Yield value, rank, table and row of each symbol as one number: tuples would take more
        memory than the table.
        """
        for table, rows in enumerate(self._tables):
            for number, row in enumerate(rows):
                if row.info & 15 in kinds and row.section not in (SHN_UNDEF, SHN_ABS):
                    rank = BINDINGS.get(row.info >> 4, UNKNOWN_BINDING) + (not row.size) * NO_SIZE
                    key = (row.value << RANK_BITS | rank) << TABLE_BITS | table
                    yield key << ROW_BITS | number

    def _row(self, row: int) -> tuple[Rows, Row]:
        rows = self._tables[row >> ROW_BITS]
        return rows, rows[row & (1 << ROW_BITS) - 1]

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, place: int) -> Symbol | None:
        """Return the innermost symbol that has a place, None without; one without a size has only
        its first byte.
        """
        at = bisect_right(self._starts, place) - 1
        while at >= 0 and (self._reach[at] > place or self._starts[at] == place):
            rows, row = self._row(self._rows[at])
            if place - row.value < max(row.size, 1):
                return Symbol(rows.name(row), place - row.value, row.size)
            at -= 1
        return None
