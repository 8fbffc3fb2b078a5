"""The arenas of one libc and the heaps they own, as malloc_state and heap_info tell."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from ..errors import LOST_IN_SWAP, NOT_REACHED, MemoryFault, Problem, UnreadError
from ..glibc.layout import FLAGS, NONCONTIGUOUS, UNSORTED, Layout
from ..locate.by_structure import in_own_heap
from ..locate.libcs import Libc
from ..records import dataclass
from ..target.extents import Extents
from ..target.space import Record, Space

MAX_ARENAS = 1 << 16
MAX_HEAPS = 1 << 20
HEAP_CHAIN, RING_BROKEN = "heap_chain", "ring_broken"  # problems: heaps are lost
LOSES_HEAPS = (HEAP_CHAIN, LOST_IN_SWAP, NOT_REACHED)
BAD_TOP, BAD_HEAP, BAD_SYSTEM = "bad_top", "bad_heap", "bad_system"
SMALL = 512 << 10  # bytes of a heap that is read at once


@dataclass(frozen=True)
class Heap:
    """A contiguous region carved into chunks.

    `address` is where it begins (its heap_info, or the main arena's sbrk_base), `first` its first
    chunk, `end` the end of what malloc uses; `committed` and `reserved` are sizes from `address`.
    `committed` is None where heap_info tells what can't be. `pagesize` is what a heap shrinks by,
    0 where it isn't told (before 2.35).
    """

    arena: int
    address: int
    first: int
    end: int
    committed: int | None
    reserved: int
    pagesize: int = 0

    @property
    def size(self) -> int:
        return self.end - self.address

    def __contains__(self, address: int) -> bool:
        return self.address <= address < self.end


@dataclass(frozen=True)
class Arena:
    """One malloc_state. `index` counts in ring order from 0, the main arena.

    `complete` is False where the chain of heaps broke, so that some are missing; `mapped` are the
    bytes of all memory that heaps may be in.
    """

    index: int
    record: Record
    top: int
    top_size: int
    heaps: tuple[Heap, ...]
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    mapped: int = 0

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
    def size(self) -> int:
        """Bytes of the heaps that were found, or of all that may be: no list has more."""
        found = sum(heap.size for heap in self.heaps)
        return found if self.complete and self.heaps else max(found, self.mapped)

    def end_in(self, heap: Heap) -> int:
        """Return where the chunks of a heap end: at top, where that lies in it."""
        return self.top if self.top in heap else heap.end

    @property
    def locked(self) -> bool:
        """Whether a thread holds the arena's mutex; a single-threaded process takes none."""
        return self.record["mutex"] != 0

    @property
    def contiguous(self) -> bool:
        return not self.record["flags"] & NONCONTIGUOUS


def read_arenas(space: Space, libc: Libc) -> tuple[list[Arena], list[Problem]]:
    """Return the arenas in ring order; a broken ring ends the list with a problem."""
    arenas: list[Arena] = []
    extents = Extents(space)
    address, seen = libc.main_arena, set[int]()
    for index in range(MAX_ARENAS):
        if address in seen:
            return arenas, [_ring_problem(index, address, "runs in a circle past the main one")]
        seen.add(address)
        following = f"arena {index} and what follows it"
        try:
            record = space.read_struct(libc.layout.state, address)
            if arenas and not _plausible(space, libc, record):
                no_arena = "leads to something that is no arena"
                return arenas, [_ring_problem(index, address, no_arena)]
            arena = _read_arena(space, libc, extents, index, record)
        except UnreadError as fault:
            return arenas, [fault.lost(following)]
        except MemoryFault:
            return arenas, [_ring_problem(index, address, "leads to unreadable memory")]
        unread = next((p for p in arena.problems if p.code == NOT_REACHED), None)
        if unread is not None:
            return arenas, [replace(unread, statement=f"{following} was not reached")]
        arenas.append(replace(arena, mapped=extents.total))
        address = record["next"]
        if address == libc.main_arena:
            return arenas, []
    return arenas, [_ring_problem(len(arenas), address, "does not close")]


def _ring_problem(index: int, address: int, what: str) -> Problem:
    statement = f"the ring of arenas {what} after {index} arenas, at {address:#x}"
    return Problem(RING_BROKEN, statement, address)


def _plausible(space: Space, libc: Libc, record: Record) -> bool:
    """Tell whether a malloc_state lies where non-main arenas lie."""
    return record.address % space.word == 0 and in_own_heap(space, libc.layout, record.address)


def _read_arena(space: Space, libc: Libc, extents: Extents, index: int, record: Record) -> Arena:
    top = record["top"]
    unused = top == libc.layout.bin_at(record.address, UNSORTED)
    if index == 0 and (unused or not libc.parameters["sbrk_base"]):
        return Arena(0, record, top, 0, ())  # nothing was allocated yet
    top_size, out = None, None
    try:
        top_size = space.read_word(top + space.word) & ~FLAGS
    except UnreadError as fault:
        out = replace(fault.problem("top"), arena=index)
    except MemoryFault:
        pass
    if index == 0:
        arena = _read_main(libc, extents, record, top_size)
    else:
        arena = _read_other(space, libc, extents, index, record, top_size)
    if out is None:
        return arena
    told = (problem for problem in arena.problems if problem.code != BAD_TOP)
    return replace(arena, problems=(out, *told))


def _read_main(libc: Libc, extents: Extents, record: Record, top_size: int | None) -> Arena:
    """Return the main arena: one run from sbrk_base on, or regions that must be found.

    Its end is told twice, by system_mem and by top, and neither may lie beyond the mapping.
    """
    base, top, system = libc.parameters["sbrk_base"], record["top"], record["system_mem"]
    claims = (base + system, top + (top_size or 0))
    limit, top_limit = extents.end(base, *claims), extents.end(top, claims[1])
    top_fits = bool(top_size) and claims[1] <= top_limit
    contiguous = not record["flags"] & NONCONTIGUOUS and base < limit
    if not contiguous or (top < base and top_fits):
        room = min(top_size or 0, max(top_limit - top, 0))
        problems = [] if top_fits else [_bad_top(record, 0, top_size, room)]
        return Arena(0, record, top, room, (), tuple(problems), bool(room))
    end = _main_end(top, claims, limit, top_fits)
    room = end - top if base <= top < end else 0
    problems = [] if room and room == top_size else [_bad_top(record, 0, top_size, room)]
    heap = Heap(0, base, libc.layout.first_chunk(base), end, end - base, end - base)
    problems += _bad_system(record, 0, limit - base)
    return Arena(0, record, top, room, (heap,), tuple(problems))


def _main_end(top: int, claims: tuple[int, int], limit: int, top_fits: bool) -> int:
    """Return where the main arena ends: where its mapping does, if system_mem or top says so."""
    by_system, by_top = claims
    if limit in claims:
        return limit
    if top < by_system <= limit:
        return by_system
    return by_top if top_fits and by_top <= limit else limit


def _bad_top(record: Record, index: int, size: int | None, room: int) -> Problem:
    """Return the problem that top isn't what is left up to the arena's end."""
    top = record["top"]
    if size is None:
        return Problem(BAD_TOP, f"top {top:#x} cannot be read", record.address, index)
    if not room:
        statement = f"top {top:#x} lies outside of its arena's newest heap"
        return Problem(BAD_TOP, statement, record.address, index)
    statement = f"top {top:#x} has size {size:#x}; its heap ends {room:#x} bytes behind it"
    return Problem(BAD_TOP, statement, top, index)


def _bad_system(record: Record, index: int, room: int) -> list[Problem]:
    """Return the problem that system_mem is more than an arena can have."""
    system = record["system_mem"]
    if system <= room:
        return []
    statement = f"system_mem is {system:,} bytes, though only {room:,} are mapped for the arena"
    return [Problem(BAD_SYSTEM, statement, record.address_of("system_mem"), index)]


def _read_other(
    space: Space, libc: Libc, extents: Extents, index: int, record: Record, top_size: int | None
) -> Arena:
    """Return an arena that lives in heaps: top ends the newest of them."""
    top = record["top"]
    end_of_top = top + top_size if top_size else None
    chain, problems = _read_heaps(space, libc.layout, extents, index, record, end_of_top)
    heaps = chain[::-1]
    complete = bool(heaps) and all(p.code not in LOSES_HEAPS for p in problems)
    room = max(heaps[-1].end - top, 0) if heaps else 0
    unread = not heaps and any(p.code in (LOST_IN_SWAP, NOT_REACHED) for p in problems)
    if not unread and (not room or top_size != room):
        problems.append(_bad_top(record, index, top_size, room))
    if complete:
        problems += _bad_system(record, index, sum(heap.reserved for heap in heaps))
    return Arena(index, record, top, room, tuple(heaps), tuple(problems), complete)


def _read_heaps(
    space: Space,
    layout: Layout,
    extents: Extents,
    index: int,
    record: Record,
    end_of_top: int | None,
) -> tuple[list[Heap], list[Problem]]:
    """Return a non-main arena's heaps, newest first, following heap_info.prev from top's heap."""
    heaps: list[Heap] = []
    problems: list[Problem] = []
    seen: set[int] = set()
    address = layout.heap_of(record["top"])
    while address and len(heaps) < MAX_HEAPS:
        try:
            info = space.read_struct(layout.heap_info, address)
        except UnreadError as fault:
            return heaps, [*problems, fault.lost(f"heap {address:#x}", index)]
        except MemoryFault:
            info = None
        if info is None or info["ar_ptr"] != record.address or address in seen:
            statement = f"heap {address:#x} does not belong to its arena: the chain of heaps ends"
            return heaps, [*problems, Problem(HEAP_CHAIN, statement, address, index)]
        seen.add(address)
        heap, wrong = _heap(layout, extents, index, record, info, None if heaps else end_of_top)
        heaps.append(heap)
        problems += wrong
        address = info["prev"]
    return heaps, problems


def _heap(
    layout: Layout,
    extents: Extents,
    index: int,
    record: Record,
    info: Record,
    end_of_top: int | None,
) -> tuple[Heap, list[Problem]]:
    """Return a heap by its heap_info, as far as it is mapped; `end_of_top` if it holds top."""
    address, size, committed = info.address, info["size"], info["mprotect_size"]
    first = address + layout.heap_info.size
    if layout.heap_of(record.address) == address:
        first = layout.first_chunk(record.address + layout.state.size)
    mapped = extents.end(address, address + size, address + committed)
    limit = min(mapped, address + layout.heap_max)
    end, problems = address + size, []
    if not first <= end <= limit:
        statement = f"heap {address:#x} has size {size:#x}; {limit - address:#x} are mapped of it"
        problems.append(Problem(BAD_HEAP, statement, address, index))
        end = end_of_top if end_of_top and first < end_of_top <= limit else max(limit, first)
    known = end <= address + committed <= limit
    if not known and not problems:
        statement = f"heap {address:#x} has mprotect_size {committed:#x}, which is not mapped"
        problems.append(Problem(BAD_HEAP, statement, address, index))
    whole, pagesize = committed if known else None, info.get("pagesize")
    return Heap(index, address, first, end, whole, layout.heap_max, pagesize), problems


class HeapIndex:
    """Finds the heap that an address lies in."""

    def __init__(self, heaps: list[Heap]) -> None:
        self._heaps = sorted(heaps, key=lambda heap: heap.address)
        self._starts = [heap.address for heap in self._heaps]

    def at(self, address: int) -> Heap | None:
        """Return the heap that `address` lies in, None outside of all."""
        heap = self.reserved_at(address)
        return heap if heap is not None and address in heap else None

    def reserved_at(self, address: int) -> Heap | None:
        """Return the heap whose address space `address` lies in, though it may not use it."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        heap = self._heaps[index]
        return heap if address < max(heap.end, heap.address + heap.reserved) else None
