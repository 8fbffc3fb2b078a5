"""The bins of an arena: what its lists of free chunks hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from .arenas import Arena
from .errors import MemoryFault, Problem
from .holes import missing
from .layout import LAST_BIN, NSMALLBINS, UNSORTED, Layout
from .lists import (
    BinHead,
    BrokenError,
    Chunks,
    Followed,
    Links,
    Places,
    fast_list,
    follow,
    regular_list,
)
from .target import Target


class BinKind(Enum):
    """The kinds of free lists, in the order in which malloc looks at them."""

    TCACHE = "tcache"
    FAST = "fast"
    UNSORTED = "unsorted"
    SMALL = "small"
    LARGE = "large"


BINNED = (BinKind.UNSORTED, BinKind.SMALL, BinKind.LARGE)


@dataclass(frozen=True)
class Bin:
    """One free list that isn't empty. `max_size` None: no upper limit.

    `resident` and `swapped` bytes are None where the target can't say.
    """

    kind: BinKind
    index: int
    min_size: int
    max_size: int | None
    chunks: int
    bytes: int
    resident: int | None
    swapped: int | None


@dataclass(frozen=True)
class ArenaBins:
    """One arena's bins that hold chunks. `address_sum` is over the chunks of the regular bins."""

    bins: tuple[Bin, ...]
    address_sum: int
    problems: tuple[Problem, ...]

    def joined(self, other: ArenaBins) -> ArenaBins:
        """Return these bins and then the other ones."""
        return ArenaBins(
            self.bins + other.bins,
            self.address_sum + other.address_sum,
            self.problems + other.problems,
        )

    def chunks(self, *kinds: BinKind) -> int:
        """Return how many chunks the bins of these kinds hold."""
        return sum(b.chunks for b in self.bins if b.kind in kinds)

    def bytes(self, *kinds: BinKind) -> int:
        """Return how many bytes the bins of these kinds hold."""
        return sum(b.bytes for b in self.bins if b.kind in kinds)


class FreeChunks(NamedTuple):
    """All chunks that a walk found free in an arena: by size, and sums of addresses and links.

    `absent` bytes by chunk size are not resident, `swapped` of them are swapped.
    """

    sizes: Counter[int]
    absent: Counter[int]
    swapped: Counter[int]
    address_sum: int
    fd_sum: int
    bk_sum: int


def read_fast(
    target: Target, layout: Layout, arena: Arena, links: Links, places: Places
) -> ArenaBins:
    """Return an arena's fastbins; their chunks are added to `places`."""

    def visit(chunk: int, size: int, absent: int, swapped: int) -> None:
        places.add(chunk)

    bins: list[Bin] = []
    problems: list[Problem] = []
    heads = arena.record.array("fastbinsY", target.word) if layout.has_fastbins else ()
    for index, head in enumerate(heads):
        if head:
            size, name = layout.fast_size(index), f"fastbin {index}"
            chunks = fast_list(name, layout, links, head, size)
            limit = arena.system // layout.min_size + 1
            followed = follow(name, chunks, limit, target.residency, visit)
            bins.append(bin_of(target, BinKind.FAST, index, (size, size), followed))
            problems += followed.problems
    return _bins_of(arena, bins, 0, problems)


def bin_of(
    target: Target, kind: BinKind, index: int, bounds: tuple[int, int | None], followed: Followed
) -> Bin:
    """Return a bin with what its list was found to hold."""
    resident, swapped = (
        (followed.bytes - followed.absent, followed.swapped) if target.residency else (None, None)
    )
    return Bin(kind, index, *bounds, followed.chunks, followed.bytes, resident, swapped)


def _heads(target: Target, layout: Layout, arena: Arena) -> list[BinHead]:
    links = arena.record.array("bins", target.word)
    first = arena.record.address_of("bins") - layout.header
    heads = [
        BinHead(index, first + 2 * (index - 1) * target.word, *links[2 * index - 2 : 2 * index])
        for index in range(UNSORTED, LAST_BIN + 1)
    ]
    return [head for head in heads if head.fd not in (head.pseudo, 0)]  # 0: never initialised


def read_regular(
    target: Target, layout: Layout, arena: Arena, links: Links, free: FreeChunks | None
) -> ArenaBins:
    """Return an arena's unsorted, small and large bins.

    `free` is what a walk found free. If all of it hangs in closed lists, only the shorter of the
    unsorted list and the sorted ones is followed, and the other is the rest; following a list costs
    a read per chunk. Otherwise every list is followed, and shows where it breaks.
    """
    heads = _heads(target, layout, arena)
    limit = arena.system // layout.min_size + 1
    if free is not None and _closed(heads, free, target.word):
        unsorted = _unsorted(target, layout, links, heads, free, arena.system)
        derived = unsorted and _derive(target, layout, heads, free, unsorted)
        if derived is not None:
            return _bins_of(arena, derived, free.address_sum, [])
    bins: list[Bin] = []
    problems: list[Problem] = []
    address_sum = 0
    for head in heads:
        kind, bounds = _kind(head.index), layout.bin_range(head.index)
        name = f"{kind.value} bin {head.index}"
        chunks = regular_list(name, layout, links, head, (bounds[0], bounds[1] or arena.system))
        followed = follow(name, chunks, limit, target.residency)
        bins.append(bin_of(target, kind, head.index, bounds, followed))
        address_sum += followed.address_sum
        problems += followed.problems
    return _bins_of(arena, bins, address_sum, problems)


def _bins_of(arena: Arena, bins: list[Bin], address_sum: int, problems: list[Problem]) -> ArenaBins:
    located = tuple(replace(problem, arena=arena.index) for problem in problems)
    return ArenaBins(tuple(b for b in bins if b.chunks), address_sum, located)


def _closed(heads: list[BinHead], free: FreeChunks, word: int) -> bool:
    """Tell whether the links of all free chunks and bins lead to all free chunks and bins.

    In circular lists each member is some member's fd once and some member's bk once, so the sums
    agree; a link that leads elsewhere, or to a chunk in use, makes them differ.
    """
    members = free.address_sum + sum(head.pseudo for head in heads)
    fds = free.fd_sum + sum(head.fd for head in heads)
    bks = free.bk_sum + sum(head.bk for head in heads)
    return (members - fds) % (1 << 8 * word) == 0 == (members - bks) % (1 << 8 * word)


class _Sizes(NamedTuple):
    """Some chunks by size: their number, and their bytes that are absent and swapped."""

    number: Counter[int]
    absent: Counter[int]
    swapped: Counter[int]


def _unsorted(
    target: Target,
    layout: Layout,
    links: Links,
    heads: list[BinHead],
    free: FreeChunks,
    system: int,
) -> _Sizes | None:
    """Return the unsorted chunks by size; None where a list can't be followed to its end.

    The unsorted list and the sorted ones are followed in turn until one of the two ends.
    """
    unsorted = [head for head in heads if head.index == UNSORTED]
    sorted_ = [head for head in heads if head.index != UNSORTED]
    sides = [_chunks_of(layout, links, side, system) for side in (unsorted, sorted_)]
    found = [_Sizes(Counter(), Counter(), Counter()) for _ in sides]
    try:
        for _ in range(system // layout.min_size + 1):
            for side, (chunks, sizes) in enumerate(zip(sides, found)):
                following = next(chunks, None)
                if following is None:
                    return sizes if side == 0 else _rest(free, sizes)
                chunk, size = following
                sizes.number[size] += 1
                absent, swapped = missing(target.residency, chunk, chunk + size)
                sizes.absent[size] += absent
                sizes.swapped[size] += swapped
    except (BrokenError, MemoryFault):
        pass
    return None


def _rest(free: FreeChunks, part: _Sizes) -> _Sizes:
    return _Sizes(free.sizes - part.number, free.absent - part.absent, free.swapped - part.swapped)


def _chunks_of(layout: Layout, links: Links, heads: list[BinHead], system: int) -> Chunks:
    for head in heads:
        low, high = layout.bin_range(head.index)
        yield from regular_list("", layout, links, head, (low, high or system))


def _derive(
    target: Target, layout: Layout, heads: list[BinHead], free: FreeChunks, unsorted: _Sizes
) -> list[Bin] | None:
    """Return the bins that the free chunks make; None if they aren't the bins that have a list."""
    found = {head.index: Followed(0, 0, 0, 0, 0, ()) for head in heads}
    for size, number in free.sizes.items():
        apart = (unsorted.number[size], unsorted.absent[size], unsorted.swapped[size])
        whole = (number, free.absent[size], free.swapped[size])
        rest = tuple(a - b for a, b in zip(whole, apart))
        for index, (count, absent, swapped) in ((UNSORTED, apart), (layout.bin_index(size), rest)):
            if not count:
                continue
            if count < 0 or index not in found:
                return None
            found[index] = found[index].plus(count, count * size, absent, swapped)
    if any(not followed.chunks for followed in found.values()):
        return None
    return [bin_of(target, _kind(i), i, layout.bin_range(i), found[i]) for i in sorted(found)]


def _kind(index: int) -> BinKind:
    if index == UNSORTED:
        return BinKind.UNSORTED
    return BinKind.SMALL if index < NSMALLBINS else BinKind.LARGE
