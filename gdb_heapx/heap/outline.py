"""What a malloc says of itself, before any chunk is walked over."""

from __future__ import annotations

from dataclasses import replace

from ..errors import LOST_IN_SWAP, NOT_REACHED, Problem, UnreadError
from ..glibc.layout import Layout
from ..locate.libcs import Libc
from ..records import dataclass
from ..target.space import Space
from ..target.target import Target
from .arenas import Arena, HeapIndex, read_arenas
from .links import Links
from .places import Places
from .segments import find_runs
from .tcaches import Caches, read_caches


@dataclass(frozen=True)
class Outline:
    """The arenas of one malloc with their heaps, and its tcaches; `cached` has their chunks."""

    arenas: list[Arena]
    index: HeapIndex
    caches: Caches
    links: Links
    cached: Places
    problems: list[Problem]


def read_outline(target: Target, libc: Libc) -> Outline:
    """Read what one libc's malloc says of itself."""
    space = target.space
    space.pace.begin("following lists")
    links, cached = Links(space), Places()
    arenas, problems = read_arenas(space, libc)
    arenas = [_with_runs(space, libc.layout, arena) for arena in arenas]
    index = HeapIndex([heap for arena in arenas for heap in arena.heaps])
    caches = read_caches(target, libc, arenas, index, links, cached)
    found = [*problems, *(each for arena in arenas for each in arena.problems)]
    if any(
        problem.code in (LOST_IN_SWAP, NOT_REACHED) for problem in found
    ):  # what seems to be in no heap may be
        caches.problems = [each for each in caches.problems if each.code != "tcache_stray"]
    return Outline(arenas, index, caches, links, cached, problems)


def _with_runs(space: Space, layout: Layout, arena: Arena) -> Arena:
    """Give a main arena that lives in mmaps its regions."""
    if arena.main and arena.top_size and not arena.heaps:
        lost: list[UnreadError] = []
        heaps = tuple(find_runs(space, layout, arena, lost))
        if lost and sum(heap.size for heap in heaps) < arena.system:
            told = (*arena.problems, lost[0].lost("part of the main arena", arena.index))
            return replace(arena, heaps=heaps, problems=told, complete=False)
        return replace(arena, heaps=heaps)
    return arena
