"""Small and large bins: what malloc finds in them, and how it hangs chunks into and off them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..glibc.layout import BK, BK_NEXTSIZE, FD, FD_NEXTSIZE, LAST_BIN
from ..heap.bins import kind_of
from ..heap.states import NAMES
from .state import Mstate, Served, State

Runs = tuple[list[int], list[int]]  # of a large bin: sizes, negative, and the first chunk of each


def sort_in(state: State, arena: Mstate, chunk: int, size: int) -> None:
    """Hang a chunk into its small or large bin (_int_malloc, place chunk in bin)."""
    index = state.layout.bin_index(size)
    head = state.layout.bin_at(arena.address, index)
    if state.is_small(size):
        state.link(chunk, head, state.fd(head))
    else:
        _sort_into_large(state, head, chunk, size)
    arena.binmap[index >> 5] |= 1 << (index & 31)


def _sort_into_large(state: State, head: int, chunk: int, size: int) -> None:
    """Hang a chunk into a large bin: behind larger ones, as the second of its size."""
    sizes, firsts = _runs(state, head)
    at = bisect_left(sizes, -size)
    if at < len(sizes) and sizes[at] == -size:
        behind = state.fd(firsts[at])
    else:
        behind = firsts[at] if at < len(firsts) else head
        _new_run(state, chunk, firsts, at)
        sizes.insert(at, -size)
        firsts.insert(at, chunk)
    before = state.bk(behind)
    state.check(state.fd(before) == behind, "a large bin", behind)
    state.link(chunk, before, behind)


def _new_run(state: State, chunk: int, firsts: list[int], at: int) -> None:
    """Link a chunk as the first of its size with those of the next size and of the one before."""
    if not firsts:
        state.write(chunk, FD_NEXTSIZE, chunk)
        state.write(chunk, BK_NEXTSIZE, chunk)
        return
    smaller, larger = firsts[at % len(firsts)], firsts[at - 1]
    state.write(chunk, FD_NEXTSIZE, smaller)
    state.write(chunk, BK_NEXTSIZE, larger)
    state.write(smaller, BK_NEXTSIZE, chunk)
    state.write(larger, FD_NEXTSIZE, chunk)


def _runs(state: State, head: int) -> Runs:
    """Return the sizes in a large bin, the largest first; by its skip list, which is read once."""
    if head not in state.firsts:
        state.firsts[head] = _read_runs(state, head)
    return state.firsts[head]


def _read_runs(state: State, head: int) -> Runs:
    sizes: list[int] = []
    firsts: list[int] = []
    chunk = first = state.fd(head)
    while first != head:
        size = state.size(chunk)
        state.check(not sizes or size < -sizes[-1], "the order of a large bin", chunk)
        sizes.append(-size)
        firsts.append(chunk)
        chunk = state.word(chunk, FD_NEXTSIZE)
        if chunk == first:
            break
    return sizes, firsts


def unlink(state: State, chunk: int, size: int) -> None:
    """Take a chunk off its list, wherever it is in it (unlink_chunk)."""
    state.check(state.memory.word(chunk + size) == size, "the size of a free chunk", chunk)
    behind, before = state.fd(chunk), state.bk(chunk)
    sound = state.bk(behind) == chunk == state.fd(before)
    state.check(sound, "the list of a free chunk", chunk)
    state.write(before, FD, behind)
    state.write(behind, BK, before)
    if not state.is_small(size):
        _unlink_size(state, chunk, behind)


def _unlink_size(state: State, chunk: int, behind: int) -> None:
    """Take a chunk out of its skip list; the next one of its size takes its place."""
    smaller = state.word(chunk, FD_NEXTSIZE)
    if not smaller:
        return
    larger = state.word(chunk, BK_NEXTSIZE)
    linked = state.word(smaller, BK_NEXTSIZE) == chunk == state.word(larger, FD_NEXTSIZE)
    state.check(linked, "the skip list of a large bin", chunk)
    state.firsts.clear()
    if state.word(behind, FD_NEXTSIZE):
        state.write(smaller, BK_NEXTSIZE, larger)
        state.write(larger, FD_NEXTSIZE, smaller)
    elif smaller == chunk:
        state.write(behind, FD_NEXTSIZE, behind)
        state.write(behind, BK_NEXTSIZE, behind)
    else:
        state.write(behind, FD_NEXTSIZE, smaller)
        state.write(behind, BK_NEXTSIZE, larger)
        state.write(smaller, BK_NEXTSIZE, behind)
        state.write(larger, FD_NEXTSIZE, behind)


def best_fit(state: State, arena: Mstate, nb: int) -> Served | None:
    """Take the smallest chunk that is large enough from the large bin of a size, the second of its
    size rather than the first, which is in the skip list; None where none is large enough.
    """
    index = state.layout.bin_index(nb)
    head = state.layout.bin_at(arena.address, index)
    first = state.fd(head)
    if first == head or state.size(first) < nb:
        return None
    sizes, firsts = _runs(state, head)
    at = bisect_right(sizes, -nb) - 1
    victim, size = firsts[at], -sizes[at]
    if victim != state.bk(head) and state.size(state.fd(victim)) == size:
        victim = state.fd(victim)
    return _take(state, arena, index, victim, size, nb)


def next_bin(state: State, arena: Mstate, nb: int) -> Served | None:
    """Take the last chunk of the first bin behind that of a size that holds any, by the binmap,
    whose bits may be stale; None without.
    """
    for index in range(state.layout.bin_index(nb) + 1, LAST_BIN + 2):
        if not arena.binmap[index >> 5] >> (index & 31) & 1:
            continue
        head = state.layout.bin_at(arena.address, index)
        victim = state.bk(head)
        if victim == head:
            arena.binmap[index >> 5] &= ~(1 << (index & 31))
            continue
        size = state.size(victim)
        state.check(size >= nb, "a bin, whose chunk is too small,", victim)
        served = _take(state, arena, index, victim, size, nb)
        if served.remainder and state.is_small(nb):
            arena.last_remainder = victim + nb
        return served
    return None


def _take(state: State, arena: Mstate, index: int, victim: int, size: int, nb: int) -> Served:
    unlink(state, victim, size)
    rest = state.split(arena, victim, size, nb)
    return Served(NAMES[kind_of(index)], victim, size - rest, rest)


def take_small(state: State, arena: Mstate, nb: int) -> int | None:
    """Take the last chunk off the small bin of a size, None where it is empty."""
    head = state.layout.bin_at(arena.address, state.layout.bin_index(nb))
    if state.bk(head) == head:
        return None
    victim = state.take_last(head, "a small bin")
    state.memory.set_lowest(victim + nb + state.layout.word)
    return victim
