"""Everything heapx knows of a target at one moment, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .arenas import Arena, HeapIndex, read_arenas
from .bins import ArenaBins, read_fast, read_regular
from .caches import Caches, ThreadCache, read_caches
from .errors import Problem
from .figures import ArenaFigures, ArenaReading, Check
from .heaps import find_runs, free_chunks, walk_arena
from .layout import Layout
from .lists import Links, Overlay
from .locate import Found, Libc, find_libcs, find_variable
from .mmapped import MmappedChunk, find_mmapped
from .target import Target


@dataclass(frozen=True)
class TargetFacts:
    """What was looked at; `live` is False for a core."""

    pid: int | None
    exe: str | None
    word: int
    architecture: str
    page: int
    live: bool
    pagemap: bool


@dataclass(frozen=True)
class Malloc:
    """The malloc of one libc.

    `mmapped_certain` is False where the chunks that were found are not those that mp_ counts;
    `mmapped_cached` are those in a tcache. `program_break` is libc's view of brk.
    """

    libc: str
    build_id: str | None
    release: str
    arenas: tuple[ArenaFigures, ...]
    caches: tuple[ThreadCache, ...]
    mmapped: tuple[MmappedChunk, ...]
    mmapped_certain: bool
    mmapped_cached: frozenset[int]
    parameters: dict[str, int]
    program_break: int | None
    found: tuple[Found, ...]
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """All mallocs of a target. `walked` is False where the chunks were not walked over."""

    target: TargetFacts
    mallocs: tuple[Malloc, ...]
    walked: bool

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for malloc in self.mallocs for problem in malloc.problems)

    def arenas(self) -> tuple[ArenaFigures, ...]:
        """Return the arenas of every libc, the program's own first."""
        return tuple(arena for malloc in self.mallocs for arena in malloc.arenas)


def take(target: Target, walk: bool = True) -> Snapshot:
    """Read a stopped target; HeapxError where it has no glibc malloc that can be read."""
    facts = TargetFacts(
        target.pid,
        target.exe,
        target.word,
        target.architecture,
        target.page,
        target.live,
        target.pagemap,
    )
    mallocs = tuple(_read_malloc(target, libc, walk) for libc in find_libcs(target))
    return Snapshot(facts, mallocs, walk)


def _read_malloc(target: Target, libc: Libc, walk: bool) -> Malloc:
    """Read one libc's malloc: the lists first, then the walk, then what both must agree on."""
    layout, links, overlay = libc.layout, Links(target), Overlay()
    arenas, problems = read_arenas(target, libc)
    arenas = [_with_runs(target, layout, arena) for arena in arenas]
    index = HeapIndex([heap for arena in arenas for heap in arena.heaps])
    caches = read_caches(target, libc, index, links, overlay)
    fast = [read_fast(target, layout, arena, links, overlay) for arena in arenas]
    walked = [walk_arena(target, layout, a, overlay) if walk else None for a in arenas]
    regular = [
        read_regular(target, layout, arena, links, free_chunks(arena, part))
        for arena, part in zip(arenas, walked)
    ]
    bins = map(ArenaBins.joined, fast, regular)
    parts = [ArenaReading(*part, caches, layout) for part in zip(arenas, bins, walked)]
    mmapped, certain = _read_mmapped(target, libc, arenas)
    for part in parts:
        problems += part.problems()
    checks = [check for part in parts for check in part.checks()]
    checks += [
        Check(f"tcache counts of thread {c.tcache.lwp}", None, c.tcache.stored, c.tcache.chunks)
        for c in caches.caches
    ]
    return Malloc(
        libc=libc.path,
        build_id=libc.symbols.build_id,
        release="{}.{}".format(*layout.release),
        arenas=tuple(part.figures(libc.path) for part in parts),
        caches=caches.caches,
        mmapped=mmapped,
        mmapped_certain=certain,
        mmapped_cached=frozenset(caches.mmapped),
        parameters={name: libc.parameters[name] for name in libc.parameters.struct.members},
        program_break=_program_break(target, libc),
        found=(*libc.found, Found("tcaches", f"{len(caches.caches)}", caches.how)),
        checks=tuple(checks),
        problems=_mark_motion(
            target, arenas, caches, [*libc.problems, *caches.problems, *problems]
        ),
        notes=() if caches.missing is None else (caches.missing,),
    )


def _with_runs(target: Target, layout: Layout, arena: Arena) -> Arena:
    """Give a main arena that lives in mmaps its regions."""
    if arena.main and arena.top_size and not arena.heaps:
        return replace(arena, heaps=tuple(find_runs(target, layout, arena)))
    return arena


def _program_break(target: Target, libc: Libc) -> int | None:
    address = find_variable(target, libc.symbols, "__curbrk")
    return None if address is None else target.read_word(address)


def _read_mmapped(
    target: Target, libc: Libc, arenas: list[Arena]
) -> tuple[tuple[MmappedChunk, ...], bool]:
    """Return the mmapped chunks, and whether they are exactly those that mp_ counts."""
    number, total = libc.parameters["n_mmaps"], libc.parameters["mmapped_mem"]
    heaps = [(heap.address, heap.address + heap.reserved) for a in arenas for heap in a.heaps]
    mappings = [
        mapping
        for mapping in target.mappings
        if mapping.anonymous
        and not mapping.name.startswith(("[stack", "[heap"))
        and not any(start < mapping.end and mapping.start < end for start, end in heaps)
    ]
    found = find_mmapped(target, libc.layout, mappings, number, total)
    certain = len(found) == number and sum(chunk.mapping for chunk in found) == total
    return found, certain


def _mark_motion(
    target: Target, arenas: list[Arena], caches: Caches, problems: list[Problem]
) -> tuple[Problem, ...]:
    """Mark the problems where a thread was just changing things: they are no damage.

    An arena's mutex tells; but a process with one thread takes none, a tcache has none, and free
    may put chunks on fastbins without one. So threads that stand inside malloc count, too.
    """
    if not problems:
        return ()
    inside = target.inside_malloc()
    indexes = {arena.address: arena.index for arena in arenas}
    moving = {arena.index for arena in arenas if arena.locked}
    for lwp, function in inside.items():
        own = indexes.get(caches.thread_arena.get(lwp, 0))
        moving |= set(indexes.values()) if own is None or "free" in function else {own}
    return tuple(
        problem.moving() if problem.arena in moving or problem.thread in inside else problem
        for problem in problems
    )
