"""What malloc_trim and free() would make of an arena that was read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..glibc.systrim import Limits, at_break
from ..heap.endings import Endings
from ..heap.heaps import Walked, walk_arena
from ..heap.holes import Holes
from ..heap.trim import Top, Trim, trim_arena
from ..heap.whatif import Returned, WhatIf, what_if
from ..records import dataclass
from .arena import ArenaReading
from .reading import MallocReading


@dataclass(frozen=True)
class Outcomes:
    """One libc's malloc, and what its malloc_par says, from which it follows."""

    reading: MallocReading
    parameters: dict[str, int]

    def trim(self, arena: ArenaReading, pad: int) -> Trim | None:
        """Return what malloc_trim(pad) would do to an arena; None if that isn't sure, or Ctrl-C or
        the clock wants an end.
        """
        if not arena.sure or not self.reading.space.pace.goes_on():
            return None
        start, end = arena.top_span
        top = Top(start, end - start, arena.arena.main, self._goes(arena))
        trimmer, layout = self.reading.trimmer, arena.layout
        return trim_arena(trimmer, layout, arena.amounts, arena.holes, top, self.parameters, pad)

    def whatif(self, arena: ArenaReading) -> WhatIf | None:
        """Return what would be returned if chunks were free; None as above."""
        known = arena.sure and self.reading.space.pace.goes_on()
        endings = self._endings(arena, arena.walked or ()) if known else None
        return what_if(endings, arena.holes) if endings else None

    def without(self, arena: ArenaReading, chunks: Iterable[int]) -> Returned | None:
        """Return what would be returned if these chunks, whatever their state, were free and had
        merged; None if that isn't sure. It walks over the arena.
        """
        reading, own = self.reading, arena.holes.own
        holes = Holes(reading.trimmer, reading.space.residency, own)
        overlay = reading.walks.overlay(arena.arena)
        merged = overlay._replace(fast=overlay.fast.joined(chunks))
        walked = walk_arena(reading.space, arena.layout, arena.arena, merged, holes)
        endings = self._endings(arena, walked) if arena.sure else None
        if endings is None:
            return None
        starts = endings.merged
        by_free = endings.by_free(starts, alone=True)
        return Returned(by_free, endings.by_trim(starts, holes.returned))

    def _endings(self, arena: ArenaReading, walked: Sequence[Walked]) -> Endings | None:
        """Return where a free may cut, in heaps that were walked over; None without top."""
        parts, top = tuple(walked), arena.arena.top
        if arena.arena.main:
            parts = tuple(part for part in parts if top in part.heap)
        if not parts or not arena.arena.top_size:
            return None
        limits = Limits.of(arena.layout, self.reading.space.page, self.parameters)
        trimmer, goes = self.reading.trimmer, self._goes(arena)
        return Endings(arena.arena, parts, arena.caches, trimmer, limits, goes)

    def _goes(self, arena: ArenaReading) -> bool:
        """Tell whether a main arena's top can go."""
        _, end = arena.top_span
        return at_break(end, self.reading.program_break, arena.arena.contiguous)
