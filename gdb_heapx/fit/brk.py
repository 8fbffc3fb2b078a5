"""The main arena grows: by brk, or where that fails by a mapping (malloc.c, sysmalloc)."""

from __future__ import annotations

from ..glibc.layout import PREV_INUSE, SIZE, align_down, align_up
from .free import free_rest
from .replay import Mstate, Replay, Untold

MMAP_AS_MORECORE_SIZE = 1 << 20


def extend(replay: Replay, arena: Mstate, nb: int) -> None:
    """Let the main arena have room at top for a chunk, unless the kernel refuses that."""
    old = replay.size(arena.top)
    size = nb + replay.rules["top_pad"] + replay.layout.min_size - (old if arena.contiguous else 0)
    size = _rounded(replay, size)
    begin = None if replay.rules.morecore_fails else _sbrk(replay, size)
    if begin is None:
        _by_mapping(replay, arena, nb, size, old)
    elif begin == arena.top + old:
        arena.system += size
        replay.set_head(arena.top, size + old)
    elif arena.contiguous:
        _behind_others(replay, arena, begin, size, old)
    else:
        arena.system += size
        _move_top(replay, arena, replay.layout.first_chunk(begin), _break(replay), old)


def _break(replay: Replay) -> int:
    if replay.brk is None:
        raise Untold("where the program break is isn't known")
    return replay.brk


def _rounded(replay: Replay, size: int) -> int:
    """Return what sbrk is asked for: whole pages, or up to a whole huge page (2.35)."""
    huge = replay.rules.thp_pagesize
    if not huge:
        return align_up(size, replay.page)
    return align_up(_break(replay) + size, huge) - _break(replay)


def _sbrk(replay: Replay, size: int) -> int | None:
    """Move the break by so much, and return where it was; None where something is in the way, or
    the kernel refuses it.
    """
    begin = _break(replay)
    if size >> 8 * replay.layout.word - 1:  # it seems to be negative
        return None
    if replay.above is not None and begin + size + replay.page > replay.above:
        return None
    end, page = begin + size, replay.page
    pages = align_up(end, page) - align_up(begin, page)
    if not replay.granted(replay.granting.breaking(begin, end, pages)):
        return None
    replay.mapped(pages, pages)
    replay.brk = end
    replay.grow(size)
    return begin


def _behind_others(replay: Replay, arena: Mstate, begin: int, size: int, old: int) -> None:
    """Go on behind what others took by sbrk, or begin: top is where the next chunk may be, and as
    large as it would have been without them.
    """
    end = arena.top + old
    if old and begin < end:
        raise Untold("the program break was moved into the heap: malloc would abort")
    top = replay.layout.first_chunk(begin)
    more = top - begin + old
    more += -(begin + size + more) % replay.page
    if _sbrk(replay, more) is None:
        more = 0
    arena.system += size + more + (begin - end if old else 0)
    _move_top(replay, arena, top, begin + size + more, old)


def _by_mapping(replay: Replay, arena: Mstate, nb: int, size: int, old: int) -> None:
    """Give the main arena a mapping instead (sysmalloc_mmap_fallback)."""
    if replay.rules["hp_pagesize"]:
        replay.grow(None)  # whether huge pages are left only the kernel knows
    size = _fallback(replay, arena, nb, size, old)
    if not replay.granted(replay.granting.mapping(size)):
        return
    replay.mapped(size, size)
    begin = replay.memory.map(size, replay.page)
    arena.contiguous = False
    arena.system += size
    replay.grow(size)
    _move_top(replay, arena, replay.layout.first_chunk(begin), begin + size, old)


def _fallback(replay: Replay, arena: Mstate, nb: int, size: int, old: int) -> int:
    """Return how large that mapping is. From 2.35 to 2.37 page and least size were mixed up."""
    release, page, least = replay.rules.release, replay.page, MMAP_AS_MORECORE_SIZE
    if release >= (2, 43):
        whole = nb + replay.rules["top_pad"] + replay.layout.min_size
        return max(align_up(whole, page), least)
    if (2, 35) <= release < (2, 38):
        page, least = least, page
    return max(align_up(size + old, page) if arena.contiguous else size, least)


def _move_top(replay: Replay, arena: Mstate, top: int, end: int, old: int) -> None:
    """Let top be elsewhere: two fenceposts end where it was, and what lies before them is freed."""
    layout, before = replay.layout, arena.top
    arena.top = top
    replay.set_head(top, end - top)
    if not old:
        return
    rest = align_down(old - 2 * layout.header, layout.alignment)
    replay.set_head(before, rest)
    for post in (before + rest, before + rest + layout.header):
        replay.write(post, SIZE, layout.header | PREV_INUSE)
    if rest >= layout.min_size:
        free_rest(replay, arena, before, rest)
