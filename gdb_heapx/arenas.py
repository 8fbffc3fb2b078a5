"""The arenas of one libc and the heaps they own, as malloc_state and heap_info tell."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from .errors import MemoryFault, Problem
from .layout import Layout
from .locate import Libc
from .target import Record, Target

NONCONTIGUOUS = 2  # malloc_state.flags
MAX_ARENAS = 1 << 16
MAX_HEAPS = 1 << 20
HEAP_CHAIN, RING_BROKEN = "heap_chain", "ring_broken"  # problems: heaps are lost


@dataclass(frozen=True)
class Heap:
    """A contiguous region carved into chunks.

    `address` is where it begins (its heap_info, or the main arena's sbrk_base), `first` its first
    chunk, `end` the end of what malloc uses; `committed` and `reserved` are sizes from `address`.
    """

    arena: int
    address: int
    first: int
    end: int
    committed: int
    reserved: int

    @property
    def size(self) -> int:
        return self.end - self.address


@dataclass(frozen=True)
class Arena:
    """One malloc_state. `index` counts in ring order from 0, the main arena.

    `complete` is False where the chain of heaps broke, so that some are missing.
    """

    index: int
    record: Record
    top: int
    top_size: int
    heaps: tuple[Heap, ...]
    problems: tuple[Problem, ...] = ()
    complete: bool = True

    @property
    def address(self) -> int:
        return self.record.address

    @property
    def main(self) -> bool:
        return self.index == 0

    @property
    def system(self) -> int:
        """Bytes the arena has from the system (system_mem)."""
        return self.record["system_mem"]

    @property
    def locked(self) -> bool:
        """Whether a thread holds the arena's mutex; a single-threaded process takes none."""
        return self.record["mutex"] != 0

    @property
    def contiguous(self) -> bool:
        return not self.record["flags"] & NONCONTIGUOUS


def read_arenas(target: Target, libc: Libc) -> tuple[list[Arena], list[Problem]]:
    """Return the arenas in ring order; a broken ring ends the list with a problem."""
    arenas: list[Arena] = []
    address, seen = libc.main_arena, set[int]()
    for index in range(MAX_ARENAS):
        if address in seen:
            return arenas, [_ring_problem(index, address, "runs in a circle past the main one")]
        seen.add(address)
        try:
            record = target.read_struct(libc.layout.state, address)
        except MemoryFault:
            return arenas, [_ring_problem(index, address, "leads to unreadable memory")]
        if not arenas or _plausible(target, libc, record):
            arenas.append(_read_arena(target, libc, index, record))
        else:
            return arenas, [_ring_problem(index, address, "leads to something that is no arena")]
        address = record["next"]
        if address == libc.main_arena:
            return arenas, []
    return arenas, [_ring_problem(len(arenas), address, "does not close")]


def _ring_problem(index: int, address: int, what: str) -> Problem:
    statement = f"the ring of arenas {what} after {index} arenas, at {address:#x}"
    return Problem(RING_BROKEN, statement, address)


def _plausible(target: Target, libc: Libc, record: Record) -> bool:
    """Tell whether a malloc_state lies where non-main arenas lie: in a heap that names it."""
    heap = libc.layout.heap_of(record.address)
    return (
        record.address % target.word == 0
        and target.readable(heap, libc.layout.heap_info.size)
        and target.read_struct(libc.layout.heap_info, heap)["ar_ptr"] == record.address
    )


def _read_arena(target: Target, libc: Libc, index: int, record: Record) -> Arena:
    layout, top = libc.layout, record["top"]
    try:
        top_size = target.read_word(top + target.word) & ~7 if top else 0
    except MemoryFault:
        problem = Problem("bad_top", f"top {top:#x} cannot be read", record.address, index)
        return Arena(index, record, top, 0, (), (problem,))
    if index == 0:
        base = libc.parameters["sbrk_base"]
        if not base or not top_size:  # nothing was allocated yet: top is a bin's pseudo-chunk
            return Arena(0, record, top, 0, ())
        wrong: tuple[Problem, ...] = ()
        limit = base + record["system_mem"]
        contiguous = base <= top and not record["flags"] & NONCONTIGUOUS
        if top_size > record["system_mem"] or (contiguous and top + top_size > limit):
            statement = f"top {top:#x} has size {top_size:#x}: the arena ends at {limit:#x}"
            wrong, top_size = (Problem("bad_top", statement, top, 0),), max(limit - top, 0)
        if not contiguous:
            return Arena(0, record, top, top_size, (), wrong)  # its regions must be found
        end = limit if wrong else top + top_size
        heap = Heap(0, base, layout.first_chunk(base), end, end - base, end - base)
        return Arena(0, record, top, top_size, (heap,), wrong)
    heaps, problems = _read_heaps(target, layout, index, record)
    complete = not problems
    room = max(heaps[-1].end - top, 0) if heaps else top_size
    if top_size != room:
        statement = f"top {top:#x} has size {top_size:#x}; its heap ends {room:#x} bytes behind it"
        problems.append(Problem("bad_top", statement, top, index))
    return Arena(index, record, top, room, tuple(heaps), tuple(problems), complete)


def _read_heaps(
    target: Target, layout: Layout, index: int, record: Record
) -> tuple[list[Heap], list[Problem]]:
    """Return a non-main arena's heaps, oldest first, following heap_info.prev from top's heap."""
    heaps: list[Heap] = []
    seen: set[int] = set()
    address = layout.heap_of(record["top"])
    while address and len(heaps) < MAX_HEAPS:
        try:
            info = target.read_struct(layout.heap_info, address)
        except MemoryFault:
            info = None
        first = address + layout.heap_info.size
        if layout.heap_of(record.address) == address:
            first = layout.first_chunk(record.address + layout.state.size)
        sane = info is not None and info["ar_ptr"] == record.address and address not in seen
        if info is None or not sane or not first - address <= info["size"] <= layout.heap_max:
            statement = f"heap {address:#x} does not belong to its arena: the chain of heaps ends"
            return heaps, [Problem(HEAP_CHAIN, statement, address, index)]
        seen.add(address)
        end = address + info["size"]
        committed = info["mprotect_size"]
        heaps.insert(0, Heap(index, address, first, end, committed, layout.heap_max))
        address = info["prev"]
    return heaps, []


class HeapIndex:
    """Finds the heap that an address lies in."""

    def __init__(self, heaps: list[Heap]) -> None:
        self._heaps = sorted(heaps, key=lambda heap: heap.address)
        self._starts = [heap.address for heap in self._heaps]

    def at(self, address: int) -> Heap | None:
        """Return the heap that `address` lies in, None outside of all."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._heaps[index].end:
            return None
        return self._heaps[index]
