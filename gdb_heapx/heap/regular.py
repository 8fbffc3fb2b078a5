"""An arena's regular bins: its unsorted chunks told from the sorted ones, following few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import chain, islice

from ..errors import MemoryFault, Problem
from ..glibc.layout import UNSORTED, Layout
from ..target.amounts import amount_less
from ..target.space import Space
from .arenas import Arena
from .bins import (
    ArenaBins,
    Bin,
    FreeChunks,
    FreeList,
    bin_of,
    bins_of,
    lists_at,
    regular_heads,
)
from .folds import LinkSums
from .holes import missing
from .links import BrokenError, Links
from .lists import BinHead, Followed, Joiner, Sizes, wrong_skip
from .states import State


def read_regular(
    space: Space,
    layout: Layout,
    arena: Arena,
    links: Links,
    free: FreeChunks | None,
    apart: bool = True,
    table: Joiner | None = None,
) -> ArenaBins:
    """Return an arena's unsorted, small and large bins.

    `free` is what a walk found free. If all of it is linked both ways, only the shorter of the
    unsorted list and the sorted ones is followed, and the other is the rest; following a list costs
    a read per chunk, but where a `table` has these. Where that needn't be told `apart`, none is: it
    is one bin of chunks that are BINNED. Otherwise every list is followed, and shows where it
    breaks.
    """
    heads = regular_heads(space, layout, arena)
    sums = free and free.links.plus(_sums_of_heads(heads))
    linked = free if sums and sums.closed else None
    indexes = {head.index for head in heads}
    if linked and linked.skips.closed and not apart and len({i == UNSORTED for i in indexes}) > 1:
        together = _together(space, layout, indexes, linked)
        if together is not None:
            return bins_of(arena, together, [], None, sums)
    lists = list(lists_at(layout, arena, links, heads))
    if linked is not None:
        derived = _derived(space, layout, lists, linked, apart, table)
        if derived is not None:
            wrong = [] if linked.skips.closed else _wrong_skips(lists, links, space.word)
            if wrong is not None:
                return bins_of(arena, derived, wrong, None, sums)
    bins: list[Bin] = []
    problems: list[Problem] = []
    address_sum = 0
    for each in lists:
        content = each.join(table) if table else None
        followed = content.followed if content else each.follow(space.residency)
        bins.append(bin_of(space, each, followed))
        address_sum += followed.address_sum
        problems += followed.problems
    return bins_of(arena, bins, problems, address_sum)


def _derived(
    space: Space,
    layout: Layout,
    lists: list[FreeList],
    free: FreeChunks,
    apart: bool,
    table: Joiner | None,
) -> list[Bin] | None:
    """Return the bins of free chunks that are linked both ways, following few of them; None where
    that can't be.
    """
    if not apart and len({each.kind is State.UNSORTED for each in lists}) > 1:
        return _together(space, layout, {each.index for each in lists}, free)
    unsorted = (_joined(lists, free, table) if table else None) or _unsorted(space, lists, free)
    return _derive(space, layout, lists, free, unsorted) if unsorted else None


def told_apart(
    space: Space, layout: Layout, lists: list[FreeList], free: FreeChunks, table: Joiner
) -> list[Bin] | None:
    """Return the bins of free chunks that are linked both ways, as a table has them; None where it
    can't tell. The target isn't read.
    """
    unsorted = _joined(lists, free, table)
    return _derive(space, layout, lists, free, unsorted) if unsorted else None


def _wrong_skips(lists: list[FreeList], links: Links, word: int) -> list[Problem] | None:
    """Return where the large bins' links to the next size are wrong; None where one breaks."""
    large = (each for each in lists if each.kind is State.LARGE)
    found = (wrong_skip(each.name, links, each.chunks(), word) for each in large)
    try:
        return [problem for problem in found if problem is not None]
    except (BrokenError, MemoryFault):
        return None


def _sums_of_heads(heads: list[BinHead]) -> LinkSums:
    """Return the links of the bins themselves, which are in the circles of their chunks."""
    return LinkSums.of([h.pseudo for h in heads], [h.fd for h in heads], [h.bk for h in heads])


def has_few(lists: list[FreeList], few: int) -> bool:
    """Tell whether so few of an arena's chunks are unsorted, or sorted, that following is best."""
    unsorted = (each.chunks() for each in lists if each.index == UNSORTED)
    sorted_ = (each.chunks() for each in lists if each.index != UNSORTED)
    try:
        sides = (islice(chain.from_iterable(side), few) for side in (unsorted, sorted_))
        return any(sum(1 for _ in side) < few for side in sides)
    except (BrokenError, MemoryFault):
        return False


def unsorted_is_shorter(
    lists: list[FreeList], visits: Sequence[Callable[[int, int], None]]
) -> bool | None:
    """Follow an arena's unsorted list and its sorted ones in turn until one of the two ends.

    Tell whether that is the unsorted one; None where a list can't be followed to its end. `visits`
    get the address and size of each chunk: the first one of the unsorted, the other of the sorted.
    """
    unsorted = (each.chunks() for each in lists if each.index == UNSORTED)
    sorted_ = (each.chunks() for each in lists if each.index != UNSORTED)
    sides = [chain.from_iterable(side) for side in (unsorted, sorted_)]
    turns = tuple(zip((True, False), sides, visits))
    try:
        for _ in range(max((each.limit for each in lists), default=1)):
            for is_unsorted, chunks, visit in turns:
                following = next(chunks, None)
                if following is None:
                    return is_unsorted
                visit(*following)
    except (BrokenError, MemoryFault):
        pass
    return None


def _joined(lists: list[FreeList], free: FreeChunks, table: Joiner) -> Sizes | None:
    """Return the unsorted chunks by size as a table has them; None where it can't tell, or where
    fewer are sorted, whose lists would be followed, and one of these isn't whole.
    """
    sides = [[e for e in lists if (e.index == UNSORTED) is side] for side in (True, False)]
    contents = [each.join(table) for each in sides[0]]
    found = contents[0] if contents else None
    if found and 2 * sum(found.sizes.number.values()) > sum(free.sizes.values()):
        contents += (each.join(table) for each in sides[1])
    return found.sizes if found and None not in contents else None


def _unsorted(space: Space, lists: list[FreeList], free: FreeChunks) -> Sizes | None:
    """Return the unsorted chunks by size; None where a list can't be followed to its end."""
    if all(each.index == UNSORTED for each in lists):
        return Sizes(free.sizes, free.absent, free.swapped, free.shared)
    found = [Sizes(Counter(), Counter(), Counter(), Counter()) for _ in range(2)]
    shorter = unsorted_is_shorter(lists, [partial(_count, space, free, sizes) for sizes in found])
    if shorter is None:
        return None
    return found[0] if shorter else _rest(free, found[1])


def _count(space: Space, free: FreeChunks, sizes: Sizes, chunk: int, size: int) -> None:
    sizes.number[size] += 1
    if free.shared.get(size) == size * free.sizes[size]:  # so are all
        sizes.shared[size] += size
    elif free.absent.get(size) or free.shared.get(size):  # else no free chunk of this size is
        absent, swapped, shared = missing(space.residency, chunk, chunk + size)
        sizes.absent[size] += absent
        sizes.swapped[size] += swapped
        sizes.shared[size] += shared


def _rest(free: FreeChunks, part: Sizes) -> Sizes:
    number, absent = free.sizes - part.number, free.absent - part.absent
    return Sizes(number, absent, free.swapped - part.swapped, free.shared - part.shared)


def _derive(
    space: Space, layout: Layout, lists: list[FreeList], free: FreeChunks, unsorted: Sizes
) -> list[Bin] | None:
    """Return the bins that the free chunks make; None if they aren't the bins that have a list."""
    found = {each.index: Followed(0, 0, 0, 0, 0, 0, ()) for each in lists}
    every = free.sizes, free.absent, free.swapped, free.shared
    for size in free.sizes:
        apart, whole = ([each.get(size, 0) for each in counts] for counts in (unsorted, every))
        rest = [a - b for a, b in zip(whole, apart)]
        for index, (count, *lost) in ((UNSORTED, apart), (layout.bin_index(size), rest)):
            if not count:
                continue
            if count < 0 or index not in found:
                return None
            found[index] = found[index].plus(count, count * size, *lost)
    if any(not followed.chunks for followed in found.values()):
        return None
    return [bin_of(space, each, found[each.index]) for each in lists]


def _together(
    space: Space, layout: Layout, indexes: Collection[int], free: FreeChunks
) -> list[Bin] | None:
    """Return all regular chunks as one bin; None if some have no list where they may be, of those
    with these numbers.
    """
    sizes, missing = free.sizes, (free.absent, free.swapped, free.shared)
    if UNSORTED not in indexes and any(layout.bin_index(size) not in indexes for size in sizes):
        return None
    total = sum(size * number for size, number in sizes.items())
    amount = amount_less(space.residency, total, *(sum(each.values()) for each in missing))
    return [Bin(State.BINNED, 0, layout.min_size, None, sum(sizes.values()), amount)]
