"""The figures of one arena that was read, frozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import mul

from ..errors import UnreadError
from ..heap.arenas import BAD_SYSTEM, Heap
from ..heap.census import Census, census_of
from ..heap.endings import ending_of, free_from, is_fast
from ..heap.heaps import Walked
from ..heap.pingroups import PageFigures, PinGroups, page_figures
from ..heap.stale import FEWEST, PIECES
from ..heap.stale import last_sizes as sizes_before
from ..heap.states import ALL_REGULAR, State
from ..heap.strips import Strip, strip_of
from ..heap.trim import Trim
from ..heap.whatif import WhatIf
from ..target.amounts import amount_of, sum_of
from ..target.space import Space
from .arena import ArenaReading
from .figures import ArenaFigures, HeapFigures

USER_BITS = 57  # of the largest address space that a process has (x86-64 with five levels)


def figures_of(
    reading: ArenaReading,
    libc: str,
    trim: Trim | None,
    whatif: WhatIf | None,
    stale: Mapping[int, int] | None,
    pins: PinGroups | None,
    census: Census | None,
    strips: tuple[Strip, ...] | None,
) -> ArenaFigures:
    """Return the arena's figures, with what malloc_trim would make of it, and free(); and with
    last_sizes, what keeps single pages, exact_sizes, and strips_of, where asked for.
    """
    arena, record = reading.arena, reading.arena.record
    return ArenaFigures(
        libc=libc,
        index=arena.index,
        address=arena.address,
        threads=record["attached_threads"] if "attached_threads" in record.struct else None,
        locked=arena.locked,
        system=_system(reading),
        max_system=_max_system(reading),
        amounts=reading.amounts,
        chunks=_chunks(reading),
        top_address=arena.top if arena.top_size else 0,
        last_in_use=_last_in_use(reading),
        contiguous=arena.contiguous,
        heaps=tuple(_heap(reading, part) for part in reading.walked or arena.heaps),
        bins=reading.bins,
        trim=trim,
        used_by_size=_by_power((p.tally.counts.used, Counter()) for p in reading.walked or ()),
        free_by_size=_by_power(map(_free_and_absent, reading.walked or ())),
        census=census,
        whatif=whatif,
        foreign=sum_of(amount_of(reading.residency, *gap) for gap in reading.gaps()),
        stale=stale,
        unread=reading.unread,
        reached=reading.reached,
        pages=_pages(reading, pins),
        strips=strips,
    )


def _pages(reading: ArenaReading, pins: PinGroups | None) -> PageFigures | None:
    """Return what keeps single pages; None where that isn't asked for, or isn't sure."""
    known = reading.residency is not None
    return page_figures(pins, reading.page, known) if pins and reading.sure else None


def _system(reading: ArenaReading) -> int | None:
    """Return system_mem; None where it is less than the heaps have, or more than is mapped."""
    impossible = any(problem.code == BAD_SYSTEM for problem in reading.arena.problems)
    return None if impossible or reading.arena.system < reading.size else reading.arena.system


def _max_system(reading: ArenaReading) -> int | None:
    """Return max_system_mem; None where it is less than system_mem, or no address space."""
    most = reading.arena.record["max_system_mem"]
    space = 1 << min(8 * reading.layout.word, USER_BITS)
    return most if (_system(reading) or 0) <= most < space else None


def exact_sizes(reading: ArenaReading) -> Census | None:
    """Return the chunks by size; None where not all of them were walked over."""
    if reading.walked is None or not reading.whole:
        return None
    tallies = [part.tally for part in reading.walked]
    tagged = Census(
        sum((tally.counts.used for tally in tallies), Counter[int]()),
        sum((tally.counts.free for tally in tallies), Counter[int]()),
    )
    fast = Counter({b.min_size: b.chunks for b in reading.bins.bins if b.kind is State.FAST})
    cached = reading.caches.sizes_in(reading.arena.index)
    own = Counter(size for _, size in reading.structs)
    return census_of(tagged, (fast, cached), own)


def strips_of(reading: ArenaReading) -> tuple[Strip, ...] | None:
    """Return what fills each heap; None where they weren't walked over for that."""
    if reading.walked is None:
        return None
    known = reading.residency is not None
    found = [strip_of(part, reading.arena, known) for part in reading.walked]
    return tuple(strip for strip in found if strip is not None)


def _chunks(reading: ArenaReading) -> dict[State, int]:
    counted = {
        State.TCACHE: sum(reading.caches.sizes_in(reading.arena.index).values()),
        State.FAST: reading.bins.chunks(State.FAST),
        State.BINNED: reading.bins.chunks(*ALL_REGULAR),
    }
    if reading.in_use is None or reading.walked is None:
        return counted
    return {State.IN_USE: reading.used_chunks, **counted}


def last_sizes(reading: ArenaReading, space: Space, arenas: int) -> Mapping[int, int] | None:
    """Return what lay in large free chunks (stale.last_sizes), of so many arenas; None where pages,
    or all large chunks, aren't known.
    """
    if reading.walked is None or reading.residency is None or not reading.whole:
        return None
    chunks = [chunk for part in reading.walked for chunk in part.tally.large.chunks]
    try:
        most = max(PIECES // arenas, FEWEST)
        return sizes_before(space, reading.residency, reading.layout, chunks, most)
    except UnreadError:
        return None


def _last_in_use(reading: ArenaReading) -> int | None:
    """Return the last chunk of the program's below top, in top's own heap."""
    walked = () if reading.unread else reading.walked or ()
    holders = [part for part in walked if reading.arena.top in part.heap]
    return holders[0].tally.tails.last if holders else None


def _heap(reading: ArenaReading, part: Walked | Heap) -> HeapFigures:
    heap = part if isinstance(part, Heap) else part.heap
    in_use, free, end = None, None, reading.arena.top if reading.arena.top in heap else heap.end
    if isinstance(part, Walked) and part.whole:
        counts, own = part.tally.counts, reading.caches.structs_in(heap.address, heap.end)
        in_use = counts.used_bytes - counts.overlaid_bytes
        top = reading.arena.top_size if reading.arena.top in heap else 0
        free = counts.free_bytes + counts.overlaid_bytes - sum(size for _, size in own) + top
        end = free_from(part, reading.caches, is_fast)
    return HeapFigures(
        heap.arena,
        heap.address,
        amount_of(reading.residency, heap.address, heap.end),
        heap.committed,
        heap.reserved,
        in_use,
        free,
        ending_of(heap, end, reading.page),
    )


def _free_and_absent(part: Walked) -> tuple[Counter[int], Counter[int]]:
    space = part.tally.pages
    return part.tally.counts.free, space.absent if space else Counter()


def _by_power(counters: Iterable[tuple[Counter[int], Counter[int]]]) -> dict[int, int]:
    """Return bytes by the highest power of two in the chunk size, without those absent."""
    found: Counter[int] = Counter()
    for numbers, absent in counters:
        for bits, size in zip(map(int.bit_length, numbers), map(mul, numbers, numbers.values())):
            found[bits] += size
        for size in absent.keys() & numbers.keys():
            found[size.bit_length()] -= absent[size]
    return {1 << bits - 1: size for bits, size in sorted(found.items())}
