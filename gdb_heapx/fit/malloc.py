"""malloc: a thread's tcache, made first where it has none, then its arena."""

from __future__ import annotations

from ..records import dataclass
from . import tcache as tcaches
from .arenas import arena_for, other_arena
from .int_malloc import Asking, int_malloc
from .limits import ArenaLimits
from .replay import Mstate, Replay, Served
from .sysmalloc import mapped

MADE = ("top", "extend", "new_heap")  # where a chunk comes from in an arena that was just made


@dataclass
class Caller:
    """The thread that calls malloc; `attached` is the address of its arena, 0 without one, and
    `own` that arena, or the one that it has got. `arena` is the one that malloc has looked in last.
    """

    thread: Asking
    attached: int
    limits: ArenaLimits
    own: Mstate | None = None
    arena: Mstate | None = None


def malloc(replay: Replay, caller: Caller, request: int) -> Served | None:
    """Return what a thread gets for a request; None where malloc fails (__libc_malloc)."""
    rules, thread, nb = replay.rules, caller.thread, replay.rules.chunk_size(request)
    lacks = rules.release >= (2, 26) and thread.tcache is None and not rules.tcache_comes_late
    if lacks and (rules.release < (2, 42) or nb < rules["tcache_max_bytes"]):
        made = _in_arena(replay, caller, tcaches.request(replay))
        thread.tcache = tcaches.new_tcache(replay) if made else None
    elif thread.tcache is not None:
        served = tcaches.get(replay, thread.tcache, nb)
        if served is not None:
            return served
    return _in_arena(replay, caller, request)


def _in_arena(replay: Replay, caller: Caller, request: int) -> Served | None:
    """Return what a thread's arena gives it, else another one; without any it gets a mapping. A new
    arena it keeps, the main one is only tried.
    """
    if caller.own is None:
        caller.own = arena_for(replay, caller.limits, caller.attached, request)
    caller.arena = caller.own
    served = _from(replay, caller, request)
    if served is None and caller.own is not None and not caller.limits.single_threaded:
        caller.arena = other_arena(replay, caller.limits, caller.own, request)
        if caller.own.main:
            caller.own = caller.arena
        served = _from(replay, caller, request)
    new = caller.arena is not None and caller.arena.index is None
    if served is not None and new and served.source in MADE:
        return served._replace(source="new_arena")
    return served


def _from(replay: Replay, caller: Caller, request: int) -> Served | None:
    if caller.arena is None:
        return mapped(replay, replay.rules.chunk_size(request))
    return int_malloc(replay, caller.arena, caller.thread, request)
