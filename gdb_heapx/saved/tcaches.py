"""Tcaches as a file has them: mostly, how many chunks are in which bin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Problem
from ..heap.bins import Bin
from ..heap.states import State
from ..heap.tcache import Tcache
from ..heap.tcaches import ThreadCache
from ..target.amounts import Amount

if TYPE_CHECKING:
    from ..glibc.layout import Layout
    from ..snapshots.malloc import Malloc

OF_ONE_SIZE = 64  # bins; behind them are those for large chunks


class FiledTcache(NamedTuple):
    """A thread's tcache. `chunks` are numbers of chunks by the number of their bin, where a bin has
    chunks of one size, and all of them are in RAM, or nothing is `known` of that.
    """

    name: str | None
    lwp: int
    address: int
    stored: int
    chunks: Mapping[int, int]
    known: bool = True
    others: tuple[Bin, ...] = ()
    problems: tuple[Problem, ...] = ()


def filed_tcaches(malloc: Malloc) -> tuple[FiledTcache, ...]:
    """Return the tcaches of a malloc for a file."""
    return tuple(_filed(malloc.layout, cache) for cache in malloc.caches)


def without_tcaches(malloc: Malloc) -> Malloc:
    """Return a malloc without tcaches, and its threads without theirs."""
    threads = tuple(replace(each, tcache=None) for each in malloc.threads)
    return replace(malloc, caches=(), threads=threads)


def with_tcaches(malloc: Malloc, tcaches: tuple[FiledTcache, ...]) -> Malloc:
    """Return a malloc with the tcaches that a file has; ValueError where there can't be such."""
    caches = tuple(_tcache(malloc.layout, each) for each in tcaches)
    of_threads = {cache.tcache.lwp: cache.tcache for cache in caches}
    threads = (replace(each, tcache=of_threads.get(each.lwp)) for each in malloc.threads)
    return replace(malloc, caches=caches, threads=tuple(threads))


def _filed(layout: Layout, cache: ThreadCache) -> FiledTcache:
    name, tcache = cache.name, cache.tcache
    known = all(each.amount.resident is not None for each in tcache.bins)
    usual = {
        each.index: each.chunks
        for each in tcache.bins
        if each.index < OF_ONE_SIZE and each == _usual(layout, each.index, each.chunks, known)
    }
    others = tuple(each for each in tcache.bins if each.index not in usual)
    return FiledTcache(
        name, tcache.lwp, tcache.address, tcache.stored, usual, known, others, tcache.problems
    )


def _tcache(layout: Layout, found: FiledTcache) -> ThreadCache:
    bins = sorted((*_bins(layout, found), *found.others), key=attrgetter("index"))
    tcache = Tcache(found.lwp, found.address, tuple(bins), found.stored, found.problems)
    return ThreadCache(found.name, tcache)


def _bins(layout: Layout, found: FiledTcache) -> Iterator[Bin]:
    for index, chunks in found.chunks.items():
        if not 0 <= index < OF_ONE_SIZE:
            raise ValueError(f"bin {index} of a tcache has chunks of many sizes")
        yield _usual(layout, index, chunks, found.known)


def _usual(layout: Layout, index: int, chunks: int, known: bool) -> Bin:
    """Return a bin whose chunks are of one size, and in RAM, or nobody knows."""
    size, _ = layout.tcache_range(index)
    whole = size * chunks
    amount = Amount(whole, whole, 0) if known else Amount(whole, None, None)
    return Bin(State.TCACHE, index, size, size, chunks, amount)
