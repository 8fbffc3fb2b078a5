"""What a free takes off the end of an arena (malloc.c, systrim; arena.c, heap_trim)."""

from __future__ import annotations

from ..glibc.layout import PREV_INUSE, SIZE
from ..glibc.systrim import taken_off
from .bins import unlink
from .replay import Mstate, Replay


def systrim(replay: Replay, arena: Mstate) -> None:
    """Let the program break fall, where the main arena's top ends there, and is large enough."""
    top = replay.size(arena.top)
    extra = _extra(replay, top, replay.page, replay.rules.thp_pagesize)
    if not extra or replay.rules.morecore_fails or replay.brk != arena.top + top:
        return
    replay.mapped(-extra, -extra)
    replay.brk -= extra
    arena.system -= extra
    replay.grow(-extra)
    replay.set_head(arena.top, top - extra)


def heap_trim(replay: Replay, arena: Mstate) -> None:
    """Drop an arena's newest heaps that are free, where the one before has room, and shrink the one
    that is the newest then.
    """
    while _drops_heap(replay, arena):
        pass
    heap, top = replay.layout.heap_of(arena.top), replay.size(arena.top)
    extra = _extra(replay, top, replay.heap_page(heap))
    if extra:
        replay.write_info(heap, "size", replay.read_info(heap, "size") - extra)
        arena.system -= extra
        replay.grow(-extra)
        replay.set_head(arena.top, top - extra)


def _extra(replay: Replay, top: int, page: int, thp_pagesize: int = 0) -> int:
    """Return how much of a top goes."""
    if top < replay.rules["trim_threshold"]:
        return 0
    return taken_off(replay.layout, page, top, replay.rules["top_pad"], thp_pagesize)


def _drops_heap(replay: Replay, arena: Mstate) -> bool:
    """Drop the newest heap, where it is free, and the one before has room; return whether it is
    so.
    """
    layout, heap = replay.layout, replay.layout.heap_of(arena.top)
    before = replay.read_info(heap, "prev")
    if arena.top != heap + layout.heap_info.size or not before:
        return False
    size, post = replay.read_info(before, "size"), layout.min_size - layout.header
    misaligned = (before + size - post) % layout.alignment
    fence = before + size - post - misaligned
    replay.check(replay.word(fence, SIZE) == PREV_INUSE, "the end of a heap", fence)
    chunk = fence - replay.memory.word(fence)
    whole = replay.size(chunk) + post + misaligned
    free = 0 if replay.word(chunk, SIZE) & PREV_INUSE else replay.memory.word(chunk)
    needed = replay.rules["top_pad"] + layout.min_size + replay.heap_page(heap)
    if whole + free + layout.heap_max - size < needed:
        return False
    gone = replay.read_info(heap, "size")
    replay.mapped(-layout.heap_max, -replay.read_info(heap, "mprotect_size"))
    arena.system -= gone
    replay.grow(-gone)
    if free:
        unlink(replay, chunk - free, free)
    arena.top = chunk - free
    replay.set_head(arena.top, whole + free)
    return True
