"""_int_malloc: a chunk of an arena, from where malloc looks first."""

from __future__ import annotations

from ..records import dataclass
from . import tcache as tcaches
from .bins import best_fit, next_bin, take_small
from .merge import consolidate, pop_fast, take_fast
from .replay import Mstate, Replay, Served
from .sysmalloc import from_top, sysmalloc
from .tcache import CacheNow
from .unsorted import go_through


@dataclass
class Asking:
    """A thread as malloc sees it: its tcache, None where it has none; from 2.43 it may be that this
    will be made when something is to go into it.
    """

    tcache: CacheNow | None = None
    inactive: bool = False


def int_malloc(replay: Replay, arena: Mstate, thread: Asking, request: int) -> Served | None:
    """Return the chunk that an arena gives a thread for a request; None where it fails
    (_int_malloc).
    """
    nb = replay.rules.chunk_size(request)
    served = take_fast(replay, arena, nb)
    if served is not None:
        _stash_fast(replay, arena, thread, nb)
        return served
    if replay.is_small(nb):
        victim = take_small(replay, arena, nb)
        if victim is not None:
            _stash_small(replay, arena, thread, nb)
            return Served("small", victim, nb)
    elif arena.have_fastchunks:
        consolidate(replay, arena)
    while True:
        served = _from_free(replay, arena, thread, nb)
        if served is not None:
            return served
        if not arena.have_fastchunks:
            return sysmalloc(replay, arena, nb)
        consolidate(replay, arena)


def _from_free(replay: Replay, arena: Mstate, thread: Asking, nb: int) -> Served | None:
    """Return a chunk of the unsorted bin, of other bins, or of top; None where none fits."""
    stash = _Stash(replay, arena, thread, nb)
    served = go_through(replay, arena, nb, stash.takes)
    if served is None and not replay.is_small(nb):
        served = best_fit(replay, arena, nb)
    served = served or next_bin(replay, arena, nb)
    if served is not None:
        return served
    replay.check(replay.size(arena.top) <= arena.system, "top", arena.top)
    return from_top(replay, arena, nb, "top")


@dataclass
class _Stash:
    """Puts exact fits into the thread's tcache, as long as that takes them."""

    replay: Replay
    arena: Mstate
    thread: Asking
    nb: int

    def takes(self, chunk: int) -> bool:
        if not self.replay.rules.stashes_unsorted:
            return False
        tcache = _tcache(self.replay, self.arena, self.thread)
        index = self.replay.rules.tcache_index(self.nb)
        if tcache is None or index >= self.replay.rules.tcache_bins or not tcache.takes(index):
            return False
        tcache.put(index, chunk)
        return True


def _tcache(replay: Replay, arena: Mstate, thread: Asking) -> CacheNow | None:
    """Return a thread's tcache; from 2.43 it is made now, in this arena (tcache_init)."""
    if thread.inactive:
        thread.inactive = False
        if replay.rules["tcache_count"]:
            made = int_malloc(replay, arena, thread, tcaches.request(replay, within=True))
            thread.tcache = tcaches.new_tcache(replay) if made else None
    return thread.tcache


def _stash_fast(replay: Replay, arena: Mstate, thread: Asking, nb: int) -> None:
    """Stash what else is in a fastbin, as far as the tcache takes it."""
    index, tcache = replay.rules.tcache_index(nb), thread.tcache
    if tcache is None or index >= replay.rules.tcache_bins:
        return
    while tcache.takes(index) and (chunk := pop_fast(replay, arena, nb)) is not None:
        tcache.put(index, chunk)


def _stash_small(replay: Replay, arena: Mstate, thread: Asking, nb: int) -> None:
    """Stash what else is in a small bin, as far as the tcache takes it."""
    index = replay.rules.tcache_index(nb)
    if index >= replay.rules.tcache_bins:
        return
    tcache = _tcache(replay, arena, thread)
    while tcache is not None and tcache.takes(index):
        chunk = take_small(replay, arena, nb)
        if chunk is None:
            return
        tcache.put(index, chunk)
