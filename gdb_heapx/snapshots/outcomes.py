"""What malloc_trim and free() would make of an arena that was read."""

from __future__ import annotations

from dataclasses import dataclass

from ..glibc.systrim import Limits, at_break
from ..heap.endings import Endings
from ..heap.trim import Top, Trim, trim_arena
from ..heap.whatif import WhatIf, what_if
from .arena import ArenaReading
from .reading import MallocReading


@dataclass(frozen=True)
class Outcomes:
    """One libc's malloc, and what its malloc_par says, from which it follows."""

    reading: MallocReading
    parameters: dict[str, int]

    def trim(self, arena: ArenaReading, pad: int) -> Trim | None:
        """Return what malloc_trim(pad) would do to an arena; None if that isn't sure."""
        if not arena.sure:
            return None
        start, end = arena.top_span
        top = Top(start, end - start, arena.arena.main, self._goes(arena))
        trimmer, layout = self.reading.trimmer, arena.layout
        return trim_arena(trimmer, layout, arena.amounts, arena.holes, top, self.parameters, pad)

    def whatif(self, arena: ArenaReading) -> WhatIf | None:
        """Return what would be returned if chunks were free; None if that isn't sure."""
        endings = self.endings(arena) if arena.sure else None
        return what_if(endings, arena.holes) if endings else None

    def endings(self, arena: ArenaReading) -> Endings | None:
        """Return where a free may cut; None without top."""
        parts, top = tuple(arena.walked or ()), arena.arena.top
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
