"""Offsets of glibc's structs, and the arithmetic of chunk sizes and bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from ..records import dataclass

Release = tuple[int, int]

PREV_INUSE = 1
IS_MMAPPED = 2
NON_MAIN_ARENA = 4
FLAGS = 7
PREV_SIZE, SIZE, FD, BK, FD_NEXTSIZE, BK_NEXTSIZE = range(6)  # the words of a malloc_chunk
CHUNK_WORDS = 6

NONCONTIGUOUS = 2  # malloc_state.flags
NBINS = 128
NSMALLBINS = 64
UNSORTED = 1
LAST_BIN = NBINS - 2  # the last one, NBINS - 1, exists, and is never filled


class Field(NamedTuple):
    """One member as the C source declares it; `size` 0 means a word; `until` is exclusive."""

    name: str
    size: int
    number: int = 1
    since: Release = (0, 0)
    until: Release = (99, 0)


class Member(NamedTuple):
    """Where a member lies: offset and whole size in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class Struct:
    """The members of one struct by name, with the struct's size in bytes."""

    name: str
    size: int
    members: Mapping[str, Member]

    def __contains__(self, member: str) -> bool:
        return member in self.members

    def __getitem__(self, member: str) -> Member:
        return self.members[member]


def lay_out(name: str, fields: Iterable[Field], word: int, release: Release) -> Struct:
    """Return the struct that a C compiler makes of `fields` in `release`."""
    offset, widest, members = 0, 1, {}
    for field in fields:
        if not field.since <= release < field.until:
            continue
        size = field.size or word
        offset = align_up(offset, size)
        members[field.name] = Member(offset, size * field.number)
        offset += size * field.number
        widest = max(widest, size)
    return Struct(name, align_up(offset, widest), members)


def align_up(value: int, alignment: int) -> int:
    """Return `value` rounded up to a multiple of `alignment`, a power of two."""
    return (value + alignment - 1) & -alignment


def align_down(value: int, alignment: int) -> int:
    """Return `value` rounded down to a multiple of `alignment`, a power of two."""
    return value & -alignment


class _Steps(NamedTuple):
    """One stretch of large bins: up to `size >> shift` == `last`, the bin is `base` + that."""

    shift: int
    last: int
    base: int


# malloc.c: largebin_index_64, largebin_index_32, largebin_index_32_big; the first row differs only.
_FIRST_STEPS = {8: _Steps(6, 48, 48), 4: _Steps(6, 38, 56)}
_FIRST_STEPS_32_BIG = _Steps(6, 45, 49)
_OTHER_STEPS = (_Steps(9, 20, 91), _Steps(12, 10, 110), _Steps(15, 4, 119), _Steps(18, 2, 124))


@dataclass(frozen=True)
class Layout:
    """Everything about one libc's malloc that follows from its release and architecture.

    `alignment` is MALLOC_ALIGNMENT and `heap_max` HEAP_MAX_SIZE, in bytes. `mmap_header` is what
    the size of an mmapped chunk leaves out of its mapping. `tcache` is None before 2.26.
    """

    release: Release
    word: int
    alignment: int
    heap_max: int
    safe_linking: bool
    mmap_header: int
    state: Struct
    par: Struct
    heap_info: Struct
    tcache: Struct | None

    @property
    def header(self) -> int:
        """Bytes of a chunk before the user's memory: prev_size and size."""
        return 2 * self.word

    @property
    def min_size(self) -> int:
        """MINSIZE: bytes of the smallest chunk."""
        return align_up(4 * self.word, self.alignment)

    def chunk_size(self, request: int) -> int:
        """Return the size of the chunk for a request of this many bytes (request2size)."""
        return max(align_up(request + self.word, self.alignment), self.min_size)

    @property
    def has_fastbins(self) -> bool:
        """Whether this libc has fastbins at all (glibc 2.43 removed them)."""
        return "fastbinsY" in self.state

    def first_chunk(self, address: int) -> int:
        """Return the first address from `address` on where a chunk may lie."""
        return address + (-(address + self.header) & (self.alignment - 1))

    def heap_of(self, address: int) -> int:
        """Return the heap_info that holds a chunk with NON_MAIN_ARENA set (heap_for_ptr)."""
        return align_down(address, self.heap_max)

    @cached_property
    def _small_correction(self) -> int:
        return int(self.alignment > 2 * self.word)  # SMALLBIN_CORRECTION

    @cached_property
    def smallest_large(self) -> int:
        """MIN_LARGE_SIZE: chunks of this many bytes and more are in large bins."""
        return (NSMALLBINS - self._small_correction) * self.alignment

    def bin_index(self, size: int) -> int:
        """Return the small or large bin for chunks of `size` bytes."""
        if size < self.smallest_large:
            return size // (16 if self.alignment == 16 else 8) + self._small_correction
        return self._large_index(size)

    def _large_index(self, size: int) -> int:
        big32 = self.word == 4 and self.alignment == 16
        for step in (_FIRST_STEPS_32_BIG if big32 else _FIRST_STEPS[self.word], *_OTHER_STEPS):
            if size >> step.shift <= step.last:
                return step.base + (size >> step.shift)
        return LAST_BIN

    def bin_at(self, arena: int, index: int) -> int:
        """Return the address of a bin's pseudo-chunk; the first one is top before the first malloc
        (bin_at, initial_top).
        """
        return arena + self.state["bins"].offset + 2 * (index - 1) * self.word - self.header

    def bin_range(self, index: int) -> tuple[int, int | None]:
        """Return the smallest and largest chunk size of a bin; None: no upper limit."""
        if index == UNSORTED:
            return self.min_size, None
        low = self._bin_start(index)
        return low, None if index == LAST_BIN else self._bin_start(index + 1) - self.alignment

    def _bin_start(self, index: int) -> int:
        """Return the smallest chunk size whose bin is `index` or a later one."""
        low, high = self.min_size // self.alignment, (1 << 20) // self.alignment
        while low < high:
            middle = (low + high) // 2
            if self.bin_index(middle * self.alignment) < index:
                low = middle + 1
            else:
                high = middle
        return low * self.alignment

    def fast_size(self, index: int) -> int:
        """Return the chunk size of a fastbin."""
        return (index + 2) * 2 * self.word

    def fast_index(self, size: int) -> int:
        """Return the fastbin for chunks of `size` bytes (fastbin_index)."""
        return size // (2 * self.word) - 2

    def tcache_range(self, index: int) -> tuple[int, int | None]:
        """Return the smallest and largest chunk size of a tcache bin; None: see the chunks.

        The large bins that came with glibc 2.42 hold ranges whose formula differs by release.
        """
        return self._tcache_ranges[min(index, 64)]

    @cached_property
    def _tcache_ranges(self) -> tuple[tuple[int, int | None], ...]:
        """The same integers each time, which are what chunks are counted by, thread by thread."""
        sizes = [self.min_size + index * self.alignment for index in range(65)]
        return (*((size, size) for size in sizes[:64]), (sizes[64], None))

    @property
    def mangled(self) -> int:
        """By how many bits is shifted what a link is mangled with: all, where none is."""
        return 12 if self.safe_linking else 8 * self.word

    def reveal(self, stored: int, field: int) -> int:
        """Undo safe-linking of a link that was read at address `field` (PROTECT_PTR, 2.32)."""
        return stored ^ field >> self.mangled
