"""The ends of an arena's heaps, where free() may cut: what it would return, if chunks were free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import starmap
from typing import TYPE_CHECKING

from ..glibc.layout import align_up
from ..glibc.systrim import TRIES_TRIMMING, Cut, Ending, Limits, heap_trim, systrim, top_left, unit
from ..records import dataclass
from ..target.amounts import Amount, sum_of
from .states import State

if TYPE_CHECKING:
    from .arenas import Arena, Heap
    from .heaps import Walked
    from .holes import Trimmer
    from .tcaches import Caches

Free = Callable[[int, State], bool]  # whether a chunk that isn't binned would be free


def trail_of(part: Walked, caches: Caches) -> Iterator[tuple[int, int, State]]:
    """Yield the chunks behind the last one in use that aren't binned: address, size and state, from
    the end. OVERHEAD is a tcache itself.
    """
    for chunk, size, state in part.tally.tails.trail:
        yield chunk, size, State.OVERHEAD if chunk in caches.owners else state


def free_from(part: Walked, caches: Caches, free: Free) -> int:
    """Return where the free space at a heap's end begins, if such chunks were free."""
    return _free_behind(part, trail_of(part, caches), free)


def _free_behind(part: Walked, trail: Iterable[tuple[int, int, State]], free: Free) -> int:
    for chunk, size, state in trail:
        if not free(chunk, state):
            return chunk + size
    tails = part.tally.tails
    return part.heap.first if tails.last is None else tails.last + tails.last_size


def is_fast(chunk: int, state: State) -> bool:
    """Tell whether a chunk is free once malloc_consolidate has run."""
    return state is State.FAST


def ending_of(heap: Heap, free: int, page: int) -> Ending:
    """Return how a heap ends whose last chunks are free from `free` on."""
    return Ending(heap.address, heap.first, free, heap.end, unit(page, heap.pagesize))


@dataclass(frozen=True)
class Endings:
    """An arena's heaps, the oldest first; of the main arena only the one with top.

    `goes` tells whether its top can go (at_break).
    """

    arena: Arena
    parts: tuple[Walked, ...]
    caches: Caches
    trimmer: Trimmer
    limits: Limits
    goes: bool

    @cached_property
    def owners(self) -> dict[int, int]:
        """Whose tcache holds each of the chunks behind the last ones in use; whose it is."""
        behind = {chunk for part in self.parts for chunk, *_ in part.tally.tails.trail}
        within, heaps = self.caches.structs_in, [part.heap for part in self.parts]
        own = [chunk for heap in heaps for chunk, _ in within(heap.address, heap.end)]
        owners = {chunk: self.caches.owners[chunk] for chunk in behind.intersection(own)}
        if len(behind) > len(owners):
            for lwp, chunks in self.caches.holders(self.arena.index):
                owners.update((chunk, lwp) for chunk in behind.intersection(chunks))
        return owners

    def trail(self, part: Walked) -> tuple[tuple[int, int, State], ...]:
        """Return what trail_of yields."""
        known = self._trails.get(part.heap.address)
        if known is None:
            known = self._trails[part.heap.address] = tuple(trail_of(part, self.caches))
        return known

    @cached_property
    def _trails(self) -> dict[int, tuple[tuple[int, int, State], ...]]:
        return {}

    def starts(self, free: Free) -> list[int]:
        """Return where the free space at each heap's end begins, if such chunks were free."""
        return [_free_behind(part, self.trail(part), free) for part in self.parts]

    @cached_property
    def merged(self) -> tuple[int, ...]:
        """Where it begins once the fast chunks have merged."""
        return tuple(self.starts(is_fast))

    def cut(self, starts: Sequence[int]) -> Cut:
        """Return what a free takes off, where the free space at each heap's end begins here."""
        if self.arena.main:
            top = self.parts[-1].heap.end - starts[-1]
            return Cut(0, systrim(self.limits, top) if self.goes else 0)
        page = self.trimmer.page
        ends = [ending_of(part.heap, start, page) for part, start in zip(self.parts, starts)]
        return heap_trim(self.limits, ends)

    def by_free(self, starts: Sequence[int], alone: bool = False) -> Amount:
        """Return what a free gives back that makes 64 KiB; if it is `alone`, what is free at the
        end is all that it makes.
        """
        nothing = self.trimmer.amount(0, 0)
        if alone and self.parts[-1].heap.end - starts[-1] < TRIES_TRIMMING:
            return nothing
        heaps, size = self.cut(starts)
        gone = self.parts[len(self.parts) - heaps :]
        end = self.parts[-1 - heaps].heap.end
        return sum_of((nothing, *map(self._unmapped, gone), self._shrunk(end - size, end)))

    def _unmapped(self, part: Walked) -> Amount:
        """Return what is in memory of a heap: to where it was once readable."""
        heap = part.heap
        return self.trimmer.unmapped(heap.address, heap.address + (heap.committed or heap.size))

    def _shrunk(self, start: int, end: int) -> Amount:
        """Return what goes of the end of top: sbrk takes what is locked as well, madvise doesn't
        (arena.c, shrink_heap).
        """
        trimmer = self.trimmer
        start, end = align_up(start, trimmer.page), align_up(end, trimmer.page)
        return trimmer.unmapped(start, end if self.arena.main else trimmer.advised(start, end))

    def above(self) -> Amount:
        """Return the whole pages that malloc_trim reaches between the last chunk in use and top."""
        part = self.parts[-1]
        cached = [each for each in self.trail(part) if not is_fast(each[0], each[2])]
        behind = [chunk + size for chunk, size, _ in cached[1:]]
        behind.append(_free_behind(part, (), is_fast))
        spaces = zip(behind, (chunk for chunk, *_ in cached))
        return sum_of((self.trimmer.amount(0, 0), *starmap(self.trimmer.returned, spaces)))

    def by_trim(self, starts: Sequence[int], holes: Amount) -> Amount:
        """Return what malloc_trim(0) gives back after that free: of the `holes` between chunks
        those that haven't become part of top, and of the main arena's top.
        """
        heaps, size = self.cut(starts)
        last = len(self.parts) - 1
        for part, start in list(zip(self.parts, starts))[last - heaps : last]:
            holes -= self.trimmer.returned(start, max(part.tally.end, start))
        if not (self.arena.main and self.goes):
            return holes
        end = self.parts[-1].heap.end - size
        more = top_left(self.limits, end - starts[-1])
        return holes + self._shrunk(end - more, end)
