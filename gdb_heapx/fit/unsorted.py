"""The unsorted bin: malloc goes through it, takes what fits exactly, and sorts the rest in."""

from __future__ import annotations

from collections.abc import Callable

from ..glibc.layout import FLAGS, PREV_INUSE, SIZE, UNSORTED
from .bins import sort_in
from .replay import Mstate, Replay, Served

MAX_ITERS = 10000
LIST = "the unsorted bin"
Stash = Callable[[int], bool]  # puts a chunk into the tcache, if that takes it


def go_through(replay: Replay, arena: Mstate, nb: int, stash: Stash) -> Served | None:
    """Return what malloc takes of the unsorted bin for a chunk of `nb` bytes, None for nothing.

    Exact fits are put into the tcache, as long as that takes them: then the last one is returned.
    """
    head, limit = (
        replay.layout.bin_at(arena.address, UNSORTED),
        replay.rules["tcache_unsorted_limit"],
    )
    stashed, placed = None, 0
    while (victim := replay.bk(head)) != head:
        size = _checked(replay, arena, head, victim)
        if _is_last_remainder(replay, arena, head, victim, size, nb):
            return _split_remainder(replay, arena, head, victim, size, nb)
        replay.take_last(head, LIST)
        if size == nb:
            replay.memory.set_lowest(victim + size + replay.layout.word)
            if not stash(victim):
                return Served("unsorted", victim, nb)
            stashed = victim
            continue
        sort_in(replay, arena, victim, size)
        placed += 1
        if stashed is not None and 0 < limit < placed:
            break
        if placed >= MAX_ITERS:
            break
    return None if stashed is None else Served("unsorted", stashed, nb)


def _checked(replay: Replay, arena: Mstate, head: int, victim: int) -> int:
    """Return the size of the last chunk; Untold where it isn't as malloc wants it."""
    size, behind = replay.size(victim), victim + replay.size(victim)
    replay.check(replay.layout.header < size <= arena.system, LIST, victim)
    word = replay.word(behind, SIZE)
    sound = (
        replay.layout.header <= word <= arena.system
        and not word & PREV_INUSE
        and replay.memory.word(behind) & ~FLAGS == size
        and replay.fd(victim) == head
    )
    replay.check(sound, LIST, victim)
    return size


def _is_last_remainder(
    replay: Replay, arena: Mstate, head: int, victim: int, size: int, nb: int
) -> bool:
    """Tell whether a small request is to be split off a chunk that is alone in the bin."""
    alone = replay.bk(victim) == head and victim == arena.last_remainder
    return alone and replay.is_small(nb) and size > nb + replay.layout.min_size


def _split_remainder(
    replay: Replay, arena: Mstate, head: int, victim: int, size: int, nb: int
) -> Served:
    """Split what the last small request has left, where nothing else is in the bin."""
    replay.take_last(head, LIST)
    rest = replay.split(arena, victim, size, nb)
    arena.last_remainder = victim + nb
    return Served("unsorted", victim, nb, rest)
