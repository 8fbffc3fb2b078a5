"""The bins of an arena: what its lists of free chunks hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from .arenas import Arena
from .errors import MemoryFault, Problem
from .layout import LAST_BIN, NSMALLBINS, UNSORTED, Layout
from .lists import BinHead, BrokenError, Links, Overlay, fast_list, follow, regular_list
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
    """One free list that isn't empty. `max_size` None: no upper limit."""

    kind: BinKind
    index: int
    min_size: int
    max_size: int | None
    chunks: int
    bytes: int


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
    """All chunks that a walk found free in an arena: by size, and sums of addresses and links."""

    sizes: Counter[int]
    address_sum: int
    fd_sum: int
    bk_sum: int


def read_fast(
    target: Target, layout: Layout, arena: Arena, links: Links, overlay: Overlay
) -> ArenaBins:
    """Return an arena's fastbins; their chunks are added to `overlay`."""
    bins: list[Bin] = []
    problems: list[Problem] = []
    heads = arena.record.array("fastbinsY", target.word) if layout.has_fastbins else ()
    for index, head in enumerate(heads):
        if head:
            size, name = layout.fast_size(index), f"fastbin {index}"
            chunks = fast_list(name, layout, links, head, size)
            followed = follow(name, chunks, arena.system // layout.min_size + 1, overlay.add)
            bins.append(Bin(BinKind.FAST, index, size, size, followed.chunks, followed.bytes))
            problems += followed.problems
    return _bins_of(arena, bins, 0, problems)


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
        sizes = _unsorted_sizes(layout, links, heads, free, limit)
        derived = _derive(layout, heads, free, sizes) if sizes is not None else None
        if derived is not None:
            return _bins_of(arena, derived, free.address_sum, [])
    bins: list[Bin] = []
    problems: list[Problem] = []
    address_sum = 0
    for head in heads:
        kind, bounds = _kind(head.index), layout.bin_range(head.index)
        name = f"{kind.value} bin {head.index}"
        followed = follow(name, regular_list(name, layout, links, head, bounds), limit)
        bins.append(Bin(kind, head.index, *bounds, followed.chunks, followed.bytes))
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


def _unsorted_sizes(
    layout: Layout, links: Links, heads: list[BinHead], free: FreeChunks, limit: int
) -> Counter[int] | None:
    """Return the unsorted chunks by size; None where a list can't be followed to its end.

    The unsorted list and the sorted ones are followed in turn until one of the two ends.
    """
    unsorted = [head for head in heads if head.index == UNSORTED]
    sorted_ = [head for head in heads if head.index != UNSORTED]
    sides = [_sizes_of(layout, links, side) for side in (unsorted, sorted_)]
    found: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    try:
        for _ in range(limit):
            for side, sizes, counts in zip((0, 1), sides, found):
                size = next(sizes, None)
                if size is None:
                    return counts if side == 0 else free.sizes - counts
                counts[size] += 1
    except (BrokenError, MemoryFault):
        pass
    return None


def _sizes_of(layout: Layout, links: Links, heads: list[BinHead]) -> Iterator[int]:
    for head in heads:
        bounds = layout.bin_range(head.index)
        for _, size in regular_list("", layout, links, head, bounds):
            yield size


def _derive(
    layout: Layout, heads: list[BinHead], free: FreeChunks, unsorted: Counter[int]
) -> list[Bin] | None:
    """Return the bins that the free chunks make; None if they aren't the bins that have a list."""
    counts: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    for size, number in free.sizes.items():
        index = layout.bin_index(size)
        for where, part in ((UNSORTED, unsorted[size]), (index, number - unsorted[size])):
            if part < 0:
                return None
            counts[where] += part
            totals[where] += part * size
    if {index for index, number in counts.items() if number} != {head.index for head in heads}:
        return None
    return [
        Bin(_kind(i), i, *layout.bin_range(i), counts[i], totals[i])
        for i in sorted(head.index for head in heads)
    ]


def _kind(index: int) -> BinKind:
    if index == UNSORTED:
        return BinKind.UNSORTED
    return BinKind.SMALL if index < NSMALLBINS else BinKind.LARGE
