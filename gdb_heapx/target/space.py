"""An address space, read: words, structs and strings, and what of it is in memory."""

from __future__ import annotations

import sys
from array import array
from dataclasses import field
from functools import cached_property
from struct import unpack
from typing import Protocol, Union

from ..errors import MemoryFault, StoppedError, UnreadError
from ..glibc.layout import Struct
from ..records import dataclass
from .facts import ByteOrder, Facts
from .mappings import Fill, Mapping, Mappings, Memory
from .pace import Pace

Words = Union[memoryview, "array[int]"]  # of a target, as integers


class Residency(Protocol):
    """Which bytes of the target are in memory; `page` is the page size in bytes."""

    page: int

    def missing(self, start: int, end: int) -> tuple[int, int, int]:
        """Return how many bytes of [start, end) are not resident, how many of these are swapped,
        and how many of the others are in pages that another process has mapped, too.
        """

    def states(self, start: int, end: int) -> bytes:
        """Return the states of the pages that hold [start, end), a byte each (pages.py)."""


@dataclass(frozen=True)
class Space:
    """The address space of a target.

    `residency` is None where it isn't known; where it is, pages that nobody has touched aren't
    read. Whatever is read, `memory` brings back from swap only as much as is allowed, and raises
    SwappedOutError beyond that. `compiled` is False where the user wants it walked in Python. What
    reads long asks `pace` whether to go on. `fill` reads what is known to be in RAM, in any thread;
    None where that can't be.
    """

    facts: Facts
    memory: Memory
    residency: Residency | None = None
    compiled: bool = True
    pace: Pace = field(default_factory=Pace)
    fill: Fill | None = None

    @cached_property
    def word(self) -> int:
        return self.facts.word

    @cached_property
    def byteorder(self) -> ByteOrder:
        return self.facts.byteorder

    @cached_property
    def page(self) -> int:
        return self.facts.page

    @property
    def mappings(self) -> Mappings:
        """What it is made of; empty where that isn't known."""
        return self.facts.mappings

    def mapping_at(self, address: int) -> Mapping | None:
        """Return the mapping that has this address, None without."""
        return self.mappings.at(address)

    def words(self, address: int, count: int) -> Words:
        """Return `count` words at `address` as integers; MemoryFault where they can't be read."""
        return self.as_words(self.memory.read(address, count * self.word))

    def words_before_gap(self, address: int, count: int) -> Words:
        """Return up to `count` words at `address`, those before a page that can't be read."""
        data = memoryview(self.bytes_before_gap(address, count * self.word))
        return self.as_words(data[: len(data) // self.word * self.word])

    def bytes_before_gap(self, address: int, size: int) -> bytes:
        """Return up to `size` bytes at `address`, those before a page that can't be read."""
        data = b""
        while len(data) < size:
            here = address + len(data)
            try:
                data += self.memory.read(here, min(size - len(data), self.page - here % self.page))
            except MemoryFault:
                break
        return data

    def as_words(self, data: memoryview) -> Words:
        """Return raw bytes of the target as words."""
        view = data.cast("Q" if self.word == 8 else "I")
        if self.byteorder == sys.byteorder:
            return view
        swapped = array(view.format, view.tolist())
        swapped.byteswap()
        return swapped

    def read_word(self, address: int) -> int:
        """Return the word at `address`."""
        return self.read_int(address, self.word)

    def try_word(self, address: int) -> int | None:
        """Return the word at `address`, None where nothing can be read; UnreadError where that
        can't be told.
        """
        try:
            return self.read_word(address)
        except UnreadError:
            raise
        except MemoryFault:
            return None

    def read_int(self, address: int, size: int) -> int:
        """Return the unsigned integer of `size` bytes at `address`."""
        return int.from_bytes(self.memory.read(address, size), self.byteorder)

    def read_string(self, address: int, limit: int = 256) -> str:
        """Return the C string at `address`, cut at `limit` bytes; read page by page."""
        data = b""
        while b"\0" not in data and len(data) < limit:
            here = address + len(data)
            data += bytes(self.memory.read(here, min(limit, self.page - here % self.page)))
        return data.split(b"\0")[0].decode(errors="replace")

    def read_struct(self, struct: Struct, address: int) -> Record:
        """Return the members of the struct at `address`, read at once."""
        return Record(self, struct, address, bytes(self.memory.read(address, struct.size)))

    def readable(self, address: int, size: int = 1) -> bool:
        """Tell whether memory can be read there; StoppedError where no more is read."""
        try:
            self.memory.read(address, size)
        except StoppedError:
            raise
        except MemoryFault:
            return False
        return True


_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of struct's, by bytes


@dataclass(frozen=True)
class Record:
    """One struct read from the target: its members as integers or tuples of integers."""

    space: Space
    struct: Struct
    address: int
    data: bytes

    def __getitem__(self, name: str) -> int:
        member = self.struct[name]
        return int.from_bytes(
            self.data[member.offset : member.offset + member.size], self.space.byteorder
        )

    def get(self, name: str, default: int = 0) -> int:
        """Return a member that some releases lack, else `default`."""
        return self[name] if name in self.struct else default

    def array(self, name: str, size: int) -> tuple[int, ...]:
        """Return an array member as integers of `size` bytes each."""
        start, length = self.struct[name]
        order = "<" if self.space.byteorder == "little" else ">"
        return unpack(f"{order}{length // size}{_CODES[size]}", self.data[start : start + length])

    def address_of(self, name: str) -> int:
        """Return the address of a member in the target."""
        return self.address + self.struct[name].offset
