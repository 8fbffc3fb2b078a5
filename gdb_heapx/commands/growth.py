"""heapx growth: who makes malloc get memory from the system, caught in the act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import Needs, command
from ..growth.free import total
from ..growth.sites import Backtrace, CallSite, Frame, Names, site_of, sites_of
from ..growth.watched import MAX_LOAD, MOST_KEPT, Growth, Watched
from ..report.model import (
    DATA_ONLY,
    Column,
    Kind,
    Note,
    Notes,
    Report,
    Schema,
    counted,
    size_text,
    within,
)
from ..report.notes import note
from ..report.stacks import Trace, Traces
from ._columns import LIBC

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue

SHOWN = 15  # rows
TRACED = 3  # call sites whose backtrace is shown
CHUNKS = (
    Column("smallest", Kind.BYTES, rank=4, title="from", exact=True),
    Column("largest", Kind.BYTES, rank=3, title="to", exact=True),
)
GROWTH = Schema(
    "growth",
    (
        *within("frame", Column("site", Kind.TEXT, shrinks=True, of="name")),
        *within("frame", Column("at", Kind.TEXT, absent="-")),
        *within("frame", Column("source", Kind.TEXT, DATA_ONLY)),
        *within("frame", Column("line", Kind.COUNT, DATA_ONLY)),
        *within("frame", Column("file", Kind.TEXT, DATA_ONLY)),
        *within("site", Column("requests", Kind.COUNT), Column("bytes", Kind.BYTES), *CHUNKS),
        Column("sources", Kind.TEXT, rank=6, title="by"),
        Column("arenas", Kind.TEXT, rank=2, absent="-"),
        Column("threads", Kind.COUNT, rank=5),
        Column("free", Kind.BYTES, rank=1, title="free then"),
        Column("largest_free", Kind.BYTES, rank=1, title="largest free", exact=True),
        Column("free_chunks", Kind.COUNT, DATA_ONLY),
        Column("free_whole", Kind.BOOL, DATA_ONLY),
        LIBC,
    ),
)
STACKS = Schema(
    "growth_stacks",
    (
        Column("site", Kind.TEXT, DATA_ONLY),
        Column("requests", Kind.COUNT, DATA_ONLY),
        Column("bytes", Kind.BYTES, DATA_ONLY),
        Column("stack", Kind.TEXT, DATA_ONLY),
    ),
)
REQUESTS = Schema(
    "growth_requests",
    (
        Column("milliseconds", Kind.COUNT, DATA_ONLY),
        Column("thread", Kind.INDEX, DATA_ONLY),
        Column("name", Kind.TEXT, DATA_ONLY),
        Column("site", Kind.TEXT, DATA_ONLY),
        Column("source", Kind.TEXT, DATA_ONLY),
        Column("arena", Kind.INDEX, DATA_ONLY),
        Column("chunk_size", Kind.BYTES, DATA_ONLY),
        Column("bytes", Kind.BYTES, DATA_ONLY),
        Column("free", Kind.BYTES, DATA_ONLY),
        Column("largest_free", Kind.BYTES, DATA_ONLY),
        Column("free_chunks", Kind.COUNT, DATA_ONLY),
        Column("free_whole", Kind.BOOL, DATA_ONLY),
        LIBC,
    ),
)
FREE = Schema(
    "growth_free",
    (
        Column("arena", Kind.INDEX, DATA_ONLY),
        Column("free", Kind.BYTES, DATA_ONLY),
        Column("largest_free", Kind.BYTES, DATA_ONLY),
        Column("free_chunks", Kind.COUNT, DATA_ONLY),
        Column("free_whole", Kind.BOOL, DATA_ONLY),
        LIBC,
    ),
)
RUN = Schema(
    "growth_run",
    (
        Column("milliseconds", Kind.COUNT, DATA_ONLY),
        Column("ended", Kind.TEXT, DATA_ONLY),
        Column("stops", Kind.COUNT, DATA_ONLY),
        Column("stood_microseconds", Kind.COUNT, DATA_ONLY),
        Column("failed", Kind.COUNT, DATA_ONLY),
        Column("unfinished", Kind.COUNT, DATA_ONLY),
        Column("by_request", Kind.BOOL, DATA_ONLY),
    ),
)


class _FreeThen:
    """What was free in an arena at a request, None where that is unknown."""

    def __init__(self, growth: Growth | None) -> None:
        known = growth.free if growth else None
        self.free = known.bytes if known else None
        self.largest_free = known.largest if known else None
        self.free_chunks = known.chunks if known else None
        self.free_whole = known.whole if known else None


class _Row(_FreeThen):
    def __init__(self, site: CallSite, libc: str) -> None:
        super().__init__(site.most_free)
        self.site, self.frame, self.libc = site, site.frame, libc
        self.sources = ", ".join(each.replace("_", " ") for each in site.sources)
        self.arenas = ", ".join(map(str, site.arenas)) or None
        self.threads = len(site.threads)


class _Request(_FreeThen):
    def __init__(self, growth: Growth, site: str, watched: Watched) -> None:
        super().__init__(growth)
        self.milliseconds = int(growth.at * 1000)
        self.thread, self.name = growth.thread, watched.threads.get(growth.thread)
        self.site, self.source, self.chunk_size = site, growth.source, growth.chunk_size
        self.arena = watched.arenas.get(growth.arena) if growth.arena else None
        self.bytes, self.libc = growth.bytes, watched.libc


class _Stack(NamedTuple):
    site: str
    requests: int
    bytes: int
    stack: str


class _Free(NamedTuple):
    arena: int | None
    free: int
    largest_free: int
    free_chunks: int
    free_whole: bool
    libc: str


class _Run(NamedTuple):
    milliseconds: int
    ended: str
    stops: int
    stood_microseconds: int
    failed: int
    unfinished: int
    by_request: bool


@command(
    "heapx growth",
    Arg("--seconds", "let the process run for so long, and watch", "seconds", required=True),
    Arg("--stop-after", "end after so many requests", "count", default=MOST_KEPT),
    Arg(
        "--max-load",
        "end where the process stands still for more of the time, such as 20%",
        "percent",
        default=MAX_LOAD,
    ),
    needs=Needs.GROWTH,
    limit=SHOWN,
    tables=(GROWTH, STACKS, REQUESTS, FREE, RUN),
)
def growth(catalogue: Catalogue, watched: Watched, **_wishes: object) -> Report:
    """Catch malloc growing: who asks when it gets memory from the system.

    It lets the process run, with breakpoints in malloc's code where that gets memory from the
    system, which is seldom. At each it notes the backtrace, the arena and what was free there, and
    lets the process go on. Beside heapx trim --now it is the only command that changes the process:
    the breakpoints are instructions in libc's text, and are gone in the end. If gdb is killed, the
    heapx that was run from a shell takes them out; what risk remains it says before it begins.

    A row is a call site: the function nearest to malloc that isn't libc's, nor operator new or the
    standard library's. Bytes is by how much malloc's memory grew for its requests, from and to are
    the sizes of the smallest and the largest chunk that was needed. Free then is what lay in the
    bins of that arena at the request for which that was most, and largest free the largest piece of
    it: malloc had looked there, and found nothing that fits.

    It extends an arena (extend), makes it a new heap (new heap) or a thread a new arena (new
    arena), or gives the chunk a mapping of its own (mmap, mremap). Without libc's symbols it stops
    at malloc's calls of sbrk, mmap, mprotect and mremap: sizes of requests are unknown then.

    In a second sentence is what lay in the bins of the other arenas at the first request: a thread
    asks its own arena only.

    Where memory is asked for often, the process stands still often: --max-load ends it when that is
    more than this share of any stretch of time and one second more.
    In gdb your own breakpoints are off meanwhile, and signals don't stop the process.

    Examples:

        heapx growth --seconds 30                    who asks, in half a minute
        heapx growth --seconds 600 --stop-after 100  no more than 100 requests
        heapx growth --seconds 30 --format folded    for a flame graph
    """
    mallocs = [each for each in catalogue.source.objects if _is_libc(each.path)]
    own = [each.reading.libc.image for each in catalogue.inventories]
    source = catalogue.source
    names = Names(source.objects, [*mallocs, *own], source.probe.demangled, watched.code)
    sites = sites_of(watched.growths, names, watched.arenas)
    table = GROWTH.of([_Row(site, watched.libc) for site in sites])
    sums = {"requests": len(watched.growths), "bytes": sum(e.bytes for e in watched.growths)}
    blocks = (
        Notes((_headline(watched, sites), *_told(sites, watched)), leads=True),
        replace(table, total=sums if sites else None),
        Traces(tuple(_trace(site) for site in sites[:TRACED])),
        STACKS.of([_folded(site, stack) for site in sites for stack in site.stacks]),
        REQUESTS.of([_request(each, names, watched) for each in watched.growths]),
        FREE.of(list(_free(watched))),
        RUN.of([_run(watched)]),
        Notes(tuple(_notes(watched))),
    )
    return Report(blocks, catalogue.problems)


def _is_libc(path: str) -> bool:
    from ..growth.sites import LIBC_FILES

    return LIBC_FILES.search(path) is not None


def _headline(watched: Watched, sites: Sequence[CallSite]) -> Note:
    return note(
        "grew",
        seconds=watched.seconds,
        size=sum(each.bytes for each in watched.growths),
        requests=len(watched.growths),
        sites=len(sites),
    )


def _told(sites: Sequence[CallSite], watched: Watched) -> Iterator[Note]:
    """Tell of the site with most bytes what was free when it asked: in its arena, in others."""
    most = sites[0].most_free if sites else None
    if most is not None and most.free is not None and most.free.bytes:
        yield note(
            "was_free",
            site=sites[0].frame.name,
            chunk=most.chunk_size,
            arena=watched.arenas.get(most.arena) if most.arena else None,
            free=most.free.bytes,
            chunks=most.free.chunks,
            largest=most.free.largest,
            whole=most.free.whole,
        )
    own = sites[0].arenas if sites else ()
    others = {at: free for at, free in watched.free.items() if watched.arenas.get(at) not in own}
    elsewhere = total(others.values())
    if own and elsewhere.bytes:
        yield note(
            "was_free_elsewhere",
            site=sites[0].frame.name,
            own=own,
            others=sum(bool(free.bytes) for free in others.values()),
            free=elsewhere.bytes,
            whole=elsewhere.whole,
        )


def _trace(site: CallSite) -> Trace:
    stack = site.stacks[0]
    heading = f"{site.frame.name}: {counted(stack.requests, 'request')}, {size_text(stack.bytes)}"
    return Trace(heading, tuple(map(_shown, stack.frames)))


def _shown(frame: Frame) -> str:
    return f"{frame.name} at {frame.at}" if frame.at else frame.name


def _folded(site: CallSite, stack: Backtrace) -> _Stack:
    names = (frame.name.replace(";", ",") for frame in reversed(stack.frames))
    return _Stack(site.frame.name, stack.requests, stack.bytes, ";".join(names))


def _request(growth: Growth, names: Names, watched: Watched) -> _Request:
    site = site_of(names.of(growth.stack))
    return _Request(growth, site.name if site else "?", watched)


def _free(watched: Watched) -> Iterator[_Free]:
    for arena, free in watched.free.items():
        index = watched.arenas.get(arena)
        yield _Free(index, free.bytes, free.largest, free.chunks, free.whole, watched.libc)


def _run(watched: Watched) -> _Run:
    return _Run(
        int(watched.seconds * 1000),
        watched.ended.code,
        watched.stops,
        int(watched.stood * 1e6),
        watched.failed,
        watched.unfinished,
        watched.by_request,
    )


def _notes(watched: Watched) -> Iterator[Note]:
    yield note("growth_cost", stops=watched.stops, stood=watched.stood, seconds=watched.seconds)
    yield note("growth_ended", why=watched.ended.code, text=watched.ended.text)
    if not watched.by_request:
        yield note("growth_by_calls")
    if watched.failed:
        yield note("growth_failed", number=watched.failed)
    if watched.unfinished:
        yield note("growth_unfinished", number=watched.unfinished)
