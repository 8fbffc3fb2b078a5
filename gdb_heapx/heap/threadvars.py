"""libc's thread-local variables: where tcache and thread_arena are in a thread's block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc import releases
from ..glibc.layout import FLAGS
from ..locate.libcs import Libc
from ..locate.nptl import Blocks
from ..target.space import Record, Space
from .arenas import Arena, HeapIndex

Test = Callable[[int], "bool | None"]  # of a value: None where it tells nothing, such as 0


class Offsets(NamedTuple):
    """Where the variables lie in each block, None where that isn't known, and how it is known."""

    tcache: int | None
    thread_arena: int | None
    how: str


def find_offsets(
    space: Space, libc: Libc, blocks: Blocks, arenas: Sequence[Arena], index: HeapIndex
) -> Offsets:
    """Return where libc's variables lie: by symbols, else where only they can be.

    Without symbols it is the one place where all threads have a possible value, and most have one
    that tells.
    """
    tcache, arena = (libc.image.tls_offset(name) for name in ("tcache", "thread_arena"))
    if blocks.exact and tcache is not None:
        return Offsets(tcache, arena, "symbols")
    addresses = {each.address for each in arenas}
    windows = _windows(space, blocks)
    return Offsets(
        _only(space, windows, lambda value: _is_tcache(space, libc, index, value)),
        _only(space, windows, lambda value: value in addresses if value else None),
        "structure",
    )


def _windows(space: Space, blocks: Blocks) -> list[Sequence[int]]:
    windows: list[Sequence[int]] = []
    for block in blocks.blocks:
        try:
            windows.append(space.words(block.address, blocks.size // space.word))
        except MemoryFault:
            continue
    return windows


def _only(space: Space, windows: list[Sequence[int]], test: Test) -> int | None:
    """Return the offset in bytes where no thread's value fails a test, and most pass it.

    None where there is no such offset, or more than one.
    """
    passed: dict[int, int] = {}  # by offset: how many threads
    for i in range(min(map(len, windows), default=0)):
        results = [test(words[i]) for words in windows]
        if False not in results and True in results:
            passed[i * space.word] = results.count(True)
    best = [at for at, count in passed.items() if count == max(passed.values())]
    return best[0] if len(best) == 1 else None


def has_no_tcache(libc: Libc, value: int) -> bool:
    """Tell whether a thread has no tcache: from 2.43 it then points at libc's __tcache_dummy."""
    dummy = libc.tcache_dummy
    if not value or dummy is None:
        return not value or value in libc.image
    return dummy <= value <= dummy + libc.layout.word


def _is_tcache(space: Space, libc: Libc, index: HeapIndex, value: int) -> bool | None:
    """Tell whether a word points at a tcache: a chunk of its size, whose counts and lists agree."""
    if has_no_tcache(libc, value):
        return None
    layout = libc.layout
    chunk = value - layout.header
    if layout.tcache is None or value % layout.alignment or index.at(chunk) is None:
        return False
    try:
        if space.read_word(chunk + space.word) & ~FLAGS not in releases.tcache_sizes(layout):
            return False
        record = space.read_struct(layout.tcache, value)
    except MemoryFault:
        return False
    heads = record.array("entries", space.word)
    fill = libc.parameters["tcache_count"]
    return all(
        bool(head) == bool(count) and not head % layout.alignment and 0 <= count <= fill
        for head, count in zip(heads, stored_counts(record, len(heads), fill))
    )


def stored_counts(record: Record, bins: int, fill: int) -> list[int]:
    """Return how many chunks the tcache's own counters claim, by bin."""
    if "num_slots" in record.struct:
        size = record.struct["num_slots"].size // bins
        return [max(fill - slots, 0) for slots in record.array("num_slots", size)]
    return list(record.array("counts", record.struct["counts"].size // bins))
