"""One thread's tcache: its lists, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import UNREAD, Problem, StoppedError
from ..glibc.layout import Layout
from ..locate.nptl import Block
from ..records import dataclass
from ..target.amounts import Amount, amount_less, sum_of
from ..target.space import Record, Residency, Space
from .bins import Bin, FreeList, bin_of
from .links import Chain, Links, Trail
from .lists import Followed, tcache_list
from .states import State
from .threadvars import stored_counts

if TYPE_CHECKING:
    from .chains import NearLists

    # By heads and counters it tells of lists whose chunks are all in memory.
    Quick = Callable[[Sequence[int], Sequence[int]], NearLists]

TCACHE_LIMIT = 1 << 16  # a tcache counts in 16 bits
LARGEST_CACHED = 4 << 20  # the tunable glibc.malloc.tcache_max is at most this (2.42)
NEARBY = 1 << 20  # bytes from the first to the last of chunks that are looked at together


@dataclass(frozen=True)
class Tcache:
    """One thread's cache. `address` is its struct's, `stored` what its counters claim."""

    lwp: int
    address: int
    bins: tuple[Bin, ...]
    stored: int
    problems: tuple[Problem, ...]

    @property
    def chunks(self) -> int:
        return sum(b.chunks for b in self.bins)

    @property
    def amount(self) -> Amount:
        return sum_of(b.amount for b in self.bins)


class _Sound(NamedTuple):
    """A list that is as its counter says: of which bin, the size of its chunks, and where they
    lie.
    """

    number: int
    size: int
    chunks: list[int]


class Keeper(Protocol):
    """Takes in the chunks that a tcache holds."""

    def add(self, chunk: int, size: int, absent: int, swapped: int, shared: int) -> None:
        """Take in one chunk (lists.Visit)."""

    def add_all(self, chunks: Sequence[int], sizes: Mapping[int, int]) -> bool:
        """Take in chunks that are in memory, so many of each size, if they lie in one heap; return
        whether that was done.
        """


def read_tcache(
    space: Space,
    layout: Layout,
    block: Block,
    address: int,
    fill: int,
    links: Links,
    keeper: Keeper,
    beside: Iterable[int] = (),
    quick: Quick | None = None,
) -> Tcache:
    """Return the tcache at `address`; `keeper` gets each cached chunk.

    `fill` is mp_.tcache_count: from 2.42 the counters count down from it. What lies `beside`
    its lists is read with them, but those that a `quick` look finds.
    """
    assert layout.tcache is not None
    record = space.read_struct(layout.tcache, address)
    heads = record.array("entries", space.word)
    stored = stored_counts(record, len(heads), fill)
    bins = _found(space.residency, quick(heads, stored), keeper) if quick else []
    found = {each.index for each in bins}
    used = [number for number, pair in enumerate(zip(heads, stored)) if any(pair)]
    others = [number for number in used if number not in found]
    if others:
        links.prepare((*(heads[i] - layout.header for i in others if heads[i]), *beside))
        sound, others = _sound(layout, links, heads, stored, others)
        bins += _kept(space.residency, sound, keeper)
    problems: list[Problem] = []
    for index in others:
        each = _list(layout, block.lwp, record, links, index, heads[index])
        followed = each.follow(space.residency, keeper.add)
        if any(problem.code == UNREAD for problem in followed.problems):
            raise StoppedError(address)
        if followed.chunks:
            bins.append(bin_of(space, each, followed))
        problems += _lost(each, followed, stored[index], address)
    bins.sort(key=attrgetter("index"))
    return Tcache(block.lwp, address, tuple(bins), sum(stored), tuple(problems))


def _found(residency: Residency | None, listed: NearLists, keeper: Keeper) -> list[Bin]:
    """Hand chunks that are in memory to the keeper; return the bins; none where it doesn't take
    them.
    """
    sizes = {size: chunks for _, size, chunks in listed.lists}
    if not sizes or not keeper.add_all(listed.chunks, sizes):
        return []
    return [_in_ram(residency is not None, *each) for each in listed.lists]


def _sound(
    layout: Layout, links: Links, heads: Sequence[int], stored: Sequence[int], used: Sequence[int]
) -> tuple[list[_Sound], list[int]]:
    """Return those of the used lists that are as their counters say, and the numbers of the other
    bins: these are to be followed, which says what is wrong.
    """
    ranges = [layout.tcache_range(number) for number in used]
    alike = [number for number, (_, most) in zip(used, ranges) if most]
    chains = [Chain(heads[i], stored[i], size) for i, (size, most) in zip(used, ranges) if most]
    found = zip(alike, chains, links.chains(chains, layout.header, layout.mangled))
    sound = [_Sound(i, chain.size, chunks) for i, chain, chunks in found if chunks is not None]
    return sound, sorted(set(used).difference(number for number, _, _ in sound))


def _lost(each: FreeList, followed: Followed, claimed: int, tcache: int) -> Iterator[Problem]:
    """Yield what is wrong with a list, and what that means for what its counter claims."""
    lost = max(claimed - followed.chunks, 0)
    behind = f"; {lost} chunks that it counts were not reached, and count as in use"
    for problem in followed.problems:
        yield replace(problem, statement=problem.statement + behind) if lost else problem
    if followed.chunks != claimed and not followed.problems:
        statement = f"{each.name} counts {claimed} chunks, its list holds {followed.chunks}"
        yield Problem("tcache_count", statement, tcache)


def _kept(residency: Residency | None, lists: Sequence[_Sound], keeper: Keeper) -> list[Bin]:
    """Hand all chunks of these lists to the keeper; return the bins."""
    every = [chunk for listed in lists for chunk in listed.chunks]
    sizes = {size: len(chunks) for _, size, chunks in lists}
    at_once = every and _in_memory(residency, lists, every) and keeper.add_all(every, sizes)
    if at_once:
        known = residency is not None
        return [_in_ram(known, number, size, len(chunks)) for number, size, chunks in lists]
    bins = []
    for number, size, chunks in lists:
        amount = _kept_singly(residency, chunks, size, keeper)
        bins.append(Bin(State.TCACHE, number, size, size, len(chunks), amount))
    return bins


@lru_cache(maxsize=1 << 12)  # threads by the thousand have the same few
def _in_ram(known: bool, number: int, size: int, chunks: int) -> Bin:
    """Return a bin whose chunks are in memory, as far as that is known."""
    whole = size * chunks
    amount = Amount(whole, whole, 0) if known else Amount(whole, None, None)
    return Bin(State.TCACHE, number, size, size, chunks, amount)


def _in_memory(residency: Residency | None, lists: Sequence[_Sound], every: Sequence[int]) -> bool:
    """Tell whether all chunks of lists lie near each other, and all is in memory there."""
    start, last = min(every), max(every)
    end = last + next(size for _, size, chunks in lists if last in chunks)
    return end - start < NEARBY and not (residency and any(residency.missing(start, end)))


def _kept_singly(
    residency: Residency | None, chunks: Sequence[int], size: int, keeper: Keeper
) -> Amount:
    absent = swapped = shared = gone = out = common = 0
    for chunk in chunks:
        if residency:
            gone, out, common = residency.missing(chunk, chunk + size)
        keeper.add(chunk, size, gone, out, common)
        absent, swapped, shared = absent + gone, swapped + out, shared + common
    return amount_less(residency, size * len(chunks), absent, swapped, shared)


def _within(bounds: tuple[int, int | None]) -> tuple[int, int]:
    return bounds[0], bounds[1] or LARGEST_CACHED


def tcache_lists(
    space: Space, layout: Layout, lwp: int, record: Record, links: Links
) -> list[FreeList]:
    """Return all lists of one thread's tcache, the empty ones too."""
    heads = enumerate(record.array("entries", space.word))
    return [_list(layout, lwp, record, links, index, head) for index, head in heads]


def _list(
    layout: Layout, lwp: int, record: Record, links: Links, index: int, head: int
) -> FreeList:
    bounds = layout.tcache_range(index)
    name = f"tcache bin {index} of thread {lwp}"
    field = record.address_of("entries") + index * layout.word
    trail = Trail(links, field, layout.header, layout.reveal)
    chunks = partial(tcache_list, name, layout, links, head, _within(bounds))
    return FreeList(State.TCACHE, index, bounds, name, TCACHE_LIMIT, trail, chunks)
