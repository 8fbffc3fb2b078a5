"""heapx tcache: what each thread's cache holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import command
from ..heap.states import Search
from ..report.either import Either
from ..report.model import Notes, Report, Steps
from ..report.schema import Column, Kind, Schema, within
from ._columns import BIN_COLUMNS, IN_MEMORY, LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..heap.bins import Bin
    from ..heap.tcaches import ThreadCache
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount

TCACHE_BINS = Schema(
    "tcache",
    (
        Column("thread", Kind.INDEX, of="cache.tcache.lwp"),
        Column("name", Kind.TEXT, absent="", of="cache.name"),
        Column("bin", Kind.INDEX, of="bin.index"),
        *within("bin", *BIN_COLUMNS),
        *within("malloc", LIBC),
    ),
    adds=("chunks",),
)
SIZES = Schema(
    "tcache_sizes",
    (
        *within("bin", Column("bin", Kind.INDEX, of="index"), *BIN_COLUMNS[:2]),
        Column("threads", Kind.COUNT),
        Column("chunks", Kind.COUNT),
        *within("amount", Column("bytes", Kind.BYTES), *IN_MEMORY),
        *within("malloc", LIBC),
    ),
    adds=("chunks",),
)
SHOWN = 40  # rows
NEXT = (("heapx threads", "what each thread's cache holds in all"),)
EACH = (("heapx tcache --each", "each thread's bins by themselves"),)


class _TcacheBin(NamedTuple):
    malloc: Malloc
    cache: ThreadCache
    bin: Bin


class _Alike(NamedTuple):
    """The bins of one number in the caches of several threads."""

    bins: Sequence[_TcacheBin]

    @property
    def malloc(self) -> Malloc:
        return self.bins[0].malloc

    @property
    def bin(self) -> Bin:
        return self.bins[0].bin

    @property
    def threads(self) -> int:
        return len(self.bins)

    @property
    def chunks(self) -> int:
        return sum(each.bin.chunks for each in self.bins)

    @property
    def amount(self) -> Amount:
        from ..target.amounts import sum_of

        return sum_of(each.bin.amount for each in self.bins)


@command(
    "heapx tcache",
    Arg("--each", "in text: each bin by itself, however many there are"),
    limit=SHOWN,
    tables=(TCACHE_BINS, SIZES),
    search=Search.NONE,
)
def tcache(snapshot: Snapshot, each: bool) -> Report:
    """List what each thread's cache holds, by bin.

    A tcache belongs to its thread: no other thread can use these chunks, and malloc_trim doesn't
    give them back. The thread is its LWP, as ps -L and top -H show it. Where threads have over 40
    bins in all, text takes those of one size together, the sizes with most bytes first, unless
    --each asks for each. threads is then how many have chunks of that size.

    Examples:

        heapx tcache                                 what all threads hold
        heapx tcache --each --sort bytes --limit 10  the ten bins that hold most
    """
    found = [
        _TcacheBin(malloc, cache, b)
        for malloc in snapshot.mallocs
        for cache in malloc.caches
        for b in cache.tcache.bins
    ]
    summed = [] if snapshot.partial else list(_by_size(found))  # of a part they would look whole
    table, sizes = TCACHE_BINS.of(found), SIZES.of(summed)
    many = len(found) > SHOWN and not each and bool(summed)
    shown = Either(table, (sizes if many else table,))
    steps = Steps((*(EACH if many else ()), *NEXT))
    return Report((shown, Either(sizes), Notes(usual_notes(snapshot)), steps), snapshot.problems)


def _by_size(found: Sequence[_TcacheBin]) -> Iterator[_Alike]:
    """Yield the bins of all threads by their numbers, those that hold most first."""
    numbered = sorted(found, key=_number)
    alike = [_Alike(list(group)) for _, group in groupby(numbered, _number)]
    yield from sorted(alike, key=lambda one: -one.amount.bytes)


def _number(found: _TcacheBin) -> tuple[str, int]:
    return found.malloc.libc, found.bin.index
