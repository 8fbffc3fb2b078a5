"""What malloc has at hand, as the replay changes it: an arena, a tcache, and the program break."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import NamedTuple

from ..errors import HeapxError
from ..glibc.layout import (
    BK,
    BK_NEXTSIZE,
    FD,
    FD_NEXTSIZE,
    FLAGS,
    NONCONTIGUOUS,
    PREV_INUSE,
    SIZE,
    UNSORTED,
    Layout,
)
from ..glibc.releases import FASTCHUNKS_BIT
from ..records import dataclass
from ..target.granting import Granting, Refusal
from ..target.space import Record
from .overlay import FRESH, Written
from .rules import Rules


class Untold(HeapxError):  # noqa: N818
    """What malloc would do can't be told; the statement says why."""


class Served(NamedTuple):
    """Where a chunk came from, its address and size, and how much was split off behind it."""

    source: str
    chunk: int
    size: int | None
    remainder: int | None = 0


@dataclass
class Mstate:
    """One arena. `index` is None of one that the replay has made."""

    address: int
    main: bool
    index: int | None
    top: int
    last_remainder: int
    system: int
    contiguous: bool
    have_fastchunks: bool
    fast: list[int]
    binmap: list[int]
    next_free: int = 0

    @classmethod
    def of(cls, record: Record, main: bool, index: int, layout: Layout) -> Mstate:
        """Return an arena as the target has it."""
        flags, word = record["flags"], layout.word
        own = record["have_fastchunks"] if "have_fastchunks" in record.struct else None
        return cls(
            record.address,
            main,
            index,
            record["top"],
            record["last_remainder"],
            record["system_mem"],
            not flags & NONCONTIGUOUS,
            bool(own) if own is not None else not flags & FASTCHUNKS_BIT,
            list(record.array("fastbinsY", word)) if layout.has_fastbins else [],
            list(record.array("binmap", 4)),
            record["next_free"],
        )


@dataclass
class Merging:
    """What became of an arena's fast chunks, and of the free chunks beside them, which were
    `removed`: sizes with their numbers, and bytes that were added to top.
    """

    removed: Counter[int] = field(default_factory=Counter)
    made: Counter[int] = field(default_factory=Counter)
    topped: int = 0


@dataclass
class Replay:
    """All of one malloc. `brk` is the program break, `above` where what is mapped behind it begins:
    None where unknown. `grown` are the bytes that were got from the system, None where that can't
    be told. `refusal` is what the kernel has refused last.
    """

    layout: Layout
    rules: Rules
    memory: Written
    arenas: dict[int, Mstate]
    page: int
    brk: int | None
    above: int | None
    granting: Granting
    grown: int | None = 0
    refusal: Refusal | None = None
    merging: dict[int, Merging] = field(default_factory=dict)
    firsts: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)

    def granted(self, refusal: Refusal | None) -> bool:
        """Tell whether the kernel may give what was asked for."""
        self.refusal = refusal or self.refusal
        return refusal is None

    def mapped(self, size: int, writable: int) -> None:
        """Count what is mapped, or no more where that is negative, as what the process has."""
        self.granting = self.granting.less(size, writable)

    def grow(self, size: int | None) -> None:
        self.grown = None if None in (self.grown, size) else (self.grown or 0) + (size or 0)

    # A chunk's words (struct malloc_chunk).

    def word(self, chunk: int, which: int) -> int:
        return self.memory.word(chunk + which * self.layout.word)

    def write(self, chunk: int, which: int, value: int) -> None:
        self.memory.write(chunk + which * self.layout.word, value)

    def size(self, chunk: int) -> int:
        return self.memory.word(chunk + self.layout.word) & ~FLAGS

    def head_and_fd(self, chunk: int) -> tuple[int, int]:
        return self.word(chunk, SIZE), self.word(chunk, FD)

    def fd(self, chunk: int) -> int:
        return self.word(chunk, FD)

    def bk(self, chunk: int) -> int:
        return self.word(chunk, BK)

    def is_small(self, size: int) -> bool:
        return size < self.layout.smallest_large

    def set_head(self, chunk: int, size: int) -> None:
        self.write(chunk, SIZE, size | PREV_INUSE)

    def link(self, chunk: int, before: int, behind: int) -> None:
        """Hang a chunk into a list, between two that are next to each other there."""
        self.write(chunk, BK, before)
        self.write(chunk, FD, behind)
        self.write(before, FD, chunk)
        self.write(behind, BK, chunk)

    def read_info(self, heap: int, name: str) -> int:
        """Return a member of a heap_info."""
        return self.memory.word(heap + self.layout.heap_info[name].offset)

    def write_info(self, heap: int, name: str, value: int) -> None:
        self.memory.write(heap + self.layout.heap_info[name].offset, value)

    def heap_page(self, heap: int) -> int:
        """Return what a heap grows and shrinks by (2.35: its own pagesize)."""
        return self.read_info(heap, "pagesize") if self.has_pagesize else self.page

    @property
    def has_pagesize(self) -> bool:
        return "pagesize" in self.layout.heap_info

    def take_last(self, bin_: int, what: str) -> int:
        """Take the last chunk off a list that isn't empty; Untold where its links are damaged."""
        victim = self.bk(bin_)
        before = self.bk(victim)
        self.check(self.fd(before) == victim, what, victim)
        self.write(bin_, BK, before)
        self.write(before, FD, bin_)
        return victim

    def check(self, sound: bool, what: str, chunk: int) -> None:
        """Untold where malloc would find damage, and end the process."""
        if not sound:
            where = f"{chunk:#x}" if chunk < FRESH else "a new chunk"
            raise Untold(f"{what} is damaged at {where}: malloc would abort")

    def first_unsorted(self, arena: Mstate, chunk: int, size: int) -> None:
        """Hang a free chunk into the unsorted bin, as its first."""
        head = self.layout.bin_at(arena.address, UNSORTED)
        first = self.fd(head)
        self.check(self.bk(first) == head, "the unsorted bin", first)
        self.link(chunk, head, first)
        if not self.is_small(size):
            self.write(chunk, FD_NEXTSIZE, 0)
            self.write(chunk, BK_NEXTSIZE, 0)
        self.set_head(chunk, size)
        self.memory.write(chunk + size, size)

    def split(self, arena: Mstate, chunk: int, size: int, nb: int) -> int:
        """Leave `nb` bytes to a chunk that was taken, and what remains to the unsorted bin, if that
        can be a chunk; return the bytes of the rest.
        """
        rest = size - nb
        if rest < self.layout.min_size:
            self.memory.set_lowest(chunk + size + self.layout.word)
            return 0
        self.first_unsorted(arena, chunk + nb, rest)
        self.set_head(chunk, nb)
        return rest
