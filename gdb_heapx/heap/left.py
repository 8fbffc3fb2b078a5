"""The threads that a fork has left in the parent: here they have an arena, and don't run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from ..errors import MemoryFault
from ..locate.libcs import Libc
from ..locate.nptl import kept_blocks, thread_blocks
from ..target.target import Target
from .arenas import Arena, HeapIndex
from .threadvars import find_offsets


class LeftThread(NamedTuple):
    """One of them: where its variables of libc lie, in its stack, and its malloc_state."""

    block: int
    arena: int


def left_threads(
    target: Target, libc: Libc, arenas: Sequence[Arena], index: HeapIndex
) -> tuple[LeftThread, ...]:
    """Return the threads without a LWP that have an arena.

    A thread that ends gives its arena up (arena.c, __malloc_arena_thread_freeres): these haven't.
    """
    offsets = find_offsets(target.space, libc, thread_blocks(target, libc), arenas, index)
    known, found = {arena.address for arena in arenas}, list[LeftThread]()
    for block in kept_blocks(target, libc) if offsets.thread_arena is not None else ():
        with suppress(MemoryFault):
            arena = target.space.read_word(block + (offsets.thread_arena or 0))
            if arena in known:
                found.append(LeftThread(block, arena))
    return tuple(found)
