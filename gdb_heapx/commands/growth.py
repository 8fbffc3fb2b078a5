"""heapx growth: who makes malloc get memory from the system, caught in the act."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cli.arg import Arg
from ..cli.command import Needs, command
from ..growth.watched import MAX_LOAD, MOST_KEPT
from ..report.either import Either
from ..report.model import Note, Notes, Report, counted, size_text
from ..report.notes import note
from ..report.schema import DATA_ONLY, NONE_KNOWN, Column, Kind, Schema, Table, Value, within
from ..report.stacks import Trace, Traces
from ._columns import LIBC

if TYPE_CHECKING:
    from ..growth.free import Free
    from ..growth.sites import Backtrace, CallSite, Frame, Names
    from ..growth.watched import Growth, Watched
    from ..inventory.catalogue import Catalogue

SHOWN = 15  # rows
TRACED = 3  # call sites whose backtrace is shown


def _of_free(part: str) -> Callable[[Any], Value]:
    """Return what gets a part of what was free, None where that is unknown."""
    get = attrgetter(part)
    return lambda row: None if row.free is None else get(row.free)


def _for_scripts(name: str, *columns: Column) -> Schema:
    """Return a table that text doesn't show."""
    return Schema(name, tuple(replace(each, rank=DATA_ONLY) for each in columns))


FREE_THEN = (
    Column("free", Kind.BYTES, rank=1, title="free then", of=_of_free("bytes")),
    Column("largest_free", Kind.BYTES, 1, title="largest free", of=_of_free("largest"), exact=True),
    Column("free_chunks", Kind.COUNT, DATA_ONLY, of=_of_free("chunks")),
    Column("free_whole", Kind.BOOL, DATA_ONLY, of=_of_free("whole")),
)
GROWTH = Schema(
    "growth",
    (
        *within(
            "site.frame",
            Column("site", Kind.TEXT, shrinks=True, of="name"),
            Column("at", Kind.TEXT, absent="-"),
            Column("source", Kind.TEXT, DATA_ONLY),
            Column("line", Kind.COUNT, DATA_ONLY),
            Column("file", Kind.TEXT, DATA_ONLY),
        ),
        *within(
            "site",
            Column("requests", Kind.COUNT),
            Column("bytes", Kind.BYTES),
            Column("smallest", Kind.BYTES, rank=4, title="from", exact=True),
            Column("largest", Kind.BYTES, rank=3, title="to", exact=True),
        ),
        Column("sources", Kind.TEXT, rank=6, title="by"),
        Column("arenas", Kind.TEXT, rank=2, absent="-"),
        Column("threads", Kind.COUNT, rank=5),
        *FREE_THEN,
        LIBC,
    ),
)
STACKS = _for_scripts(
    "growth_stacks",
    Column("site", Kind.TEXT),
    *within("traced", Column("requests", Kind.COUNT), Column("bytes", Kind.BYTES)),
    Column("stack", Kind.TEXT),
)
REQUESTS = _for_scripts(
    "growth_requests",
    Column("milliseconds", Kind.COUNT, of=lambda row: int(row.growth.at * 1000)),
    *within("growth", Column("thread", Kind.INDEX)),
    Column("name", Kind.TEXT),
    Column("site", Kind.TEXT),
    *within("growth", Column("source", Kind.TEXT)),
    Column("arena", Kind.INDEX),
    *within("growth", Column("chunk_size", Kind.BYTES), Column("bytes", Kind.BYTES)),
    *within("growth", *FREE_THEN),
    LIBC,
)
FREE = _for_scripts("growth_free", Column("arena", Kind.INDEX), *FREE_THEN, LIBC)
UNUSABLE = Schema(
    "growth_unusable",
    (
        Column("site", Kind.TEXT, DATA_ONLY),
        Column("requests", Kind.COUNT, DATA_ONLY),
        Column("reason", Kind.TEXT),
        *within(
            "free",
            Column("chunks", Kind.COUNT),
            Column("bytes", Kind.BYTES),
            Column("largest", Kind.BYTES, exact=True),
            Column("whole", Kind.BOOL, DATA_ONLY),
        ),
        LIBC,
    ),
    adds=("chunks",),
)
RUN = _for_scripts(
    "growth_run",
    Column("milliseconds", Kind.COUNT, of=lambda watched: int(watched.seconds * 1000)),
    Column("ended", Kind.TEXT, of="ended.code"),
    Column("stops", Kind.COUNT),
    Column("stood_microseconds", Kind.COUNT, of=lambda watched: int(watched.stood * 1e6)),
    Column("failed", Kind.COUNT),
    Column("unfinished", Kind.COUNT),
    Column("by_request", Kind.BOOL),
)


class _Site(NamedTuple):
    site: CallSite
    libc: str

    @property
    def sources(self) -> str:
        return ", ".join(each.replace("_", " ") for each in self.site.sources)

    @property
    def arenas(self) -> str | None:
        return ", ".join(map(str, self.site.arenas)) or None

    @property
    def threads(self) -> int:
        return len(self.site.threads)

    @property
    def free(self) -> Free | None:
        return self.site.most_free.free if self.site.most_free else None


class _Stack(NamedTuple):
    site: str
    traced: Backtrace

    @property
    def stack(self) -> str:
        names = (frame.name.replace(";", ",") for frame in reversed(self.traced.frames))
        return ";".join(names)


class _Request(NamedTuple):
    growth: Growth
    name: str | None
    site: str
    arena: int | None
    libc: str


class _Unusable(NamedTuple):
    site: str
    requests: int
    reason: str
    free: Free
    libc: str


class _Arena(NamedTuple):
    arena: int | None
    free: Free
    libc: str


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
    tables=(GROWTH, STACKS, REQUESTS, FREE, UNUSABLE, RUN),
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

    Growth unusable is why what was free when the first site asked could not serve, as heapx fit
    tells it: too small, in other arenas, in tcaches. To look at all arenas takes long, so it is
    done at the first request of each backtrace, and later as far as --max-load leaves time.

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
    from ..growth.sites import LIBC_FILES, Names, sites_of

    mallocs = [each for each in catalogue.source.objects if LIBC_FILES.search(each.path)]
    own = [each.reading.libc.image for each in catalogue.inventories]
    source = catalogue.source
    names = Names(source.objects, [*mallocs, *own], source.probe.demangled, watched.code)
    sites = sites_of(watched.growths, names, watched.arenas)
    table = GROWTH.of([_Site(site, watched.libc) for site in sites])
    sums = {"requests": len(watched.growths), "bytes": sum(e.bytes for e in watched.growths)}
    blocks = (
        Notes((_headline(watched, sites), *_told(sites, watched)), leads=True),
        replace(table, total=sums if sites else None),
        Traces(tuple(_trace(site) for site in sites[:TRACED])),
        STACKS.of([_Stack(site.frame.name, each) for site in sites for each in site.stacks]),
        REQUESTS.of([_request(each, names, watched) for each in watched.growths]),
        FREE.of(list(_free(watched))),
        Either(_unusable(sites, watched), (_unusable(sites[:1], watched),)),
        RUN.of([watched]),
        Notes(tuple(_notes(watched))),
    )
    return Report(blocks, catalogue.problems)


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
    from ..growth.free import total

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


def _request(growth: Growth, names: Names, watched: Watched) -> _Request:
    from ..growth.sites import NOWHERE, site_of

    site = site_of(names.of(growth.stack)) or NOWHERE
    arena = watched.arenas.get(growth.arena) if growth.arena else None
    name = watched.threads.get(growth.thread)
    return _Request(growth, name, site.name, arena, watched.libc)


def _free(watched: Watched) -> Iterator[_Arena]:
    for arena, free in watched.free.items():
        yield _Arena(watched.arenas.get(arena), free, watched.libc)


def _unusable(sites: Sequence[CallSite], watched: Watched) -> Table:
    """Return why what was free couldn't serve the request of each site for which that was most."""
    rows = [
        _Unusable(site.frame.name, site.known, reason, free, watched.libc)
        for site in sites
        if site.looked
        for reason, free in (site.looked.unusable or {}).items()
    ]
    return replace(UNUSABLE.of(rows), few=NONE_KNOWN)


def _notes(watched: Watched) -> Iterator[Note]:
    yield note("growth_cost", stops=watched.stops, stood=watched.stood, seconds=watched.seconds)
    yield note("growth_ended", why=watched.ended.code, text=watched.ended.text)
    if not watched.by_request:
        yield note("growth_by_calls")
    if watched.failed:
        yield note("growth_failed", number=watched.failed)
    if watched.unfinished:
        yield note("growth_unfinished", number=watched.unfinished)
