"""malloc: a thread's tcache, made first where it has none, then its arena."""

from __future__ import annotations

from dataclasses import dataclass

from . import tcache as tcaches
from .arenas import arena_for
from .int_malloc import Thread, int_malloc
from .limits import Limits
from .state import Mstate, Served, State


@dataclass
class Caller:
    """The thread that calls malloc; `attached` is the address of its arena, 0 without one."""

    thread: Thread
    attached: int
    limits: Limits
    arena: Mstate | None = None


def malloc(state: State, caller: Caller, request: int) -> Served:
    """Return what a thread gets for a request (__libc_malloc)."""
    rules, thread, nb = state.rules, caller.thread, state.rules.chunk_size(request)
    lacks = rules.release >= (2, 26) and thread.tcache is None and not rules.tcache_comes_late
    if lacks and (rules.release < (2, 42) or nb < rules["tcache_max_bytes"]):
        _in_arena(state, caller, tcaches.request(state))
        thread.tcache = tcaches.new_tcache(state)
    elif thread.tcache is not None:
        served = tcaches.get(state, thread.tcache, nb)
        if served is not None:
            return served
    return _in_arena(state, caller, request)


def _in_arena(state: State, caller: Caller, request: int) -> Served:
    """Return what a thread's arena gives it; it keeps the arena that it gets."""
    if caller.arena is None:
        caller.arena = arena_for(state, caller.limits, caller.attached, request)
    served = int_malloc(state, caller.arena, caller.thread, request)
    made = caller.arena.index is None and served.source == "top"
    return served._replace(source="new_arena") if made else served
