"""Heaps of arenas that aren't the main one: how they grow, and how large new ones are (arena.c)."""

from __future__ import annotations

from ..glibc.layout import FD, PREV_INUSE, SIZE, align_down, align_up
from .bins import sort_in
from .state import Mstate, State

HEAP_MIN_SIZE = 32 << 10


def grow_heap(state: State, arena: Mstate, needed: int) -> bool:
    """Let the heap that top is in have so much more, if it can; return whether that is so."""
    info, heap = state.layout.heap_info, state.layout.heap_of(arena.top)
    page = state.memory.word(heap + info["pagesize"].offset) if "pagesize" in info else state.page
    state.check(page > 0, "a heap_info", heap)
    size, more = state.memory.word(heap + info["size"].offset), align_up(needed, page)
    if size + more > state.layout.heap_max:
        return False
    state.memory.write(heap + info["size"].offset, size + more)
    arena.system += more
    state.grow(more)
    state.set_head(arena.top, heap + size + more - arena.top)
    return True


def add_heap(state: State, arena: Mstate, nb: int) -> bool:
    """Give an arena another heap with room for a chunk, if one has; return whether that is so."""
    layout, old = state.layout, arena.top
    made = new_heap(state, nb + layout.min_size + layout.heap_info.size)
    if made is None:
        return False
    heap, whole = made
    arena.system += whole
    arena.top = heap + layout.heap_info.size
    rest = align_down(state.size(old) - layout.min_size, layout.alignment)
    state.set_head(arena.top, whole - layout.heap_info.size)
    state.write(old + rest + layout.header, SIZE, PREV_INUSE)
    if rest >= layout.min_size:
        state.set_head(old + rest, layout.header)
        free_rest(state, arena, old, rest)
    else:
        state.set_head(old, rest + layout.header)
    return True


def new_heap(state: State, size: int) -> tuple[int, int] | None:
    """Map a heap of at least this size, and return where it is and its size; None if that is more
    than a heap may have.
    """
    for page in _pages(state):
        whole = _heap_size(state, size, page)
        if whole is not None:
            heap = state.memory.map(state.layout.heap_max, state.layout.heap_max)
            state.grow(whole)
            _write_info(state, heap, whole, page)
            return heap, whole
    return None


def _write_info(state: State, heap: int, size: int, page: int) -> None:
    info = state.layout.heap_info
    for name, value in (("size", size), ("mprotect_size", size), ("pagesize", page)):
        if name in info:
            state.memory.write(heap + info[name].offset, value)


def _pages(state: State) -> tuple[int, ...]:
    """Return the pages that a heap may be made of, those that are tried first in front."""
    rules = state.rules
    huge = rules["hp_pagesize"] or (rules.thp_pagesize if rules.release >= (2, 43) else 0)
    if not huge or (rules.release >= (2, 42) and huge > state.layout.heap_max):
        return (state.page,)
    if rules["hp_pagesize"]:
        state.grow(None)  # whether huge pages are left only the kernel knows
    return huge, state.page


def _heap_size(state: State, size: int, page: int) -> int | None:
    """Return how much of a new heap can be used at once (alloc_new_heap)."""
    huge, pad, most = state.rules["hp_pagesize"], state.rules["top_pad"], state.layout.heap_max
    least = HEAP_MIN_SIZE if not huge or huge > most else huge
    if size + pad < least:
        size = least
    elif size + pad <= most:
        size += pad
    elif size > most:
        return None
    else:
        size = most
    return align_up(size, page)


def free_rest(state: State, arena: Mstate, chunk: int, size: int) -> None:
    """Free what remains of an old top, which nothing free lies beside (_int_free)."""
    layout = state.layout
    if size <= state.rules.max_fast:
        index, field = layout.fast_index(size), chunk + FD * layout.word
        state.set_head(chunk, size)
        state.memory.write(field, layout.reveal(arena.fast[index], field))
        arena.fast[index], arena.have_fastchunks = chunk, True
        return
    behind = chunk + size + layout.word
    state.memory.write(behind, state.memory.word(behind) & ~PREV_INUSE)
    if state.rules.release >= (2, 41) and state.is_small(size):  # e2436d6f5a
        state.set_head(chunk, size)
        state.memory.write(chunk + size, size)
        sort_in(state, arena, chunk, size)
    else:
        state.first_unsorted(arena, chunk, size)
