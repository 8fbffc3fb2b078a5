"""_int_malloc: a chunk of an arena, from where malloc looks first."""

from __future__ import annotations

from dataclasses import dataclass

from . import tcache as tcaches
from .bins import best_fit, next_bin, take_small
from .merge import consolidate, pop_fast, take_fast
from .state import Mstate, Served, State
from .sysmalloc import from_top, sysmalloc
from .tcache import Tcache
from .unsorted import go_through


@dataclass
class Thread:
    """A thread as malloc sees it: its tcache, None where it has none; from 2.43 it may be that this
    will be made when something is to go into it.
    """

    tcache: Tcache | None = None
    inactive: bool = False


def int_malloc(state: State, arena: Mstate, thread: Thread, request: int) -> Served:
    """Return the chunk that an arena gives a thread for a request (_int_malloc)."""
    nb = state.rules.chunk_size(request)
    served = take_fast(state, arena, nb)
    if served is not None:
        _stash_fast(state, arena, thread, nb)
        return served
    if state.is_small(nb):
        victim = take_small(state, arena, nb)
        if victim is not None:
            _stash_small(state, arena, thread, nb)
            return Served("small", victim, nb)
    elif arena.have_fastchunks:
        consolidate(state, arena)
    while True:
        served = _from_free(state, arena, thread, nb)
        if served is not None:
            return served
        if not arena.have_fastchunks:
            return sysmalloc(state, arena, nb)
        consolidate(state, arena)


def _from_free(state: State, arena: Mstate, thread: Thread, nb: int) -> Served | None:
    """Return a chunk of the unsorted bin, of other bins, or of top; None where none fits."""
    stash = _Stash(state, arena, thread, nb)
    served = go_through(state, arena, nb, stash.takes)
    if served is None and not state.is_small(nb):
        served = best_fit(state, arena, nb)
    served = served or next_bin(state, arena, nb)
    if served is not None:
        return served
    size = state.size(arena.top)
    state.check(size <= arena.system, "top", arena.top)
    if size < nb + state.layout.min_size:
        return None
    return from_top(state, arena, nb, "top")


@dataclass
class _Stash:
    """Puts exact fits into the thread's tcache, as long as that takes them."""

    state: State
    arena: Mstate
    thread: Thread
    nb: int

    def takes(self, chunk: int) -> bool:
        if not self.state.rules.stashes_unsorted:
            return False
        tcache = _tcache(self.state, self.arena, self.thread)
        index = self.state.rules.tcache_index(self.nb)
        if tcache is None or index >= self.state.rules.tcache_bins or not tcache.takes(index):
            return False
        tcache.put(index, chunk)
        return True


def _tcache(state: State, arena: Mstate, thread: Thread) -> Tcache | None:
    """Return a thread's tcache; from 2.43 it is made now, in this arena (tcache_init)."""
    if thread.inactive:
        thread.inactive = False
        if state.rules["tcache_count"]:
            int_malloc(state, arena, thread, tcaches.request(state, within=True))
            thread.tcache = tcaches.new_tcache(state)
    return thread.tcache


def _stash_fast(state: State, arena: Mstate, thread: Thread, nb: int) -> None:
    """Stash what else is in a fastbin, as far as the tcache takes it."""
    index, tcache = state.rules.tcache_index(nb), thread.tcache
    if tcache is None or index >= state.rules.tcache_bins:
        return
    while tcache.takes(index) and (chunk := pop_fast(state, arena, nb)) is not None:
        tcache.put(index, chunk)


def _stash_small(state: State, arena: Mstate, thread: Thread, nb: int) -> None:
    """Stash what else is in a small bin, as far as the tcache takes it."""
    index = state.rules.tcache_index(nb)
    if index >= state.rules.tcache_bins:
        return
    tcache = _tcache(state, arena, thread)
    while tcache is not None and tcache.takes(index):
        chunk = take_small(state, arena, nb)
        if chunk is None:
            return
        tcache.put(index, chunk)
