"""The last chunks of an arena, which keep free memory from being returned by free()."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ..target.amounts import Amount
from .endings import Endings
from .heaps import Walked
from .states import State
from .tails import Tails


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
    tcaches hold some, or are some. `held` is what free() would return of whole pages if they were
    gone, with themselves: down to the next chunk that isn't binned. For HEAP it is that with all
    that lies behind it in the arena gone before, and without what that gives.
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

    `held` is what free() would return if they were gone, with what tcaches and fastbins hold
    between them.
    """

    arena: int
    size: int
    chunks: int
    held: Amount


def find_pins(endings: Endings) -> Iterator[Pin]:
    """Yield the pins of an arena, from its end."""
    starts, none = endings.starts(_nothing), endings.trimmer.amount(0, 0)
    top, newest = last_below_top(endings), endings.parts[-1].tally.counts
    if top and not (top.held.bytes and _is_short(endings.parts[-1].tally.tails)):
        top = None
    alone = top is not None and top.chunks == newest.used_chunks
    before = top.held if top and not alone else none
    heaps = list(_heap_pins(endings, starts, before))
    if top and not (alone and any(pin.heap == top.heap for pin in heaps)):
        yield top
    yield from heaps


def _nothing(chunk: int, state: State) -> bool:
    return False


def _is_short(tails: Tails) -> bool:
    """Tell whether the last chunks have no more bytes than the free chunk before them."""
    return 0 < (tails.free or 0) - tails.island <= tails.island - tails.gap


def last_below_top(endings: Endings) -> Pin | None:
    """Return what lies last below top: adjacent chunks, or the last one if they are more than they
    keep free; None without any.
    """
    part, tails = endings.parts[-1], endings.parts[-1].tally.tails
    trail = list(endings.trail(part))
    first, gap, chunks = tails.island, tails.gap, tails.chunks
    if not chunks:
        return None
    if not _is_short(tails):
        first, chunks = trail[0][0] if trail else tails.last or 0, 1
        gap = first
    held = endings.by_free([*endings.starts(_nothing)[:-1], gap], alone=True)
    cached = [each for each in trail if each[0] >= first]
    used = tails.last is not None and tails.last >= first
    return Pin(
        PinKind.TOP,
        first,
        (tails.free or 0) - first,
        chunks,
        State.IN_USE if used else min((state for *_, state in cached), key=_ORDER.index),
        tuple(sorted({endings.owners[c] for c, *_ in cached if c in endings.owners})),
        endings.arena.index,
        part.heap.address,
        held,
    )


_ORDER = (State.OVERHEAD, State.TCACHE, State.FAST)  # what it takes to be free


def _heap_pins(endings: Endings, starts: Sequence[int], before: Amount) -> Iterator[Pin]:
    """Yield the heaps, the newest first, which go if their chunks do and all behind them has gone,
    and whose chunks have no more bytes than is free in them. Where those behind are gone, `before`
    and what they hold is returned already.
    """
    gone = [*starts]
    for number in range(len(endings.parts) - 1, 0, -1):
        part = endings.parts[number]
        if part is not endings.parts[-1]:
            before = endings.by_free(gone)
        gone[number] = part.heap.first
        counts = part.tally.counts
        kept = part.heap.end - part.heap.first - counts.used_bytes
        if not counts.used_chunks or counts.used_bytes > kept:
            continue
        if endings.cut(gone).heaps == len(endings.parts) - number:
            yield _heap_pin(endings, part, endings.by_free(gone) - before)


def _heap_pin(endings: Endings, part: Walked, held: Amount) -> Pin:
    counts, heap = part.tally.counts, part.heap
    threads = {
        lwp
        for lwp, chunks in endings.caches.holders(endings.arena.index)
        if any(chunk in heap for chunk in chunks)
    } | {lwp for chunk, lwp in endings.caches.owners.items() if chunk in heap}
    used = counts.used_chunks > counts.overlaid_chunks
    cached = State.TCACHE if threads else State.FAST
    return Pin(
        PinKind.HEAP,
        part.tally.tails.first,
        counts.used_bytes,
        counts.used_chunks,
        State.IN_USE if used else cached,
        tuple(sorted(threads)),
        endings.arena.index,
        heap.address,
        held,
    )


def last_alike(endings: Endings) -> Group | None:
    """Return the last chunks in use of one size; None if there are none, or a thread's tcache lies
    between them.
    """
    size = endings.parts[-1].tally.tails.last_size
    starts, chunks = endings.starts(_nothing), 0
    for number in range(len(endings.parts) - 1, -1, -1):
        heap, tails = endings.parts[number].heap, endings.parts[number].tally.tails
        if not tails.alike or tails.last_size != size:
            break
        start = heap.first if tails.other is None else tails.other
        own = [(at, end) for at, end in _tcaches(endings) if start <= at < heap.end]
        if own and (len(own) > 1 or own[0][0] != tails.first):
            return None
        starts[number], chunks = own[0][1] if own else start, chunks + tails.alike
        if own or tails.other is not None:
            break
    held = endings.by_free(starts, alone=True)
    return Group(endings.arena.index, size, chunks, held) if chunks else None


def _tcaches(endings: Endings) -> Iterator[tuple[int, int]]:
    return ((chunk, chunk + size) for chunk, size in endings.caches.structs)
