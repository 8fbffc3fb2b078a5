"""What sysmalloc frees: the rest of an old top. That may trim what malloc has just got."""

from __future__ import annotations

from ..glibc.layout import FD, PREV_INUSE, SIZE
from ..glibc.systrim import TRIES_TRIMMING
from .bins import sort_in
from .merge import consolidate
from .replay import Mstate, Replay
from .trimming import heap_trim, systrim


def free_rest(replay: Replay, arena: Mstate, chunk: int, size: int) -> None:
    """Free what remains of an old top, which nothing free lies beside (_int_free)."""
    if size <= replay.rules.max_fast:
        _free_fast(replay, arena, chunk, size)
        return
    behind = chunk + size + replay.layout.word
    replay.memory.write(behind, replay.memory.word(behind) & ~PREV_INUSE)
    if replay.rules.release >= (2, 41) and replay.is_small(size):  # e2436d6f5a
        replay.set_head(chunk, size)
        replay.memory.write(chunk + size, size)
        sort_in(replay, arena, chunk, size)
    else:
        replay.first_unsorted(arena, chunk, size)
    if size < TRIES_TRIMMING:
        return
    if arena.have_fastchunks:
        consolidate(replay, arena)
    (systrim if arena.main else heap_trim)(replay, arena)


def _free_fast(replay: Replay, arena: Mstate, chunk: int, size: int) -> None:
    index, field = replay.layout.fast_index(size), chunk + FD * replay.layout.word
    replay.write(chunk, SIZE, size | PREV_INUSE)
    replay.memory.write(field, replay.layout.reveal(arena.fast[index], field))
    arena.fast[index], arena.have_fastchunks = chunk, True
