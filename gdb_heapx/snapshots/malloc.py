"""The malloc of one libc, frozen: its arenas, tcaches and mmapped chunks, and what must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ..errors import UNREAD, Problem, StoppedError, gathered
from ..glibc import releases
from ..glibc.layout import Layout
from ..heap.arenas import Arena
from ..heap.census import Census
from ..heap.counted import BAD_MMAPPED
from ..heap.mmapped import MmappedChunks
from ..heap.pingroups import PinGroups
from ..heap.states import Search
from ..heap.tcache import Tcache
from ..heap.tcaches import Caches, ThreadCache
from ..locate.libcs import Libc
from ..locate.release import Found
from ..records import dataclass
from ..report.model import Note
from ..target.amounts import Amounts
from ..target.facts import Thread
from .arena import ArenaReading
from .figures import ArenaFigures, Check
from .freeze import exact_sizes, figures_of, last_sizes, strips_of
from .mmaps import Mmapped
from .outcomes import Outcomes
from .reading import Identity, MallocReading

MANY = 1000  # arenas


@dataclass(frozen=True)
class Scope:
    """How much of a target to read.

    `walk` over the chunks, or follow lists only; bring back `swap_in` bytes of swap at most (None:
    procfs.swap_allowance); `pad` is what malloc_trim is asked to leave; `search` says how far
    mmapped chunks are looked for, which nothing needs that only counts them. `stale`: read
    inside large free chunks, too, what headers are left there. `whole`: everything else is worth an
    answer, too, where there is no glibc malloc. `apart`: tell the regular bins apart, for which
    lists may have to be followed. `census`: count the chunks of each arena by their exact size.
    `outcomes`: tell what malloc_trim and free() would return of each arena, and with `pages`,
    unless only malloc's own figures matter, what keeps single pages from it. `strips`: tell what
    fills the heaps, cell by cell. `figures`: ask what the kernel says of each mapping, be they ever
    so many (access.of_process).
    """

    walk: bool = True
    swap_in: int | None = None
    pad: int = 0
    search: Search = Search.HEADERS
    stale: bool = False
    whole: bool = False
    apart: bool = True
    census: bool = True
    outcomes: bool = True
    strips: bool = True
    pages: bool = True
    figures: bool = True


EVERYTHING = Scope()


@dataclass(frozen=True)
class MallocThread:
    """One thread: the index of the arena that it allocates from, and its tcache; None without.

    Both are unknown where the thread's own data was not `found`.
    """

    lwp: int
    name: str | None
    arena: int | None
    tcache: Tcache | None
    found: bool


@dataclass(frozen=True)
class Malloc:
    """The malloc of one libc.

    `mmapped_certain` is False where the chunks that were found are not those that mp_ counts, and
    where none were looked for; `mmapped_cached` are those in a tcache, with the bytes of their
    mappings, `mmapped_amounts` what the mapping of each has. `program_break` is libc's view of brk.
    `debugging` tells the malloc of libc_malloc_debug.so.
    """

    libc: str
    build_id: str | None
    release: str
    layout: Layout
    arenas: tuple[ArenaFigures, ...]
    caches: tuple[ThreadCache, ...]
    threads: tuple[MallocThread, ...]
    mmapped: MmappedChunks
    mmapped_certain: bool
    mmapped_cached: Mapping[int, int]
    mmapped_amounts: Amounts
    parameters: dict[str, int]
    defaults: dict[str, int]
    program_break: int | None
    found: tuple[Found, ...]
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    debugging: bool = False

    @property
    def identity(self) -> Identity:
        return Identity(self.libc, self.build_id, self.release)

    @property
    def mmapped_bytes(self) -> int | None:
        """Bytes of the mappings of mmapped chunks by mp_'s count; None where that can't be."""
        impossible = any(problem.code == BAD_MMAPPED for problem in self.problems)
        return None if impossible and not self.mmapped else self.parameters["mmapped_mem"]

    @property
    def mmapped_in_use(self) -> int | None:
        """The same without the chunks that a tcache holds."""
        cached = sum(self.mmapped_cached.values())
        return None if self.mmapped_bytes is None else self.mmapped_bytes - cached

    @property
    def mmapped_lost(self) -> int:
        """Bytes of mmapped chunks that mp_ counts, and whose place isn't known for certain."""
        return 0 if self.mmapped_certain else self.mmapped_bytes or 0

    @property
    def mmapped_census(self) -> Census | None:
        """The mmapped chunks by size; None where they were not found for certain."""
        if not self.mmapped_certain:
            return None
        cached = Counter[int]()
        if self.mmapped_cached:
            cached.update(c.size for c in self.mmapped if c.address in self.mmapped_cached)
        return Census(Counter(self.mmapped.sizes) - cached, cached)

    @property
    def held(self) -> int:
        """Bytes that this malloc has from the system."""
        heaps = (heap.size for arena in self.arenas for heap in arena.heaps)
        return sum(heaps) + (self.mmapped_bytes or 0)


def frozen(reading: MallocReading, scope: Scope) -> Malloc:
    """Return one libc's malloc, read: lists, then the walk, and what both must agree on. Regular
    bins that need the target no longer wait to be told apart.
    """
    libc, outline, caches = reading.libc, reading.outline, reading.outline.caches
    walk = scope.walk or not libc.proven  # guesses are proven by their chunks
    if walk:
        size = sum(heap.size for arena in reading.arenas for heap in arena.heaps)
        reading.space.pace.begin("reading heaps", size)
    if scope.strips:
        reading.draw()
    parameters = {name: libc.parameters[name] for name in libc.parameters.struct.members}
    parts = [_part(reading, arena, parameters, walk, scope) for arena in reading.arenas]
    mmapped = _mmapped(reading, scope.search)
    problems = [*libc.problems, *caches.problems, *outline.problems, *mmapped.problems]
    problems += (problem for part in parts for problem in part.problems)
    checks = [check for part in parts for check in part.checks]
    checks += [
        Check(f"tcache counts of thread {c.tcache.lwp}", None, c.tcache.stored, c.tcache.chunks)
        for c in caches.caches
    ]
    return Malloc(
        **reading.identity._asdict(),
        layout=libc.layout,
        arenas=tuple(part.figures for part in parts),
        caches=caches.caches,
        threads=tuple(_threads(reading.target.facts.threads, reading.arenas, caches)),
        mmapped=mmapped.chunks,
        mmapped_certain=mmapped.certain,
        mmapped_cached=reading.mmapped.cached,
        mmapped_amounts=_amounts(reading, mmapped.chunks, scope.search),
        parameters=parameters,
        defaults=releases.default_parameters(libc.layout),
        program_break=reading.program_break,
        found=(
            *_identity(libc),
            *libc.found,
            Found("tcaches", _number_of(caches), caches.how),
        ),
        checks=tuple(checks),
        problems=(*reading.aborted, *reading.in_motion(gathered(problems))),
        notes=reading.doubts,
        debugging=libc.debugs is not None,
    )


def bins_apart(malloc: Malloc, reading: MallocReading) -> Malloc:
    """Return a malloc with those regular bins told apart that waited for it."""
    told, problems = reading.tell_apart()
    if not told and not problems:
        return malloc
    arenas = (replace(a, bins=told.get(a.index, a.bins)) for a in malloc.arenas)
    return replace(malloc, arenas=tuple(arenas), problems=(*malloc.problems, *problems))


class _Part(NamedTuple):
    """What one arena adds to its malloc."""

    figures: ArenaFigures
    checks: list[Check]
    problems: list[Problem]


def _part(
    reading: MallocReading, arena: Arena, parameters: dict[str, int], walk: bool, scope: Scope
) -> _Part:
    """Return this of an arena, read; of many arenas no more is kept of each."""
    part, outcomes = (
        reading.arena(arena, walk, scope.apart, wait=True),
        Outcomes(reading, parameters),
    )
    figures = figures_of(
        part,
        reading.libc.path,
        outcomes.trim(part, scope.pad) if scope.outcomes else None,
        outcomes.whatif(part) if scope.outcomes else None,
        last_sizes(part, reading.space, len(reading.arenas)) if scope.stale else None,
        _pins(reading, part, scope),
        exact_sizes(part) if scope.census else None,
        strips_of(part) if scope.strips else None,
    )
    found = _Part(figures, part.checks, part.problems())
    if len(reading.arenas) > MANY:
        reading.forget()
    return found


def _pins(reading: MallocReading, arena: ArenaReading, scope: Scope) -> PinGroups | None:
    """Return what keeps single pages of an arena, where that is asked for."""
    wanted = scope.outcomes and scope.pages and scope.search is not Search.NONE
    if not wanted or arena.walked is None or not arena.sure:
        return None
    return reading.walks.page_pins(arena.arena)


def _mmapped(reading: MallocReading, search: Search) -> Mmapped:
    """Return the mmapped chunks as far as they are looked for."""
    if search is Search.NONE:
        impossible = reading.mmapped.impossible
        return Mmapped(MmappedChunks(), False, [impossible] if impossible else [])
    if search is Search.MAPPINGS:
        return reading.mmapped.found
    try:
        return reading.mmapped.found._replace(chunks=reading.mmapped.headers)
    except StoppedError:
        return Mmapped(MmappedChunks(), False, reading.mmapped.found.problems)


def _amounts(reading: MallocReading, chunks: MmappedChunks, search: Search) -> Amounts:
    """Return what the mappings of mmapped chunks have, where each chunk is shown."""
    spans = zip(chunks.starts, chunks.ends) if search is Search.HEADERS else ()
    return Amounts.of(reading.space.residency, spans)


def _number_of(caches: Caches) -> str:
    """Return how many tcaches there are."""
    unread = any(problem.code == UNREAD for problem in caches.problems)
    return "unknown" if unread else f"{len(caches.caches)}"


def _identity(libc: Libc) -> tuple[Found, ...]:
    """Return which libc it is."""
    image = libc.image
    read = f"its symbols: from {image.how}"
    return Found("libc", image.path, read), Found("build-id", image.build_id or "none", "its note")


def _threads(
    threads: Iterable[Thread], arenas: list[Arena], caches: Caches
) -> Iterator[MallocThread]:
    """Yield every thread with its arena and its tcache."""
    indexes = {arena.address: arena.index for arena in arenas}
    tcaches = {cache.tcache.lwp: cache.tcache for cache in caches.caches}
    for thread in sorted(threads, key=lambda thread: thread.lwp):
        lwp = thread.lwp
        arena = indexes.get(caches.thread_arena.get(lwp, 0))
        yield MallocThread(lwp, thread.name, arena, tcaches.get(lwp), lwp in caches.thread_arena)
