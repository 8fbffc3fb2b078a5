"""What a thread's calls for memory mean, as it stands before each and behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout
from ..records import dataclass
from .free import Free, Read, free_in
from .unusable import NONE_KNOWN, KnownCaches, Requested, by_reason
from .watched import EXTEND, MMAP, MREMAP, NEW_ARENA, NEW_HEAP, Growth

MOST_ARENAS = 1 << 16


class Grower(NamedTuple):
    """The malloc that grows: how it is laid out, its main arena, and its memory to read."""

    layout: Layout
    main_arena: int
    read: Read

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, self.layout.word), "little")

    def system_mem(self, arena: int) -> int:
        return self.word(arena + self.layout.state["system_mem"].offset)

    def ring(self) -> dict[int, int]:
        """Return the index of each arena by its address; OSError if the process is gone."""
        found = {self.main_arena: 0}
        at = self.layout.state["next"].offset
        arena = self.word(self.main_arena + at)
        while arena and arena not in found and len(found) < MOST_ARENAS:
            found[arena] = len(found)
            arena = self.word(arena + at)
        return found

    def heap_of_top(self, arena: int) -> int:
        """Return the heap that an arena's top is in, 0 for the main arena."""
        if arena == self.main_arena:
            return 0
        return self.layout.heap_of(self.word(arena + self.layout.state["top"].offset))


@dataclass(frozen=True)
class Before:
    """A thread before such a call: what it asks for, and how the arena was."""

    callee: str
    at: float
    thread: int
    stack: tuple[int, ...]
    arguments: tuple[int, ...]
    arena: int | None = None
    system_mem: int = 0
    heap: int = 0
    free: Free | None = None
    unusable: Mapping[str, Free] | None = None


@dataclass
class Notebook:
    """What was noted so far; `growths` in the order in which the calls returned."""

    malloc: Grower
    caches: KnownCaches = NONE_KNOWN
    growths: list[Growth] = field(default_factory=list)
    failed: int = 0
    _under_way: dict[int, Before] = field(default_factory=dict)

    @property
    def unfinished(self) -> int:
        return len(self._under_way)

    def wanted(self, callee: str, arguments: Sequence[int]) -> bool:
        """Tell whether a call gets memory: most calls of mprotect by malloc do, but not all."""
        return WANTED[callee](self.malloc.layout.word, arguments)

    def enter(self, before: Before, arenas: Iterable[int] | None) -> None:
        """Note a call that is about to be made; why what is free anywhere can't serve it, if all
        arenas are given.
        """
        if before.callee == "sysmalloc":
            arena = before.arguments[1] or None
            if arena is not None:
                before = self._seen(before, arena, arenas)
        self._under_way[before.thread] = before

    def _seen(self, before: Before, arena: int, arenas: Iterable[int] | None) -> Before:
        malloc = self.malloc
        try:
            size, heap = malloc.system_mem(arena), malloc.heap_of_top(arena)
        except (MemoryFault, OSError):
            return before
        free, why = free_in(malloc.read, malloc.layout, arena), None
        if arenas is not None:
            asked = Requested(before.thread, arena, before.arguments[0])
            why = by_reason(malloc.read, malloc.layout, asked, self.caches, arenas)
        return replace(before, arena=arena, system_mem=size, heap=heap, free=free, unusable=why)

    def leave(self, thread: int, result: int) -> Growth | None:
        """Note what a call has returned: None where nothing grew."""
        before = self._under_way.pop(thread, None)
        if before is None:
            return None
        try:
            growth = GOT[before.callee](self.malloc, before, result)
        except (MemoryFault, OSError):
            growth = None
        if growth is None or growth.bytes <= 0:
            self.failed += 1
            return None
        self.growths.append(growth)
        return growth


def _grown(
    before: Before, source: str, size: int, arena: int | None, chunk_size: int | None = None
) -> Growth:
    at, thread, stack = before.at, before.thread, before.stack
    free, why = before.free, before.unusable
    return Growth(at, thread, source, arena, chunk_size, size, free, stack, why)


def _by_sysmalloc(malloc: Grower, before: Before, result: int) -> Growth | None:
    """sysmalloc (nb, av): a chunk of the arena, which has grown for it, or with its own mapping."""
    if not result:
        return None
    layout, needed = malloc.layout, before.arguments[0]
    words = malloc.read(result - layout.header, 2 * layout.word)
    prev_size = int.from_bytes(words[: layout.word], "little")
    size = int.from_bytes(words[layout.word :], "little")
    if size & IS_MMAPPED:
        offset = prev_size & ~1 if layout.mmap_header else prev_size
        mapped = offset + (size & ~FLAGS) + layout.mmap_header
        return _grown(before, MMAP, mapped, None, needed)
    if before.arena is None:
        return None
    grown = malloc.system_mem(before.arena) - before.system_mem
    source = EXTEND if malloc.heap_of_top(before.arena) == before.heap else NEW_HEAP
    return _grown(before, source, grown, before.arena, needed)


def _by_new_heap(malloc: Grower, before: Before, result: int) -> Growth | None:
    """new_heap (size, top_pad), outside of sysmalloc: the first one of a new arena."""
    if not result:
        return None
    info = malloc.layout.heap_info
    size = malloc.word(result + info["size"].offset)
    return _grown(before, NEW_ARENA, size, result + info.size)


def _by_mremap(malloc: Grower, before: Before, result: int) -> Growth | None:
    """mremap (old, old_size, new_size, flags): realloc of a chunk with its own mapping."""
    if _failed(malloc, result):
        return None
    return _grown(before, MREMAP, before.arguments[2] - before.arguments[1], None)


def _by_sbrk(malloc: Grower, before: Before, result: int) -> Growth | None:
    if _failed(malloc, result):
        return None
    return _grown(before, EXTEND, before.arguments[0], malloc.main_arena)


def _by_mmap(malloc: Grower, before: Before, result: int) -> Growth | None:
    return None if _failed(malloc, result) else _grown(before, MMAP, before.arguments[1], None)


def _by_mprotect(malloc: Grower, before: Before, result: int) -> Growth | None:
    """mprotect (address, size, ...): a heap grows, or begins: then its arena isn't told yet."""
    if result & 0xFFFFFFFF:
        return None
    address, size = before.arguments[:2]
    heap = malloc.layout.heap_of(address)
    if heap == address:
        return _grown(before, NEW_HEAP, size, None)
    arena = malloc.word(heap + malloc.layout.heap_info["ar_ptr"].offset)
    return _grown(before, EXTEND, size, arena)


def _failed(malloc: Grower, result: int) -> bool:
    return result == (1 << 8 * malloc.layout.word) - 1


Got = Callable[[Grower, Before, int], "Growth | None"]
GOT: dict[str, Got] = {
    "sysmalloc": _by_sysmalloc,
    "new_heap": _by_new_heap,
    "mremap": _by_mremap,
    "sbrk": _by_sbrk,
    "mmap": _by_mmap,
    "mprotect": _by_mprotect,
}
# Which calls of each get memory. mmap without access (PROT_NONE, 0) only reserves addresses, or
# gives a heap's end back; sbrk gives back what is negative.
WANTED: dict[str, Callable[[int, Sequence[int]], bool]] = {
    "sysmalloc": lambda word, arguments: True,
    "new_heap": lambda word, arguments: True,
    "mremap": lambda word, arguments: arguments[2] > arguments[1],
    "sbrk": lambda word, arguments: 0 < arguments[0] < 1 << 8 * word - 1,
    "mmap": lambda word, arguments: arguments[2] & 3 != 0,
    "mprotect": lambda word, arguments: arguments[2] & 3 != 0,
}
