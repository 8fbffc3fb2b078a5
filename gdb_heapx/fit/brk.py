"""The main arena grows: by brk, or where that fails by a mapping (malloc.c, sysmalloc)."""

from __future__ import annotations

from ..glibc.layout import PREV_INUSE, SIZE, align_down, align_up
from .heaps import free_rest
from .state import Mstate, State, Untold

MMAP_AS_MORECORE_SIZE = 1 << 20


def extend(state: State, arena: Mstate, nb: int) -> None:
    """Let the main arena have room at top for a chunk."""
    old = state.size(arena.top)
    size = nb + state.rules["top_pad"] + state.layout.min_size - (old if arena.contiguous else 0)
    size = _rounded(state, size)
    begin = None if state.rules.morecore_fails else _sbrk(state, size)
    if begin is None:
        _by_mapping(state, arena, nb, size, old)
    elif begin == arena.top + old:
        arena.system += size
        state.set_head(arena.top, size + old)
    elif arena.contiguous:
        _behind_others(state, arena, begin, size, old)
    else:
        arena.system += size
        _move_top(state, arena, state.layout.first_chunk(begin), _break(state), old)


def _break(state: State) -> int:
    if state.brk is None:
        raise Untold("where the program break is isn't known")
    return state.brk


def _rounded(state: State, size: int) -> int:
    """Return what sbrk is asked for: whole pages, or up to a whole huge page (2.35)."""
    huge = state.rules.thp_pagesize
    if not huge:
        return align_up(size, state.page)
    return align_up(_break(state) + size, huge) - _break(state)


def _sbrk(state: State, size: int) -> int | None:
    """Move the break by so much, and return where it was; None where something is in the way."""
    begin = _break(state)
    if size >> 8 * state.layout.word - 1:  # it seems to be negative
        return None
    if state.above is not None and begin + size + state.page > state.above:
        return None
    state.brk = begin + size
    state.grow(size)
    return begin


def _behind_others(state: State, arena: Mstate, begin: int, size: int, old: int) -> None:
    """Go on behind what others took by sbrk, or begin: top is where the next chunk may be, and as
    large as it would have been without them.
    """
    end = arena.top + old
    if old and begin < end:
        raise Untold("the program break was moved into the heap: malloc would abort")
    top = state.layout.first_chunk(begin)
    more = top - begin + old
    more += -(begin + size + more) % state.page
    if _sbrk(state, more) is None:
        more = 0
    arena.system += size + more + (begin - end if old else 0)
    _move_top(state, arena, top, begin + size + more, old)


def _by_mapping(state: State, arena: Mstate, nb: int, size: int, old: int) -> None:
    """Give the main arena a mapping instead (sysmalloc_mmap_fallback)."""
    if state.rules["hp_pagesize"]:
        state.grow(None)  # whether huge pages are left only the kernel knows
    size = _fallback(state, arena, nb, size, old)
    begin = state.memory.map(size, state.page)
    arena.contiguous = False
    arena.system += size
    state.grow(size)
    _move_top(state, arena, state.layout.first_chunk(begin), begin + size, old)


def _fallback(state: State, arena: Mstate, nb: int, size: int, old: int) -> int:
    """Return how large that mapping is. From 2.35 to 2.37 page and least size were mixed up."""
    release, page, least = state.rules.release, state.page, MMAP_AS_MORECORE_SIZE
    if release >= (2, 43):
        whole = nb + state.rules["top_pad"] + state.layout.min_size
        return max(align_up(whole, page), least)
    if (2, 35) <= release < (2, 38):
        page, least = least, page
    return max(align_up(size + old, page) if arena.contiguous else size, least)


def _move_top(state: State, arena: Mstate, top: int, end: int, old: int) -> None:
    """Let top be elsewhere: two fenceposts end where it was, and what lies before them is freed."""
    layout, before = state.layout, arena.top
    arena.top = top
    state.set_head(top, end - top)
    if not old:
        return
    rest = align_down(old - 2 * layout.header, layout.alignment)
    state.set_head(before, rest)
    for post in (before + rest, before + rest + layout.header):
        state.write(post, SIZE, layout.header | PREV_INUSE)
    if rest >= layout.min_size:
        free_rest(state, arena, before, rest)
