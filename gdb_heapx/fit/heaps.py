"""Heaps of arenas that aren't the main one: how they grow, and how large new ones are (arena.c)."""

from __future__ import annotations

from ..glibc.layout import PREV_INUSE, SIZE, align_down, align_up
from .free import free_rest
from .replay import Mstate, Replay, Untold

HEAP_MIN_SIZE = 32 << 10


def grow_heap(replay: Replay, arena: Mstate, needed: int) -> bool:
    """Let the heap that top is in have so much more, if it can; return whether that is so.

    What it had before, and gave back, can be written still.
    """
    heap = replay.layout.heap_of(arena.top)
    page, size = replay.heap_page(heap), replay.read_info(heap, "size")
    replay.check(page > 0, "a heap_info", heap)
    more = align_up(needed, page)
    if size + more > replay.layout.heap_max:
        return False
    writable = max(size + more - replay.read_info(heap, "mprotect_size"), 0)
    if writable and not replay.granted(replay.granting.writing(writable)):
        return False
    replay.mapped(0, writable)
    replay.write_info(heap, "size", size + more)
    arena.system += more
    replay.grow(more)
    replay.set_head(arena.top, heap + size + more - arena.top)
    return True


def add_heap(replay: Replay, arena: Mstate, nb: int) -> bool:
    """Give an arena another heap with room for a chunk, if one has; return whether that is so."""
    layout, old = replay.layout, arena.top
    made = new_heap(replay, nb + layout.min_size + layout.heap_info.size)
    if made is None:
        return False
    heap, whole = made
    replay.write_info(heap, "prev", layout.heap_of(old))
    arena.system += whole
    arena.top = heap + layout.heap_info.size
    rest = align_down(replay.size(old) - layout.min_size, layout.alignment)
    replay.set_head(arena.top, whole - layout.heap_info.size)
    replay.write(old + rest + layout.header, SIZE, PREV_INUSE)
    if rest >= layout.min_size:
        replay.set_head(old + rest, layout.header)
        free_rest(replay, arena, old, rest)
    else:
        replay.set_head(old, rest + layout.header)
    return True


def new_heap(replay: Replay, size: int) -> tuple[int, int] | None:
    """Map a heap of at least this size, and return where it is and its size; None if that is more
    than a heap may have, or the kernel refuses it.
    """
    for page in _pages(replay):
        whole = _heap_size(replay, size, page)
        if whole is not None and _reserved(replay, whole):
            heap = replay.memory.map(replay.layout.heap_max, replay.layout.heap_max)
            replay.grow(whole)
            _write_info(replay, heap, whole, page)
            return heap, whole
    return None


def _reserved(replay: Replay, whole: int) -> bool:
    """Tell whether the kernel lets a heap have its place, which is mapped twice as large to be cut
    to its alignment, and so much of it at once (alloc_new_heap).
    """
    most, granting = replay.layout.heap_max, replay.granting
    if not replay.granted(granting.reserving(most)):
        return False
    if granting.reserving(2 * most):
        raise Untold("RLIMIT_AS leaves room for one heap only: whether it is aligned is chance")
    if not replay.granted(granting.less(most, 0).writing(whole)):
        return False
    replay.mapped(most, whole)
    return True


def _write_info(replay: Replay, heap: int, size: int, page: int) -> None:
    replay.write_info(heap, "size", size)
    replay.write_info(heap, "mprotect_size", size)
    if replay.has_pagesize:
        replay.write_info(heap, "pagesize", page)


def _pages(replay: Replay) -> tuple[int, ...]:
    """Return the pages that a heap may be made of, those that are tried first in front."""
    rules = replay.rules
    huge = rules["hp_pagesize"] or (rules.thp_pagesize if rules.release >= (2, 43) else 0)
    if not huge or (rules.release >= (2, 42) and huge > replay.layout.heap_max):
        return (replay.page,)
    if rules["hp_pagesize"]:
        replay.grow(None)  # whether huge pages are left only the kernel knows
    return huge, replay.page


def _heap_size(replay: Replay, size: int, page: int) -> int | None:
    """Return how much of a new heap can be used at once (alloc_new_heap)."""
    huge, pad, most = replay.rules["hp_pagesize"], replay.rules["top_pad"], replay.layout.heap_max
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
