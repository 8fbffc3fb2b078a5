"""What free() and malloc_trim would return, if chunks that aren't free were free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ..target.amounts import Amount
from .states import State


class PinKind(Enum):
    """How a pin keeps free memory.

    TOP: the last chunks below a top. HEAP: all chunks of a heap of a non-main arena.
    """

    TOP = "top"
    HEAP = "heap"


@dataclass(frozen=True)
class Pin:
    """Adjacent chunks that aren't binned (HEAP: all of a heap), no more bytes than they keep free.

    `address` is the first chunk's, `size` the bytes of all `chunks`. `state` is IN_USE if one of
    them is, else TCACHE, FAST, or OVERHEAD for a thread's tcache itself; `threads` are those whose
    tcaches hold some. `held` is what free() would return of whole pages if they were gone, with
    themselves: down to the next chunk that isn't binned. For HEAP it is that with all that lies
    behind it in the arena gone before, and without what those hold.
    """

    kind: PinKind
    address: int
    size: int
    chunks: int
    state: State
    threads: tuple[int, ...]
    arena: int
    heap: int
    held: Amount


@dataclass(frozen=True)
class Group:
    """The last chunks in use of an arena, all of one size: up to one of another size.

    `held` is what free() would return if they were gone, and what tcaches and fastbins hold there.
    """

    arena: int
    size: int
    chunks: int
    held: Amount


class Returned(NamedTuple):
    """What the kernel gets back in whole pages: from the free() that merges, if that makes 64 KiB;
    and, apart from that, from a malloc_trim(0) that then follows.
    """

    by_free: Amount
    by_trim: Amount


@dataclass(frozen=True)
class WhatIf:
    """What would be returned of one arena: as it is `now`, by the next free of 64 KiB; if its
    `fast` chunks merged; if all `tcaches` gave back their chunks, too; and by thread (its lwp),
    if that one ended, `by_free` only. `pins` are what keeps the rest, from its end.
    """

    now: Returned
    fast: Returned
    tcaches: Returned
    threads: Mapping[int, Amount]
    pins: tuple[Pin, ...]
    group: Group | None
