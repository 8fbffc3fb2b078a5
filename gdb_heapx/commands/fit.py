"""heapx fit: what malloc would do now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import NO_WALK
from ..cli.command import Needs, command
from ..errors import UsageError
from ..heap.states import HELD_FREE, Search
from ..report.either import Either
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema, within
from ._columns import LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..fit.fits import Fit
    from ..fit.unusable import Unusable
    from ..inventory.catalogue import Catalogue
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot

WHERE = (Column("thread", Kind.INDEX, absent="-"), Column("arena", Kind.INDEX, absent="-"))
REQUEST = Column("request", Kind.BYTES, exact=True)
FIT = Schema(
    "fit",
    (
        *within(
            "fit",
            *WHERE,
            REQUEST,
            Column("chunk_size", Kind.BYTES, rank=3, title="chunk", exact=True),
            Column("source", Kind.TEXT, absent="?"),
            Column("address", Kind.ADDRESS, rank=2, title="chunk at", absent="-"),
            Column("remainder", Kind.BYTES, rank=4, exact=True),
            Column("grows", Kind.BYTES, exact=True),
        ),
        Column("usable", Kind.BYTES, DATA_ONLY, exact=True),
        *within(
            "fit",
            Column("reason", Kind.TEXT, DATA_ONLY),
            Column("refused_by", Kind.TEXT, DATA_ONLY),
            LIBC,
        ),
    ),
)
RANGES = Schema(
    "fit_ranges",
    (
        *within("first", *WHERE, Column("smallest", Kind.BYTES, of="request", exact=True)),
        *within("last", Column("largest", Kind.BYTES, of="request", exact=True)),
        *within("first", Column("source", Kind.TEXT)),
        *within("last", Column("grows", Kind.BYTES, title="grows at most", exact=True)),
        *within("first", LIBC),
    ),
)
ALIKE = Schema(
    RANGES.name,
    (
        Column("arenas", Kind.TEXT, shrinks=True),
        *(column for column in RANGES.columns if column.name not in ("thread", "arena")),
    ),
)
UNUSABLE = Schema(
    "fit_unusable",
    (
        *within("fit", *WHERE, REQUEST),
        *within(
            "free",
            Column("reason", Kind.TEXT),
            Column("chunks", Kind.COUNT),
            Column("bytes", Kind.BYTES),
            Column("largest", Kind.BYTES, exact=True),
        ),
        *within("fit", LIBC),
    ),
    adds=("chunks",),
)
SHOWN = 40  # rows
WHOSE = ("thread", "arena", "request")  # what the row of the only request tells
POWERS = tuple(1 << power for power in range(5, 27))  # 32 bytes to 64 MiB


class _Found(NamedTuple):
    """What a request gets, and what of the free memory can't serve it."""

    fit: Fit
    malloc: Malloc
    unusable: tuple[Unusable, ...]

    @property
    def usable(self) -> int | None:
        """The free bytes that can serve it; None where that isn't known."""
        lost = [each.bytes for each in self.unusable]
        if self.fit.source is None or None in lost:
            return None
        amounts = (arena.amounts for arena in self.malloc.arenas)
        free = sum(each[state].bytes for each in amounts for state in HELD_FREE)
        return free - sum(each or 0 for each in lost)


class _Lost(NamedTuple):
    fit: Fit
    free: Unusable


class _Range(NamedTuple):
    """Requests one behind the other that are served alike: the smallest and the largest one."""

    first: Fit
    last: Fit

    @property
    def served(self) -> tuple[object, ...]:
        """What is told of it, but the arena."""
        first, last = self
        return first.libc, first.request, last.request, first.source, last.grows


class _Alike(NamedTuple):
    """What several arenas do alike with the same requests."""

    first: Fit
    last: Fit
    arenas: str


@command(
    "heapx fit",
    Arg("SIZE", "bytes that malloc is asked for; powers of two if absent", "request"),
    Arg("--thread", "in this thread, by its LWP; if absent in each arena", "thread", metavar="LWP"),
    NO_WALK,
    limit=SHOWN,
    needs=Needs.BOTH,
    tables=(FIT, RANGES, UNUSABLE),
    search=Search.NONE,
    census=True,
)
def fit(snapshot: Snapshot, catalogue: Catalogue, size: int | None, thread: int | None) -> Report:
    """Tell what malloc would do with a request now, and what can't serve it.

    What malloc does is gone through step by step, on a copy: nothing is changed, and all other
    threads are taken not to be inside malloc. source is where the chunk comes from: the thread's
    tcache; a fast, small or large bin, or the unsorted one; top; extend: the heap grows, by brk or
    within what is reserved for it; new_heap or new_arena: such a one is mapped; mmap: the chunk
    gets a mapping of its own. remainder is what is split off behind the chunk, grows what malloc
    gets from the system. Where the kernel will map memory can't be told, and that it does is taken
    for granted, unless a limit refuses it (RLIMIT_AS, RLIMIT_DATA, overcommit): then that is told.
    fails: no malloc serves so much.

    With --thread it is what that thread gets: from its tcache, else from its arena. A thread that
    has none gets a tcache and an arena first. Without, it is what each arena gives, without tcache.
    Without SIZE powers of two are tried, from 32 bytes to 64 MiB; text takes arenas together that
    serve them all alike. --no-walk is quick in a large
    heap: how many free chunks are too small may then be unknown.

    Examples:

        heapx fit 100K --thread 4711  what malloc(102400) would do in this thread
        heapx fit                     from which size on each arena grows
    """
    if thread is not None and thread not in [each.lwp for each in snapshot.target.threads]:
        raise UsageError(f"there is no thread {thread}", "heapx threads lists them by their LWPs.")
    if (size or 0) >> 8 * catalogue.word:
        raise UsageError(f"{size} is more than malloc can be asked for in this process")
    found = list(_found(snapshot, catalogue, size, thread))
    every = [each.fit for each in found]
    notes = Notes((*_unknown(every), *_refused(every), *usual_notes(snapshot)))
    unseen = () if thread is not None else ("thread",)
    if size is None:
        ranges = list(_ranges(every))
        shown = ALIKE.of(list(_alike(ranges))) if thread is None else RANGES.of(ranges)
        blocks = Either(FIT.of(found)), Either(RANGES.of(ranges), (shown,)), Either(UNUSABLE.of([]))
        return Report((*blocks, notes), snapshot.problems)
    lost = [_Lost(each.fit, free) for each in found for free in each.unusable]
    alone = len(found) == 1
    unseen_ones = WHOSE if alone else tuple(column.name for column in UNUSABLE.columns)
    unfit = _without(UNUSABLE, *unseen_ones).of(lost)
    steps = Steps(() if alone else _steps(snapshot, size))
    table = _without(FIT, *unseen).of(found)
    return Report((table, unfit, notes, steps), snapshot.problems)


def _found(
    snapshot: Snapshot, catalogue: Catalogue, size: int | None, thread: int | None
) -> Iterator[_Found]:
    from ..fit.fits import fits  # what few commands need is imported by these
    from ..fit.unusable import unusable

    requests = POWERS if size is None else (size,)
    for reading, malloc in zip(catalogue.opened.mallocs, snapshot.mallocs):
        for each in fits(reading, requests, thread):
            lost = () if size is None else unusable(reading, malloc, each)
            yield _Found(each, malloc, lost)


def _without(schema: Schema, *names: str) -> Schema:
    """Return a table of which text doesn't show some columns."""
    for column in schema.columns:
        if column.name in names:
            schema = schema.but(column.name, rank=DATA_ONLY)
    return schema


def _ranges(found: Sequence[Fit]) -> Iterator[_Range]:
    """Yield the requests that an arena, or a thread, serves alike."""
    for _, group in groupby(found, lambda it: (it.libc, it.arena, it.source, it.reason)):
        alike = list(group)
        yield _Range(alike[0], alike[-1])


def _alike(ranges: Sequence[_Range]) -> Iterator[_Alike]:
    """Yield the ranges of arenas that serve all requests alike, once for these arenas."""
    by_arena = groupby(ranges, lambda it: (it.first.libc, it.first.arena))
    groups: dict[tuple[object, ...], list[list[_Range]]] = {}
    for own in (list(group) for _, group in by_arena):
        groups.setdefault(tuple(each.served for each in own), []).append(own)
    for alike in groups.values():
        arenas = _spanned(own[0].first.arena or 0 for own in alike)
        yield from (_Alike(*each, arenas) for each in alike[0])


def _spanned(numbers: Iterable[int]) -> str:
    """Return numbers as text, of those one behind the other the ends: `0, 2-15`."""
    spans = list[tuple[int, int]]()
    for number in sorted(numbers):
        follows = bool(spans) and spans[-1][1] == number - 1
        spans.append((spans.pop()[0], number) if follows else (number, number))
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


def _unknown(found: Sequence[Fit]) -> Iterator[Note]:
    """Tell why it isn't known what malloc would do."""
    firsts = (f for f in _firsts(found, lambda it: it.reason) if f.reason is not None)
    for alike in _together(firsts, lambda it: (it.request, it.reason)):
        first = alike[0]
        yield note(
            "fit_unknown", request=first.request, where=_where(alike), why=first.reason or ""
        )


def _refused(found: Sequence[Fit]) -> Iterator[Note]:
    """Tell from which request on the kernel gives no memory, and why."""
    refused = [each for each in found if each.refused is not None]
    firsts = _firsts(refused, lambda it: it.refused_by)
    for alike in _together(firsts, lambda it: (it.request, it.refused)):
        first = alike[0]
        if first.refused is not None:
            limit, allows, used, wanted = first.refused
            yield note(
                "fit_refused",
                request=first.request,
                thread=first.thread,
                where=_where(alike),
                limit=limit,
                allows=allows,
                used=used,
                wanted=wanted,
            )


def _firsts(found: Iterable[Fit], what: Callable[[Fit], object]) -> Iterator[Fit]:
    """Yield the first request of those that an arena, or a thread, answers with the same."""
    for _, group in groupby(found, lambda it: (it.libc, it.thread, it.arena, what(it))):
        yield next(group)


def _together(found: Iterable[Fit], what: Callable[[Fit], object]) -> Iterator[list[Fit]]:
    """Yield those of several arenas that say the same."""
    groups: dict[object, list[Fit]] = {}
    for each in found:
        groups.setdefault((each.libc, each.thread, what(each)), []).append(each)
    yield from groups.values()


def _where(alike: Sequence[Fit]) -> str:
    first = alike[0]
    if first.thread is not None:
        return f"thread {first.thread}"
    arenas = _spanned(each.arena or 0 for each in alike)
    return f"arena{'s' if len(alike) > 1 else ''} {arenas}"


def _steps(snapshot: Snapshot, size: int) -> tuple[tuple[str, str], ...]:
    """Return the line that asks about one thread."""
    threads = snapshot.target.threads
    line = f"heapx fit {size} --thread {threads[0].lwp}" if threads else ""
    return ((line, "in one thread, and what can't serve it"),) if threads else ()
