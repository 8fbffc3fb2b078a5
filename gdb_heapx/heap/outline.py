"""What a malloc says of itself, before any chunk is walked over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import Problem
from ..glibc.layout import Layout
from ..locate.libcs import Libc
from ..target.space import Space
from ..target.target import Target
from .arenas import Arena, HeapIndex, read_arenas
from .bins import ArenaBins, read_fast
from .heaps import find_runs
from .links import Links
from .places import Overlay
from .tcaches import Caches, read_caches


@dataclass(frozen=True)
class Outline:
    """The arenas of one malloc with their heaps, its tcaches, and each arena's fastbins.

    `overlay` has the chunks of tcaches and fastbins.
    """

    arenas: list[Arena]
    index: HeapIndex
    caches: Caches
    fast: list[ArenaBins]
    links: Links
    overlay: Overlay
    problems: list[Problem]


def read_outline(target: Target, libc: Libc) -> Outline:
    """Read what one libc's malloc says of itself."""
    space = target.space
    links, overlay = Links(space), Overlay.empty()
    arenas, problems = read_arenas(space, libc)
    arenas = [_with_runs(space, libc.layout, arena) for arena in arenas]
    index = HeapIndex([heap for arena in arenas for heap in arena.heaps])
    caches = read_caches(target, libc, arenas, index, links, overlay.cached)
    fast = [read_fast(space, libc.layout, arena, links, overlay.fast) for arena in arenas]
    return Outline(arenas, index, caches, fast, links, overlay, problems)


def _with_runs(space: Space, layout: Layout, arena: Arena) -> Arena:
    """Give a main arena that lives in mmaps its regions."""
    if arena.main and arena.top_size and not arena.heaps:
        return replace(arena, heaps=tuple(find_runs(space, layout, arena)))
    return arena
