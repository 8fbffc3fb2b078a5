"""The bins of an arena: what its lists of free chunks hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ..errors import Problem
from ..glibc.layout import LAST_BIN, NSMALLBINS, UNSORTED, Layout
from ..records import dataclass
from ..target.amounts import Amount, amount_less, sum_of
from ..target.space import Residency, Space
from .arenas import Arena
from .folds import LinkSums
from .links import Links, Trail
from .lists import (
    BinHead,
    Chunks,
    Content,
    Ends,
    Followed,
    Joiner,
    Visit,
    follow,
    regular_list,
)
from .states import NAMES, State


@dataclass(frozen=True)
class Bin:
    """One free list that isn't empty; of kind BINNED all regular ones, where they weren't told
    apart. `max_size` None: no upper limit.
    """

    kind: State
    index: int
    min_size: int
    max_size: int | None
    chunks: int
    amount: Amount


@dataclass(frozen=True)
class ArenaBins:
    """One arena's bins that hold chunks.

    `address_sum` is over the chunks of the regular bins, where each list was followed. Else those
    bins are what a walk found free, and `links` prove that this hangs in them.
    """

    bins: tuple[Bin, ...]
    address_sum: int | None
    problems: tuple[Problem, ...]
    links: LinkSums | None = None

    def joined(self, other: ArenaBins) -> ArenaBins:
        """Return these bins and then the other ones."""
        return replace(other, bins=self.bins + other.bins, problems=self.problems + other.problems)

    def chunks(self, *kinds: State) -> int:
        """Return how many chunks the bins of these kinds hold."""
        return sum(b.chunks for b in self.bins if b.kind in kinds)

    def amount(self, *kinds: State) -> Amount:
        """Return what the bins of these kinds hold."""
        return sum_of(b.amount for b in self.bins if b.kind in kinds)


NO_ENDS = Ends(0, 0)


@dataclass(frozen=True)
class FreeList:
    """One free list: its bin with the bounds of its chunks' sizes, and a way to follow it.

    It has fewer than `limit` chunks; `chunks` yields them in order, and raises what regular_list
    raises. A table may join it by its `ends`.
    """

    kind: State
    index: int
    bounds: tuple[int, int | None]
    name: str
    limit: int
    trail: Trail
    chunks: Callable[[], Chunks]
    ends: Ends = NO_ENDS

    def join(self, table: Joiner) -> Content | None:
        """Return what hangs in it, as a table has it; None where it must be followed."""
        content, (low, high) = table.join(self.ends), self.bounds
        sizes = content.sizes.number if content else ()
        return content if all(low <= size <= (high or size) for size in sizes) else None

    def follow(self, residency: Residency | None, visit: Visit | None = None) -> Followed:
        """Follow it to its end, or to where it breaks."""
        return follow(self.name, self.chunks, self.limit, residency, self.trail, visit)


class FreeChunks(NamedTuple):
    """All chunks that a walk found free in an arena: by size, and how they link to each other
    (folds.LinkSums).

    `absent` bytes by chunk size are not resident, `swapped` of them are swapped; `shared` ones are
    resident, here and in another process.
    """

    sizes: Counter[int]
    absent: Counter[int]
    swapped: Counter[int]
    shared: Counter[int]
    links: LinkSums
    skips: LinkSums


def regular_lists(space: Space, layout: Layout, arena: Arena, links: Links) -> Iterator[FreeList]:
    """Yield an arena's unsorted, small and large bins that hold chunks."""
    return lists_at(layout, arena, links, regular_heads(space, layout, arena))


def lists_at(
    layout: Layout, arena: Arena, links: Links, heads: Iterable[BinHead]
) -> Iterator[FreeList]:
    """Yield the bins that have these heads."""
    for head in heads:
        kind, bounds = kind_of(head.index), layout.bin_range(head.index)
        name = f"{NAMES[kind]} bin {head.index}"
        within = bounds[0], bounds[1] or arena.size
        trail = Trail(links, head.pseudo + layout.header, layout.header, lambda stored, _: stored)
        chunks = partial(regular_list, name, layout, links, head, within)
        ends, limit = Ends(head.fd, head.pseudo, head.bk), limit_of(layout, arena)
        yield FreeList(kind, head.index, bounds, name, limit, trail, chunks, ends)


def limit_of(layout: Layout, arena: Arena) -> int:
    """Return how many chunks no list of an arena has."""
    return arena.size // layout.min_size + 1


def bin_of(space: Space, listed: FreeList, followed: Followed) -> Bin:
    """Return a bin with what its list was found to hold."""
    missing = followed.absent, followed.swapped, followed.shared
    amount = amount_less(space.residency, followed.bytes, *missing)
    return Bin(listed.kind, listed.index, *listed.bounds, followed.chunks, amount)


def regular_heads(space: Space, layout: Layout, arena: Arena) -> list[BinHead]:
    """Return the heads of an arena's regular bins that hold chunks, or lead anywhere at all."""
    links = arena.record.array("bins", space.word)
    first, step = layout.bin_at(arena.address, UNSORTED), 2 * space.word
    pseudos = range(first, first + step * LAST_BIN, step)
    heads = zip(range(UNSORTED, LAST_BIN + 1), pseudos, links[::2], links[1::2])
    return [
        BinHead(index, pseudo, fd, bk)
        for index, pseudo, fd, bk in heads
        if (fd or bk) and not fd == pseudo == bk  # 0: never initialised
    ]


def bins_of(
    arena: Arena,
    bins: list[Bin],
    problems: list[Problem],
    address_sum: int | None = None,
    links: LinkSums | None = None,
) -> ArenaBins:
    """Return the bins that hold chunks, with what is wrong in them."""
    located = tuple(replace(problem, arena=arena.index) for problem in problems)
    return ArenaBins(tuple(b for b in bins if b.chunks), address_sum, located, links)


def kind_of(index: int) -> State:
    """Return the kind of a regular bin."""
    if index == UNSORTED:
        return State.UNSORTED
    return State.SMALL if index < NSMALLBINS else State.LARGE
