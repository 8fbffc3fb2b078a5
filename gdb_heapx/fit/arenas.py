"""Which arena a thread gets: its own, a free one, a new one, or one of others' (arena.c)."""

from __future__ import annotations

from ..glibc.layout import LAST_BIN
from .heaps import new_heap
from .limits import ArenaLimits
from .replay import Mstate, Replay, Untold


def arena_for(replay: Replay, limits: ArenaLimits, attached: int, request: int) -> Mstate | None:
    """Return the arena of a thread: the one that it is `attached` to, by address, else what
    arena_get2 gives it, for a request of so many bytes; None where the kernel refuses a new one.
    """
    return _at(replay, attached) if attached else _any_arena(replay, limits, request)


def other_arena(replay: Replay, limits: ArenaLimits, failed: Mstate, request: int) -> Mstate | None:
    """Return the arena that is tried where one has failed (arena_get_retry): the main one, or from
    there what a thread without an arena would get.
    """
    main = next(arena for arena in replay.arenas.values() if arena.main)
    return _any_arena(replay, limits, request) if failed.main else main


def _any_arena(replay: Replay, limits: ArenaLimits, request: int) -> Mstate | None:
    """Return what a thread gets that has no arena (arena_get2)."""
    if limits.free_list is None:
        raise Untold("which arenas are free isn't known, and so not which one the thread would get")
    if limits.free_list:
        return _at(replay, limits.free_list)
    if limits.may_add:
        return _new_arena(replay, request)
    if limits.next_to_use is None:
        raise Untold("there may be no more arenas, and which one is next isn't known")
    return _at(replay, limits.next_to_use)


def _at(replay: Replay, address: int) -> Mstate:
    arena = replay.arenas.get(address)
    if arena is None:
        raise Untold(f"the thread's arena at {address:#x} isn't one that was found")
    return arena


def _new_arena(replay: Replay, request: int) -> Mstate | None:
    """Make an arena with room for a request, or a small one where no heap has that; None where the
    kernel refuses it (_int_new_arena).
    """
    layout = replay.layout
    own = layout.heap_info.size + layout.state.size + layout.alignment
    made = new_heap(replay, request + own) or new_heap(replay, own)
    if made is None and replay.refusal is not None:
        return None
    if made is None:
        raise Untold("top_pad leaves no room for a new arena")
    heap, size = made
    address = heap + layout.heap_info.size
    top = layout.first_chunk(address + layout.state.size)
    fast = [0] * (layout.state["fastbinsY"].size // layout.word) if layout.has_fastbins else []
    arena = Mstate(address, False, None, top, 0, size, False, False, fast, [0] * 4)
    empty_bins(replay, arena)
    replay.set_head(top, heap + size - top)
    replay.arenas[address] = arena
    return arena


def empty_bins(replay: Replay, arena: Mstate) -> None:
    """Let an arena have empty bins, as malloc_init_state does."""
    for index in range(1, LAST_BIN + 2):
        head = replay.layout.bin_at(arena.address, index)
        replay.link(head, head, head)
