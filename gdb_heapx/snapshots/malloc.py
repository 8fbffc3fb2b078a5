"""The malloc of one libc, read: its arenas, tcaches and mmapped chunks, and what must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import MemoryFault, Problem, gathered
from ..glibc import releases
from ..glibc.layout import Layout, align_down, align_up
from ..heap.arenas import Arena
from ..heap.bins import ArenaBins, read_regular
from ..heap.census import Census
from ..heap.heaps import Walked, free_chunks, walk_arena
from ..heap.holes import Holes, Trimmer
from ..heap.mmapped import BAD_MMAPPED, MmappedChunk, find_damaged, find_mmapped
from ..heap.motion import aborted, mark_motion
from ..heap.outline import Outline, read_outline
from ..heap.tcaches import Caches, Tcache, ThreadCache
from ..locate.libcs import Found, Libc
from ..locate.loader import link_map_of
from ..report.model import Note
from ..report.notes import note
from ..target.amounts import Amount, amount_of
from ..target.facts import Thread
from ..target.mappings import Mapping, outside
from ..target.space import Space
from ..target.target import Target
from .arena import ArenaReading
from .figures import ArenaFigures, Check


@dataclass(frozen=True)
class Scope:
    """How much of a target to read.

    `walk` over the chunks, or follow lists only; bring back `swap_in` bytes of swap at most (None:
    procfs.swap_allowance); `pad` is what malloc_trim is asked to leave.
    """

    walk: bool = True
    swap_in: int | None = None
    pad: int = 0


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


class Identity(NamedTuple):
    """Which libc: its file, its build-id where it has one, and its release."""

    libc: str
    build_id: str | None
    release: str


@dataclass(frozen=True)
class Malloc:
    """The malloc of one libc.

    `mmapped_certain` is False where the chunks that were found are not those that mp_ counts;
    `mmapped_cached` are those in a tcache, `mmapped_amounts` what the mapping of each has.
    `program_break` is libc's view of brk.
    """

    libc: str
    build_id: str | None
    release: str
    layout: Layout
    arenas: tuple[ArenaFigures, ...]
    caches: tuple[ThreadCache, ...]
    threads: tuple[MallocThread, ...]
    mmapped: tuple[MmappedChunk, ...]
    mmapped_certain: bool
    mmapped_cached: frozenset[int]
    mmapped_amounts: tuple[Amount, ...]
    parameters: dict[str, int]
    defaults: dict[str, int]
    program_break: int | None
    found: tuple[Found, ...]
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]

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
        cached = (c.mapping for c in self.mmapped if c.address in self.mmapped_cached)
        return None if self.mmapped_bytes is None else self.mmapped_bytes - sum(cached)

    @property
    def mmapped_lost(self) -> int:
        """Bytes of mmapped chunks that mp_ counts, and whose place isn't known for certain."""
        return 0 if self.mmapped_certain else self.mmapped_bytes or 0

    @property
    def mmapped_census(self) -> Census | None:
        """The mmapped chunks by size; None where they were not found for certain."""
        if not self.mmapped_certain:
            return None
        cached = Counter(c.size for c in self.mmapped if c.address in self.mmapped_cached)
        return Census(Counter(c.size for c in self.mmapped) - cached, cached)

    @property
    def held(self) -> int:
        """Bytes that this malloc has from the system."""
        heaps = (heap.size for arena in self.arenas for heap in arena.heaps)
        return sum(heaps) + (self.mmapped_bytes or 0)


def read_malloc(target: Target, libc: Libc, scope: Scope) -> Malloc:
    """Read one libc's malloc: the lists first, then the walk, then what both must agree on."""
    space, layout = target.space, libc.layout
    trimmer = Trimmer(space)
    outline = read_outline(target, libc)
    arenas, caches, problems = outline.arenas, outline.caches, list(outline.problems)
    holes = [Holes(trimmer, space.residency) for _ in arenas]
    walked = [
        walk_arena(space, layout, arena, outline.overlay, hole) if scope.walk else None
        for arena, hole in zip(arenas, holes)
    ]
    parts = [read_arena(space, libc, outline, *part) for part in zip(arenas, walked, holes)]
    parameters = {name: libc.parameters[name] for name in libc.parameters.struct.members}
    program_break = _program_break(target, libc)
    mmapped, certain, damaged = read_mmapped(space, libc, arenas)
    problems += damaged
    for part in parts:
        problems += part.problems()
    checks = [check for part in parts for check in part.checks()]
    checks += [
        Check(f"tcache counts of thread {c.tcache.lwp}", None, c.tcache.stored, c.tcache.chunks)
        for c in caches.caches
    ]
    return Malloc(
        libc=libc.path,
        build_id=libc.image.build_id,
        release=libc.found[0].value,
        layout=layout,
        arenas=tuple(
            part.figures(libc.path, part.trim(trimmer, parameters, program_break, scope.pad))
            for part in parts
        ),
        caches=caches.caches,
        threads=tuple(_threads(target.facts.threads, arenas, caches)),
        mmapped=mmapped,
        mmapped_certain=certain,
        mmapped_cached=frozenset(caches.mmapped),
        mmapped_amounts=tuple(
            amount_of(space.residency, chunk.start, chunk.end) for chunk in mmapped
        ),
        parameters=parameters,
        defaults=releases.default_parameters(layout),
        program_break=program_break,
        found=(
            *_identity(libc),
            *libc.found,
            Found("tcaches", f"{len(caches.caches)}", caches.how),
        ),
        checks=tuple(checks),
        problems=(
            *aborted(target, libc),
            *mark_motion(
                target,
                libc,
                arenas,
                caches,
                gathered([*libc.problems, *caches.problems, *problems]),
            ),
        ),
        notes=doubts(libc, caches),
    )


def read_arena(
    space: Space,
    libc: Libc,
    outline: Outline,
    arena: Arena,
    walked: list[Walked] | None,
    holes: Holes,
) -> ArenaReading:
    """Return what the lists and the walk say of one arena."""
    free = free_chunks(arena, walked)
    regular = read_regular(space, libc.layout, arena, outline.links, free)
    bins = ArenaBins.joined(outline.fast[arena.index], regular)
    return ArenaReading(arena, bins, walked, holes, outline.caches, libc.layout, space.residency)


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


def doubts(libc: Libc, caches: Caches) -> tuple[Note, ...]:
    """Tell what wasn't found by debug symbols (the chunks have proven it), and which tcaches are
    missing.
    """
    missing = (caches.missing,) if caches.missing else ()
    return (*_guesses(libc), *missing)


def _guesses(libc: Libc) -> tuple[Note, ...]:
    how = {found.what: found.how for found in libc.found}
    if libc.proven:
        return ()
    ways = sorted({how["main_arena"], how["mp_"]})
    return (note("guessed", path=libc.path, ways=ways),)


def _program_break(target: Target, libc: Libc) -> int | None:
    """Return the program break as sbrk(0) of this libc would (misc/sbrk.c), None if unknown.

    ld.so has a __curbrk of its own, and debug symbols don't tell which one gdb means: .dynsym does,
    or where it lies. Without it, the break is where the mapping of the main heap ends.
    """
    image = libc.image
    link_map = link_map_of(target, image, libc.main_arena)
    address = image.exported("__curbrk", link_map.base if link_map else None)
    if address is None:
        address = image.address("__curbrk")
    if address is not None and (not image.mappings or address in image):
        with suppress(MemoryFault):
            return target.space.read_word(address)
    base = libc.parameters["sbrk_base"]
    heaps = (m.end for m in target.space.mappings if m.start <= base < m.end)
    return next(heaps, None)


def read_mmapped(
    space: Space, libc: Libc, arenas: list[Arena]
) -> tuple[tuple[MmappedChunk, ...], bool, list[Problem]]:
    """Return the mmapped chunks, whether they are exactly those that mp_ counts, and which of them
    have a damaged header.
    """
    number, total = libc.parameters["n_mmaps"], libc.parameters["mmapped_mem"]
    mappings = may_hold_mmapped(space, arenas)
    room = sum(mapping.size for mapping in space.mappings)
    if space.mappings and max(total, number * space.page) > room:
        statement = f"mp_ counts {number:,} mmapped chunks of {total:,} bytes: more than is mapped"
        return (), False, [Problem(BAD_MMAPPED, statement, libc.parameters.address)]
    found = find_mmapped(space, libc.layout, mappings, number, total)
    damaged = find_damaged(space, libc.layout, mappings, found, number, total)
    found = tuple(sorted((*found, *(chunk for chunk, _ in damaged))))
    certain = len(found) == number and sum(chunk.mapping for chunk in found) == total
    return found, certain, [problem for _, problem in damaged]


def may_hold_mmapped(space: Space, arenas: list[Arena]) -> list[Mapping]:
    """Return the parts of mappings that mmapped chunks may lie in: anonymous, and in no heap.

    The kernel may show a chunk and a heap beside it as one mapping: newer releases (2.41, not 2.36)
    don't map heaps NORESERVE. Where brk grows there are none.
    """
    page, main = space.page, arenas[0] if arenas else None
    heaps = [heap for arena in arenas for heap in arena.heaps]
    spans = [
        (align_down(heap.address, page), align_up(heap.address + heap.reserved, page))
        for heap in heaps
    ]
    brk = [heap.address for heap in main.heaps] if main and main.contiguous else []
    likely = (
        mapping
        for mapping in space.mappings
        if mapping.anonymous
        and not mapping.name.startswith(("[stack", "[heap"))
        and not any(mapping.start <= base < mapping.end for base in brk)
    )
    return list(outside(likely, spans))
