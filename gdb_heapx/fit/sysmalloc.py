"""What malloc gets from the system where no free chunk fits (malloc.c, sysmalloc)."""

from __future__ import annotations

from ..glibc.layout import align_up
from .brk import extend
from .heaps import add_heap, grow_heap
from .overlay import FRESH
from .state import Mstate, Served, State


def sysmalloc(state: State, arena: Mstate, nb: int) -> Served:
    """Return a chunk of what malloc gets from the system."""
    rules = state.rules
    if nb >= rules["mmap_threshold"] and rules["n_mmaps"] < rules["n_mmaps_max"]:
        return mapped(state, nb)
    if arena.main:
        extend(state, arena, nb)
        return from_top(state, arena, nb, "extend")
    if grow_heap(state, arena, state.layout.min_size + nb - state.size(arena.top)):
        return from_top(state, arena, nb, "extend")
    if add_heap(state, arena, nb):
        return from_top(state, arena, nb, "new_heap")
    return mapped(state, nb)


def from_top(state: State, arena: Mstate, nb: int, source: str) -> Served:
    """Split a chunk off top, which is large enough."""
    victim, rest = arena.top, state.size(arena.top) - nb
    arena.top = victim + nb
    state.set_head(victim, nb)
    state.set_head(arena.top, rest)
    return Served(source, victim, nb, None if state.grown is None else rest)


def mapped(state: State, nb: int) -> Served:
    """Return a chunk with a mapping of its own (sysmalloc_mmap)."""
    layout, huge = state.layout, state.rules["hp_pagesize"]
    size: int | None = _mapping(state, nb, state.page)
    if huge and nb >= huge and _mapping(state, nb, huge) != size:
        size = None  # whether huge pages are left only the kernel knows
    state.grow(size)
    left_out = layout.first_chunk(0) + layout.mmap_header
    return Served("mmap", FRESH, None if size is None else size - left_out)


def _mapping(state: State, nb: int, page: int) -> int:
    """Return the bytes of the mapping for a chunk (2.43, 614cfd0f8a: another layout)."""
    layout = state.layout
    if layout.mmap_header:
        return align_up(nb + layout.alignment, page)
    wide = layout.alignment != layout.header
    return align_up(nb + layout.word + (layout.alignment - 1 if wide else 0), page)
