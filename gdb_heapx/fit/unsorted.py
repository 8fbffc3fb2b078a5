"""The unsorted bin: malloc goes through it, takes what fits exactly, and sorts the rest in."""

from __future__ import annotations

from collections.abc import Callable

from ..glibc.layout import FLAGS, PREV_INUSE, SIZE, UNSORTED
from .bins import sort_in
from .state import Mstate, Served, State

MAX_ITERS = 10000
LIST = "the unsorted bin"
Stash = Callable[[int], bool]  # puts a chunk into the tcache, if that takes it


def go_through(state: State, arena: Mstate, nb: int, stash: Stash) -> Served | None:
    """Return what malloc takes of the unsorted bin for a chunk of `nb` bytes, None for nothing.

    Exact fits are put into the tcache, as long as that takes them: then the last one is returned.
    """
    head, limit = state.layout.bin_at(arena.address, UNSORTED), state.rules["tcache_unsorted_limit"]
    stashed, placed = None, 0
    while (victim := state.bk(head)) != head:
        size = _checked(state, arena, head, victim)
        if _is_last_remainder(state, arena, head, victim, size, nb):
            return _split_remainder(state, arena, head, victim, size, nb)
        state.take_last(head, LIST)
        if size == nb:
            state.memory.set_lowest(victim + size + state.layout.word)
            if not stash(victim):
                return Served("unsorted", victim, nb)
            stashed = victim
            continue
        sort_in(state, arena, victim, size)
        placed += 1
        if stashed is not None and 0 < limit < placed:
            break
        if placed >= MAX_ITERS:
            break
    return None if stashed is None else Served("unsorted", stashed, nb)


def _checked(state: State, arena: Mstate, head: int, victim: int) -> int:
    """Return the size of the last chunk; Untold where it isn't as malloc wants it."""
    size, behind = state.size(victim), victim + state.size(victim)
    state.check(state.layout.header < size <= arena.system, LIST, victim)
    word = state.word(behind, SIZE)
    sound = (
        state.layout.header <= word <= arena.system
        and not word & PREV_INUSE
        and state.memory.word(behind) & ~FLAGS == size
        and state.fd(victim) == head
    )
    state.check(sound, LIST, victim)
    return size


def _is_last_remainder(
    state: State, arena: Mstate, head: int, victim: int, size: int, nb: int
) -> bool:
    """Tell whether a small request is to be split off a chunk that is alone in the bin."""
    alone = state.bk(victim) == head and victim == arena.last_remainder
    return alone and state.is_small(nb) and size > nb + state.layout.min_size


def _split_remainder(
    state: State, arena: Mstate, head: int, victim: int, size: int, nb: int
) -> Served:
    """Split what the last small request has left, where nothing else is in the bin."""
    state.take_last(head, LIST)
    rest = state.split(arena, victim, size, nb)
    arena.last_remainder = victim + nb
    return Served("unsorted", victim, nb, rest)
