"""A snapshot as it would be, had less of the target been read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..heap.mmapped import MmappedChunks
from ..heap.states import Search
from ..snapshots.regions import Regions
from ..target.amounts import Amounts

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc, Scope
    from ..snapshots.take import Snapshot


def narrowed(snapshot: Snapshot, scope: Scope) -> Snapshot:
    """Return what of a snapshot a scope asks for; commands tell of all that they are given."""
    mallocs = tuple(_malloc(malloc, scope) for malloc in snapshot.mallocs)
    if scope.search is not Search.NONE:
        return replace(snapshot, mallocs=mallocs)
    none = Regions.of(())
    return replace(
        snapshot, mallocs=mallocs, regions=none, runtimes=(), searched=False, sbrk_callers=()
    )


def _malloc(malloc: Malloc, scope: Scope) -> Malloc:
    arenas = tuple(_arena(arena, scope) for arena in malloc.arenas)
    if scope.search is not Search.NONE:
        return replace(malloc, arenas=arenas)
    none = Amounts.of(None, ())
    return replace(
        malloc,
        arenas=arenas,
        mmapped=MmappedChunks(),
        mmapped_certain=False,
        mmapped_amounts=none,
    )


def _arena(arena: ArenaFigures, scope: Scope) -> ArenaFigures:
    paged = scope.outcomes and scope.pages and scope.search is not Search.NONE
    return replace(
        arena,
        stale=arena.stale if scope.stale else None,
        strips=arena.strips if scope.strips else None,
        census=arena.census if scope.census else None,
        trim=arena.trim if scope.outcomes else None,
        whatif=arena.whatif if scope.outcomes else None,
        pages=arena.pages if paged else None,
    )
