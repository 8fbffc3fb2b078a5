"""The last chunks of an arena, which keep free memory from being returned by free()."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from ..records import dataclass
from .endings import Endings
from .states import State

if TYPE_CHECKING:
    from ..target.amounts import Amount
    from .heaps import Walked
    from .tails import Tails


class PinKind(Enum):
    """How a pin keeps free memory.

    TOP: the last chunks below a top. HEAP: all chunks of a heap of a non-main arena. PAGE: those
    that touch a page, or some one after the other.
    """

    TOP = "top"
    HEAP = "heap"
    PAGE = "page"


@dataclass(frozen=True)
class Pin:
    """Adjacent chunks that aren't free (HEAP: all of a heap), no more bytes than they keep free.

    `address` is the first chunk's, `size` the bytes of all `chunks`. `state` is IN_USE if one of
    them is, else TCACHE, or OVERHEAD for a thread's tcache itself; `threads` are those whose
    tcaches hold some, or are some. A FAST chunk is a pin only until the next free of 64 KiB, which
    merges it, and returns what it held: others are told as they are after that. `held` is what
    free() would return of whole pages if they were gone, with themselves: down to the next chunk
    that isn't free. For HEAP it is that with all that lies behind it in the arena gone before, and
    without what that gives. For PAGE it is what malloc_trim(0) would return more.
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
    among them; `cached` tells whether tcaches keep more than a hundredth of it.
    """

    arena: int
    size: int
    chunks: int
    held: Amount
    cached: bool

    @property
    def short(self) -> bool:
        """Whether its chunks have no more bytes than what they keep free."""
        return 0 < 2 * self.size * self.chunks <= self.held.bytes


def find_pins(endings: Endings, top: Pin | None) -> Iterator[Pin]:
    """Yield the pins of an arena, from its end; `top` is what lies last below it."""
    tails, first = endings.parts[-1].tally.tails, endings.parts[-1].heap.first
    if top and not (top.held.bytes and (top.state is State.FAST or _is_short(tails))):
        top = None
    alone = top is not None and top.state is not State.FAST and tails.gap <= first
    before = top.held if top and not alone else endings.trimmer.amount(0, 0)
    heaps = list(_heap_pins(endings, before))
    if top and not (alone and any(pin.heap == top.heap for pin in heaps)):
        yield top
    yield from heaps


def _is_short(tails: Tails) -> bool:
    """Tell whether the last chunks have no more bytes than the free space before them."""
    return 0 < (tails.free or 0) - tails.island <= tails.island - tails.gap


def last_below_top(endings: Endings) -> Pin | None:
    """Return what lies last below top: a fast chunk, if it holds something until a free merges it,
    else adjacent chunks, or the last one if they are more than they keep free; None without any.
    """
    part, tails = endings.parts[-1], endings.parts[-1].tally.tails
    trail, starts = endings.trail(part), endings.merged
    merged = endings.by_free(starts)
    if trail and trail[0][2] is State.FAST and merged.bytes:
        return _pin(endings, trail[0][0], trail[0][1], 1, merged)
    if not tails.chunks:
        return None
    first, gap, chunks, end = tails.island, tails.gap, tails.chunks, tails.free or 0
    if not _is_short(tails):
        cached = [chunk for chunk, _, state in trail if state is not State.FAST]
        first, chunks = cached[0] if cached else tails.last or 0, 1
        gap = first if first > tails.island else gap
    held = endings.by_free([*starts[:-1], gap], alone=True)
    return _pin(endings, first, end - first, chunks, held)


def _pin(endings: Endings, first: int, size: int, chunks: int, held: Amount) -> Pin:
    """Return the pin that chunks behind the last free space are."""
    part, last = endings.parts[-1], endings.parts[-1].tally.tails.last
    used = last is not None and first <= last < first + size
    here = [each for each in endings.trail(part) if first <= each[0] < first + size]
    return Pin(
        PinKind.TOP,
        first,
        size,
        chunks,
        State.IN_USE if used else min((state for *_, state in here), key=_ORDER.index),
        tuple(sorted({endings.owners[c] for c, *_ in here if c in endings.owners})),
        endings.arena.index,
        part.heap.address,
        held,
    )


_ORDER = (State.OVERHEAD, State.TCACHE, State.FAST)  # what it takes to be free


def _heap_pins(endings: Endings, before: Amount) -> Iterator[Pin]:
    """Yield the heaps, the newest first, which go if their chunks do and all behind them has gone,
    and whose chunks have no more bytes than is free in them. Where those behind are gone, `before`
    and what they hold is returned already.
    """
    gone = list(endings.merged)
    for number in range(len(endings.parts) - 1, 0, -1):
        part = endings.parts[number]
        start, gone[number] = gone[number], part.heap.first
        counts = part.tally.counts
        kept = part.heap.end - part.heap.first - counts.used_bytes
        if not counts.used_chunks or counts.used_bytes > kept:
            continue
        if endings.cut(gone).heaps == len(endings.parts) - number:
            held = endings.by_free(gone)
            if part is not endings.parts[-1]:
                before = endings.by_free([*gone[:number], start, *gone[number + 1 :]])
            yield _heap_pin(endings, part, held - before)


def _heap_pin(endings: Endings, part: Walked, held: Amount) -> Pin:
    counts, heap = part.tally.counts, part.heap
    own = endings.caches.structs_in(heap.address, heap.end)
    threads = {
        lwp
        for lwp, chunks in endings.caches.holders(endings.arena.index)
        if any(chunk in heap for chunk in chunks)
    } | {endings.caches.owners[chunk] for chunk, _ in own}
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


def last_alike(endings: Endings, last: Pin | None) -> Group | None:
    """Return the last chunks in use of one size; None if there are none, or a thread's tcache lies
    between them. A single one has nothing among it: it holds what it does as the `last` below top.
    """
    size = endings.parts[-1].tally.tails.last_size
    starts, chunks = list(endings.merged), 0
    for number in range(len(endings.parts) - 1, -1, -1):
        heap, tails = endings.parts[number].heap, endings.parts[number].tally.tails
        if not tails.alike or tails.last_size != size:
            break
        start = heap.first if tails.other is None else tails.other
        own = endings.caches.structs_in(start, heap.end)
        if own and (len(own) > 1 or own[0][0] != tails.first):
            return None
        starts[number], chunks = sum(own[0]) if own else start, chunks + tails.alike
        if own or tails.other is not None:
            break
    held = endings.by_free(starts, alone=True)
    if chunks == 1 and last is not None and last.state is State.IN_USE and last.chunks == 1:
        return Group(endings.arena.index, size, 1, last.held, False)
    cached = _is_cached(endings, starts, held)
    if chunks == 1 and cached:
        return None
    return Group(endings.arena.index, size, chunks, held, cached) if chunks else None


def _is_cached(endings: Endings, starts: Sequence[int], held: Amount) -> bool:
    """Tell whether chunks in tcaches keep some of this, and more than a hundredth: all that lies
    before them. They end where the largest of them would.
    """
    index, above = endings.arena.index, []
    size = max(endings.caches.sizes_in(index), default=0)
    chunks = sorted(chunk for _, some in endings.caches.holders(index) for chunk in some)
    for part, start in zip(endings.parts, starts):
        before = bisect_left(chunks, part.heap.end)
        last = chunks[before - 1] if before else -1
        above.append(min(last + size if last >= start else start, part.heap.end))
    own = endings.by_free(above, alone=True)
    return 100 * (held.bytes - own.bytes) > held.bytes
