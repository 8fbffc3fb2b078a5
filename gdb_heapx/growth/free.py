"""What was free in an arena while one of its requests made it grow: by its lists, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.layout import BK, FD, FLAGS, LAST_BIN, SIZE, UNSORTED, Layout

Read = Callable[[int, int], bytes]
MOST = 1000  # chunks that are looked at in one stop: some milliseconds
MOST_AT_ONCE = 20_000  # in the stop in which all arenas are looked at


class Free(NamedTuple):
    """The free chunks in an arena's bins and fastbins: bytes, how many, and the largest.

    Where they are not `whole`, there were more, or a list was broken: these are so many at least.
    """

    bytes: int = 0
    chunks: int = 0
    largest: int = 0
    whole: bool = True


def free_in(read: Read, layout: Layout, arena: int, most: int = MOST) -> Free:
    """Return what is free in an arena whose lock the thread has that stands still.

    malloc counts none of it, so the lists are followed, the largest chunks first.
    """
    parts = free_by(read, layout, arena, lambda size, fast: "", most)
    return parts.get("", Free())


def free_by(
    read: Read, layout: Layout, arena: int, kind: Callable[[int, bool], str], most: int = MOST
) -> dict[str, Free]:
    """Return the same by kinds, which a chunk's size tells, and whether it is in a fastbin. Where
    not all was seen, of one kind at least it is told that there may be more.
    """
    sums: dict[str, Free] = {}
    whole, number = True, 0
    try:
        for chunk in _listed(read, layout, arena):
            if chunk is None or number == most:
                whole = False
                break
            size, number = chunk[0], number + 1
            so_far = sums.get(kind(*chunk), Free())
            largest = max(so_far.largest, size)
            sums[kind(*chunk)] = Free(so_far.bytes + size, so_far.chunks + 1, largest)
    except (MemoryFault, OSError):
        whole = False
    if whole:
        return sums
    return {
        name: part._replace(whole=False)
        for name, part in (sums or {kind(0, False): Free()}).items()
    }


def free_at_once(read: Read, layout: Layout, arenas: Iterable[int], most: int) -> dict[int, Free]:
    """Return what is free in each arena, of so many chunks in all."""
    found: dict[int, Free] = {}
    for arena in arenas:
        found[arena] = free_in(read, layout, arena, most)
        most -= found[arena].chunks
    return found


def total(parts: Iterable[Free]) -> Free:
    """Return what is free in several arenas."""
    known = tuple(parts)
    return Free(
        sum(part.bytes for part in known),
        sum(part.chunks for part in known),
        max((part.largest for part in known), default=0),
        all(part.whole for part in known),
    )


def _listed(read: Read, layout: Layout, arena: int) -> Iterator[tuple[int, bool] | None]:
    """Yield the sizes of the chunks in an arena's lists, and whether that is a fastbin; None where
    one is broken.
    """
    word = layout.word
    state = read(arena, layout.state.size)
    bins = layout.state["bins"].offset
    for number in (*range(LAST_BIN, UNSORTED, -1), UNSORTED):
        at = bins + 2 * (number - 1) * word
        first = int.from_bytes(state[at : at + word], "little")
        yield from _bin(read, layout, arena + at - layout.header, first)
    if layout.has_fastbins:
        start, length = layout.state["fastbinsY"]
        for at in range(start, start + length, word):
            yield from _fast(read, layout, int.from_bytes(state[at : at + word], "little"))


def _bin(read: Read, layout: Layout, header: int, chunk: int) -> Iterator[tuple[int, bool] | None]:
    word, before = layout.word, header
    while chunk != header:
        words = read(chunk, 4 * word)
        size, forward, back = (_word(words, at, word) for at in (SIZE, FD, BK))
        if back != before:
            yield None
            return
        yield size & ~FLAGS, False
        before, chunk = chunk, forward


def _fast(read: Read, layout: Layout, chunk: int) -> Iterator[tuple[int, bool] | None]:
    word = layout.word
    while chunk:
        words = read(chunk, 4 * word)
        yield _word(words, SIZE, word) & ~FLAGS, True
        place = chunk + FD * word
        chunk = _word(words, FD, word)
        if layout.safe_linking:
            chunk ^= place >> 12


def _word(data: bytes, number: int, word: int) -> int:
    return int.from_bytes(data[number * word : (number + 1) * word], "little")
