"""The chunks of one libc that have mappings of their own: glibc only counts them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from heapq import merge
from typing import NamedTuple

from ..errors import Problem, StoppedError
from ..glibc.layout import align_down, align_up
from ..heap.aligned import with_headers
from ..heap.counted import BAD_MMAPPED, are_all, find_damaged, without_surplus
from ..heap.mapsearch import Stretch, find_mmapped, stretches
from ..heap.mmapped import MmappedChunk, MmappedChunks, chunk_of
from ..heap.outline import Outline
from ..locate.libcs import Libc
from ..locate.stacks import Stack
from ..target.mappings import Mapping, outside
from ..target.space import Space


class Mmapped(NamedTuple):
    """The mmapped chunks that were found, whether they are exactly those that mp_ counts, and what
    is wrong with headers of theirs.
    """

    chunks: MmappedChunks
    certain: bool
    problems: list[Problem]


def _is_likely(mapping: Mapping, first: str = "") -> bool:
    """Tell whether mmapped chunks may lie in a mapping whose permissions begin so."""
    named = mapping.name.startswith("[") and not mapping.name.startswith("[anon")
    private = not mapping.inode and mapping.permissions.endswith("p")
    return private and not named and mapping.permissions.startswith(first)


class MmappedSearch:
    """What is found of them, each part when it is asked for; `stacks` are those of threads."""

    def __init__(
        self, space: Space, libc: Libc, outline: Outline, stacks: Callable[[], tuple[Stack, ...]]
    ) -> None:
        self._space, self._libc, self._outline, self._stacks = space, libc, outline, stacks

    @cached_property
    def impossible(self) -> Problem | None:
        """The problem that mp_ counts more mmapped chunks than can be; None where it doesn't."""
        space, parameters = self._space, self._libc.parameters
        number, total = parameters["n_mmaps"], parameters["mmapped_mem"]
        room = space.mappings.sum(lambda kind: kind.size)
        if not space.mappings or max(total, number * space.page) <= room:
            return None
        statement = f"mp_ counts {number:,} mmapped chunks of {total:,} bytes: more than is mapped"
        return Problem(BAD_MMAPPED, statement, parameters.address)

    @cached_property
    def found(self) -> Mmapped:
        """The chunks with a mapping of their own; they must be searched for.

        Of aligned ones it has the first header of their mapping.
        """
        space, layout, parameters = self._space, self._libc.layout, self._libc.parameters
        if self.impossible:
            return Mmapped(MmappedChunks(), False, [self.impossible])
        number, total = parameters["n_mmaps"], parameters["mmapped_mem"]
        if not number:
            return Mmapped(MmappedChunks(), not total, [])
        places = self.places
        try:
            space.pace.begin("looking for mmapped chunks")
            found = find_mmapped(space, layout, places, number, total)
        except StoppedError:
            return Mmapped(MmappedChunks(), False, [])
        found = without_surplus(found, number, total)
        damaged: list[tuple[MmappedChunk, Problem]] = []
        if len(found) < number:
            parts = outside(space.mappings.where(_is_likely), self._taken)
            single = [Stretch(part.start, part.end, part.end) for part in parts]
            damaged = find_damaged(space, layout, [*places, *single], found, number, total)
            found = MmappedChunks.of(found.own, merge(found, (chunk for chunk, _ in damaged)))
        certain = are_all(found, number, total)
        return Mmapped(found, certain, [problem for _, problem in damaged])

    @cached_property
    def headers(self) -> MmappedChunks:
        """The same chunks, each with the header that belongs to what malloc returned."""
        damaged = {problem.address for problem in self.found.problems}
        self._space.pace.begin("looking into mmapped chunks")
        return with_headers(self._space, self._libc.layout, self.found.chunks, damaged)

    @cached_property
    def cached(self) -> dict[int, int]:
        """The mmapped chunks in tcaches (from 2.43), with the bytes of their mappings."""
        found: dict[int, int] = {}
        for address in self._outline.caches.mmapped:
            words = self._space.words_before_gap(address, 2)
            chunk = chunk_of(self._space, self._libc.layout, address, *words) if words[1:] else None
            found[address] = chunk.mapping if chunk else 0
        return found

    @cached_property
    def places(self) -> list[Stretch]:
        """Where mmapped chunks may lie: in anonymous memory, but in no heap and no thread's stack.

        The kernel may show a chunk and a heap beside it as one mapping: newer releases (2.41, not
        2.36) don't map heaps NORESERVE. Where brk grows there are none.
        """
        mappings = self._space.mappings.in_order
        runs = [
            Mapping(start, end, permissions, 0, "")
            for permissions in ("r--p", "---p")
            for start, end in mappings.runs(partial(_is_likely, first=permissions[0]))
        ]
        return stretches(outside(runs, self._taken))

    @cached_property
    def _taken(self) -> list[tuple[int, int]]:
        """The memory of heaps and stacks, and where brk grows: no mmapped chunk lies there."""
        page, main = self._space.page, self._outline.arenas[0] if self._outline.arenas else None
        heaps = [heap for arena in self._outline.arenas for heap in arena.heaps]
        spans = [
            (align_down(heap.address, page), align_up(heap.address + heap.reserved, page))
            for heap in heaps
        ]
        spans += ((align_down(s.start, page), align_up(s.end, page)) for s in self._stacks())
        brk = [heap.address for heap in main.heaps] if main and main.contiguous else []
        grown = (self._space.mapping_at(base) for base in brk)
        return [*spans, *((mapping.start, mapping.end) for mapping in grown if mapping)]
