"""What malloc gets from the system where no free chunk fits (malloc.c, sysmalloc)."""

from __future__ import annotations

from ..glibc.layout import align_up
from .brk import extend
from .heaps import add_heap, grow_heap
from .overlay import FRESH
from .replay import Mstate, Replay, Served


def sysmalloc(replay: Replay, arena: Mstate, nb: int) -> Served | None:
    """Return a chunk of what malloc gets from the system; None where that is trimmed at once, or
    the kernel refuses it.
    """
    rules = replay.rules
    large = nb >= rules["mmap_threshold"] and rules["n_mmaps"] < rules["n_mmaps_max"]
    own = mapped(replay, nb) if large else None
    if own is not None:
        return own
    if arena.main:
        extend(replay, arena, nb)
        return from_top(replay, arena, nb, "extend")
    if grow_heap(replay, arena, replay.layout.min_size + nb - replay.size(arena.top)):
        return from_top(replay, arena, nb, "extend")
    if add_heap(replay, arena, nb):
        return from_top(replay, arena, nb, "new_heap")
    return None if large else mapped(replay, nb)


def from_top(replay: Replay, arena: Mstate, nb: int, source: str) -> Served | None:
    """Split a chunk off top; None where that isn't large enough."""
    if replay.size(arena.top) < nb + replay.layout.min_size:
        return None
    victim, rest = arena.top, replay.size(arena.top) - nb
    arena.top = victim + nb
    replay.set_head(victim, nb)
    replay.set_head(arena.top, rest)
    return Served(source, victim, nb, None if replay.grown is None else rest)


def mapped(replay: Replay, nb: int) -> Served | None:
    """Return a chunk with a mapping of its own; None where that is refused (sysmalloc_mmap)."""
    layout, huge = replay.layout, replay.rules["hp_pagesize"]
    least = _mapping(replay, nb, replay.page)
    size: int | None = least
    if huge and nb >= huge and _mapping(replay, nb, huge) != size:
        size = None  # whether huge pages are left only the kernel knows
    if not replay.granted(replay.granting.mapping(least)):
        return None
    replay.mapped(least, least)
    replay.grow(size)
    left_out = layout.first_chunk(0) + layout.mmap_header
    return Served("mmap", FRESH, None if size is None else size - left_out)


def _mapping(replay: Replay, nb: int, page: int) -> int:
    """Return the bytes of the mapping for a chunk (2.43, 614cfd0f8a: another layout)."""
    layout = replay.layout
    if layout.mmap_header:
        return align_up(nb + layout.alignment, page)
    wide = layout.alignment != layout.header
    return align_up(nb + layout.word + (layout.alignment - 1 if wide else 0), page)
