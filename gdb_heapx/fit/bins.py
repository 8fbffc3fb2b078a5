"""Small and large bins: what malloc finds in them, and how it hangs chunks into and off them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..glibc.layout import BK, BK_NEXTSIZE, FD, FD_NEXTSIZE, LAST_BIN
from ..heap.bins import kind_of
from ..heap.states import NAMES
from .replay import Mstate, Replay, Served

Runs = tuple[list[int], list[int]]  # of a large bin: sizes, negative, and the first chunk of each


def sort_in(replay: Replay, arena: Mstate, chunk: int, size: int) -> None:
    """Hang a chunk into its small or large bin (_int_malloc, place chunk in bin)."""
    index = replay.layout.bin_index(size)
    head = replay.layout.bin_at(arena.address, index)
    if replay.is_small(size):
        replay.link(chunk, head, replay.fd(head))
    else:
        _sort_into_large(replay, head, chunk, size)
    arena.binmap[index >> 5] |= 1 << (index & 31)


def _sort_into_large(replay: Replay, head: int, chunk: int, size: int) -> None:
    """Hang a chunk into a large bin: behind larger ones, as the second of its size."""
    sizes, firsts = _runs(replay, head)
    at = bisect_left(sizes, -size)
    if at < len(sizes) and sizes[at] == -size:
        behind = replay.fd(firsts[at])
    else:
        behind = firsts[at] if at < len(firsts) else head
        _new_run(replay, chunk, firsts, at)
        sizes.insert(at, -size)
        firsts.insert(at, chunk)
    before = replay.bk(behind)
    replay.check(replay.fd(before) == behind, "a large bin", behind)
    replay.link(chunk, before, behind)


def _new_run(replay: Replay, chunk: int, firsts: list[int], at: int) -> None:
    """Link a chunk as the first of its size with those of the next size and of the one before."""
    if not firsts:
        replay.write(chunk, FD_NEXTSIZE, chunk)
        replay.write(chunk, BK_NEXTSIZE, chunk)
        return
    smaller, larger = firsts[at % len(firsts)], firsts[at - 1]
    replay.write(chunk, FD_NEXTSIZE, smaller)
    replay.write(chunk, BK_NEXTSIZE, larger)
    replay.write(smaller, BK_NEXTSIZE, chunk)
    replay.write(larger, FD_NEXTSIZE, chunk)


def _runs(replay: Replay, head: int) -> Runs:
    """Return the sizes in a large bin, the largest first; by its skip list, which is read once."""
    if head not in replay.firsts:
        replay.firsts[head] = _read_runs(replay, head)
    return replay.firsts[head]


def _read_runs(replay: Replay, head: int) -> Runs:
    sizes: list[int] = []
    firsts: list[int] = []
    chunk = first = replay.fd(head)
    while first != head:
        size = replay.size(chunk)
        replay.check(not sizes or size < -sizes[-1], "the order of a large bin", chunk)
        sizes.append(-size)
        firsts.append(chunk)
        chunk = replay.word(chunk, FD_NEXTSIZE)
        if chunk == first:
            break
    return sizes, firsts


def unlink(replay: Replay, chunk: int, size: int) -> None:
    """Take a chunk off its list, wherever it is in it (unlink_chunk)."""
    replay.check(replay.memory.word(chunk + size) == size, "the size of a free chunk", chunk)
    behind, before = replay.fd(chunk), replay.bk(chunk)
    sound = replay.bk(behind) == chunk == replay.fd(before)
    replay.check(sound, "the list of a free chunk", chunk)
    replay.write(before, FD, behind)
    replay.write(behind, BK, before)
    if not replay.is_small(size):
        _unlink_size(replay, chunk, behind)


def _unlink_size(replay: Replay, chunk: int, behind: int) -> None:
    """Take a chunk out of its skip list; the next one of its size takes its place."""
    smaller = replay.word(chunk, FD_NEXTSIZE)
    if not smaller:
        return
    larger = replay.word(chunk, BK_NEXTSIZE)
    linked = replay.word(smaller, BK_NEXTSIZE) == chunk == replay.word(larger, FD_NEXTSIZE)
    replay.check(linked, "the skip list of a large bin", chunk)
    replay.firsts.clear()
    if replay.word(behind, FD_NEXTSIZE):
        replay.write(smaller, BK_NEXTSIZE, larger)
        replay.write(larger, FD_NEXTSIZE, smaller)
    elif smaller == chunk:
        replay.write(behind, FD_NEXTSIZE, behind)
        replay.write(behind, BK_NEXTSIZE, behind)
    else:
        replay.write(behind, FD_NEXTSIZE, smaller)
        replay.write(behind, BK_NEXTSIZE, larger)
        replay.write(smaller, BK_NEXTSIZE, behind)
        replay.write(larger, FD_NEXTSIZE, behind)


def best_fit(replay: Replay, arena: Mstate, nb: int) -> Served | None:
    """Take the smallest chunk that is large enough from the large bin of a size, the second of its
    size rather than the first, which is in the skip list; None where none is large enough.
    """
    index = replay.layout.bin_index(nb)
    head = replay.layout.bin_at(arena.address, index)
    first = replay.fd(head)
    if first == head or replay.size(first) < nb:
        return None
    sizes, firsts = _runs(replay, head)
    at = bisect_right(sizes, -nb) - 1
    victim, size = firsts[at], -sizes[at]
    if victim != replay.bk(head) and replay.size(replay.fd(victim)) == size:
        victim = replay.fd(victim)
    return _take(replay, arena, index, victim, size, nb)


def next_bin(replay: Replay, arena: Mstate, nb: int) -> Served | None:
    """Take the last chunk of the first bin behind that of a size that holds any, by the binmap,
    whose bits may be stale; None without.
    """
    for index in range(replay.layout.bin_index(nb) + 1, LAST_BIN + 2):
        if not arena.binmap[index >> 5] >> (index & 31) & 1:
            continue
        head = replay.layout.bin_at(arena.address, index)
        victim = replay.bk(head)
        if victim == head:
            arena.binmap[index >> 5] &= ~(1 << (index & 31))
            continue
        size = replay.size(victim)
        replay.check(size >= nb, "a bin, whose chunk is too small,", victim)
        served = _take(replay, arena, index, victim, size, nb)
        if served.remainder and replay.is_small(nb):
            arena.last_remainder = victim + nb
        return served
    return None


def _take(replay: Replay, arena: Mstate, index: int, victim: int, size: int, nb: int) -> Served:
    unlink(replay, victim, size)
    rest = replay.split(arena, victim, size, nb)
    return Served(NAMES[kind_of(index)], victim, size - rest, rest)


def take_small(replay: Replay, arena: Mstate, nb: int) -> int | None:
    """Take the last chunk off the small bin of a size, None where it is empty."""
    head = replay.layout.bin_at(arena.address, replay.layout.bin_index(nb))
    if replay.bk(head) == head:
        return None
    victim = replay.take_last(head, "a small bin")
    replay.memory.set_lowest(victim + nb + replay.layout.word)
    return victim
