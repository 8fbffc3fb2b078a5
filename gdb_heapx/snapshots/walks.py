"""The walks over the arenas of one malloc, each made once; and what they tell of the fastbins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ..glibc.layout import Layout
from ..heap.arenas import Arena, Heap
from ..heap.bins import ArenaBins
from ..heap.cells import cell_bits
from ..heap.fast import Looks, joined, told_of, unproven
from ..heap.fastbins import fast_heads, read_fast
from ..heap.heaps import Walked, walk_arena
from ..heap.holes import Holes, Trimmer
from ..heap.library import library
from ..heap.lists import Ends
from ..heap.outline import Outline
from ..heap.pagepins import PagePins, Sink, sample
from ..heap.pingroups import ANYWAY, ENOUGH, LOOKED_AT, PinGroups, size_and_state
from ..heap.places import Overlay, Places
from ..heap.walk import NO_TABLES, walk
from ..target.space import Space

if TYPE_CHECKING:
    from ..heap.declared import Tables
    from ..heap.table import LinkTable

FEW = 1024  # free chunks: their lists are followed
LINK = 8 << 10  # bytes that are walked over while one link is followed
PIN_CHUNK, PIN_BYTE = 2.5e-6, 2.0 / (1 << 30)  # seconds to look for what keeps pages
MARGIN = 1 << 20  # bytes: no pin of a page reaches as far


class Walk(NamedTuple):
    """The heaps that were walked over, None without a walk, and the free space between chunks."""

    parts: list[Walked] | None
    holes: Holes


class _Fast(NamedTuple):
    """The fastbins of an arena, and how a walk knows the chunks in them, and in tcaches."""

    bins: ArenaBins
    overlay: Overlay


class Walks:
    """The walks over the arenas of one malloc."""

    def __init__(self, space: Space, layout: Layout, outline: Outline, trimmer: Trimmer) -> None:
        self._space = space
        self._layout = layout
        self._outline = outline
        self._trimmer = trimmer
        self._made: dict[tuple[int, tuple[Heap, ...]], Walk] = {}
        self._fast: dict[int, _Fast] = {}
        self._compiled = library(space).code is not None
        self._pins: dict[int, PinGroups] = {}
        self._draws = False  # whether what fills cells of heaps is found

    def draw(self) -> bool:
        """Have each walk from now on find what fills the cells of heaps; return whether those that
        were made were without, and are forgotten.
        """
        if self._draws:
            return False
        self._draws = True
        self.forget()
        return True

    def over(self, arena: Arena, heaps: tuple[Heap, ...]) -> Walk:
        """Return some heaps of an arena, as the walk over their chunks finds them, and the holes
        between these.
        """
        key = arena.index, heaps
        if key not in self._made:
            if heaps == arena.heaps:
                self.fill(arena, NO_TABLES)
            else:
                self._made[key] = self._walk(replace(arena, heaps=heaps), self.overlay(arena))
        return self._made[key]

    def forget(self) -> None:
        """Drop the walks that were made."""
        for kept in (self._made, self._fast, self._pins):
            kept.clear()

    def fill(self, arena: Arena, tables: Tables) -> None:
        """Walk over an arena, with tables to fill; only for these, where that was done before."""
        key = arena.index, arena.heaps
        if key not in self._made:
            self._made[key], self._fast[arena.index] = self._walk_all(arena, tables)
        elif tables:
            walk_arena(self._space, self._layout, arena, self.overlay(arena), None, tables)

    def free_table(self, arena: Arena, both_ways: bool = True) -> LinkTable | None:
        """Return a table of an arena's free chunks that a walk is to `fill`, with their links back
        if need be; None where none does, or memory is short.
        """
        if not self._compiled:
            return None
        from ..heap.table import BOTH_WAYS, ONE_WAY, free_table

        width = BOTH_WAYS if both_ways else ONE_WAY
        return free_table(self._space, self._layout, arena, width)

    def _walk(self, arena: Arena, overlay: Overlay, tables: Tables = NO_TABLES) -> Walk:
        holes = Holes(self._trimmer, self._space.residency, self._tcaches)
        bits = self._cell_bits[0 if arena.main else 1] if self._draws else None
        walked = walk_arena(self._space, self._layout, arena, overlay, holes, tables, bits)
        return Walk(walked, holes)

    @cached_property
    def _cell_bits(self) -> tuple[int, int]:
        """How large cells are in the main arena, and in the others."""
        return cell_bits((arena.heaps for arena in self._outline.arenas), self._space.page)

    @cached_property
    def _tcaches(self) -> frozenset[int]:
        """The chunks that tcaches themselves are."""
        return frozenset(self._outline.caches.owners)

    def _walk_all(self, arena: Arena, tables: Tables) -> tuple[Walk, _Fast]:
        """Walk over an arena, and prove what the walk takes for fast chunks; of the sizes where it
        can't be proven, follow the list and walk again.
        """
        if arena.index in self._fast:
            fast = self._fast[arena.index]
            return self._walk(arena, fast.overlay, tables), fast
        layout, cached, links = self._layout, self._outline.cached, self._outline.links
        heads = fast_heads(self._space, layout, arena)
        told = told_of(layout, arena, heads)
        if told is None:
            fast = self._followed(arena)
            return self._walk(arena, fast.overlay, tables), fast
        overlay = Overlay(Places(), cached, told)
        walked = self._walk(arena, overlay, tables)
        parts = walked.parts or []
        found = joined(part.tally.fast.sizes for part in parts)
        whole = arena.complete and all(part.whole for part in parts)
        wrong = unproven(heads, found) if whole else set(heads)
        known = {size: looks for size, looks in found.items() if size not in wrong}
        known.update(
            self._joined(arena, overlay, heads, {s: found[s] for s in wrong if s in found})
        )
        bins = read_fast(self._space, layout, arena, links, overlay.fast, known)
        if wrong:
            overlay = overlay._replace(told=told.but(wrong) if whole else None)
            walked = self._walk(arena, overlay)
        return walked, _Fast(bins, overlay)

    def _joined(
        self, arena: Arena, overlay: Overlay, heads: Mapping[int, int], found: Mapping[int, Looks]
    ) -> Iterator[tuple[int, Looks]]:
        """Yield what of the chunks that look fast hangs in fastbins, by size, and add these to the
        overlay; not where following the lists costs less than the walk that this takes.
        """
        number = sum(looks.chunks for looks in found.values())
        if not self._compiled or number < FEW or number * LINK < arena.size:
            return
        from ..heap.table import fast_tables

        numbers = {size: looks.chunks for size, looks in found.items()}
        tables = fast_tables(self._space, self._layout, arena, numbers)
        given = {size: each.given for size, each in tables.items()}
        walk_arena(self._space, self._layout, arena, overlay, None, given)
        del given
        while tables:  # each is let go before the next one is added
            size, table = tables.popitem()
            if (joined := table.join(Ends(heads[size], 0))) is not None:
                table.add_to(overlay.fast)
                followed = joined.followed
                sums = followed.address_sum, 0, 0
                lost = followed.absent, followed.swapped, followed.shared
                yield size, Looks(followed.chunks, 1, *sums, *lost)

    def _followed(self, arena: Arena) -> _Fast:
        """Return the fastbins of an arena by following their lists."""
        places, links = Places(), self._outline.links
        bins = read_fast(self._space, self._layout, arena, links, places)
        return _Fast(bins, Overlay(places, self._outline.cached))

    def fast(self, arena: Arena, walk: bool = True) -> ArenaBins:
        """Return the fastbins of an arena: as a walk proves them, or as their lists lead."""
        if walk:
            self.over(arena, arena.heaps)
        elif arena.index not in self._fast:
            self._fast[arena.index] = self._followed(arena)
        return self._fast[arena.index].bins

    def overlay(self, arena: Arena) -> Overlay:
        """Return how a walk knows the chunks of an arena in fastbins and tcaches."""
        self.fast(arena)
        return self._fast[arena.index].overlay

    def page_pins(self, arena: Arena) -> PinGroups:
        """Return what keeps pages of an arena from malloc_trim, enough of it to tell the largest
        groups.
        """
        if arena.index not in self._pins:
            share = len(self._outline.arenas)
            groups = PinGroups(size_and_state, max(ENOUGH // share, ANYWAY))
            chunks = max(LOOKED_AT // share, ANYWAY * ANYWAY)
            for heap in self._spans(arena):
                pins = PagePins(self._trimmer, groups, arena.top)
                chunks = sample(self._space, self._layout, heap, self.overlay(arena), pins, chunks)
                if groups.full or chunks <= 0:
                    groups.given_up = True
                    break
            self._pins[arena.index] = groups
        return self._pins[arena.index]

    def time_to_pins(self, arena: Arena) -> float:
        """Return in how many seconds all is found that keeps pages of an arena, by estimate."""
        parts = self.over(arena, arena.heaps).parts or ()
        counts = [part.tally.counts for part in parts]
        chunks = sum(sum(each.used.values()) + sum(each.free.values()) for each in counts)
        looked_at = sum(heap.end - heap.first for heap in self._spans(arena))
        return looked_at * PIN_BYTE + chunks * looked_at / max(arena.size, 1) * PIN_CHUNK

    def add_page_pins(self, arena: Arena, sink: Sink, around: range | None = None) -> None:
        """Add what keeps pages of an arena from malloc_trim: all of it, or what does `around` these
        addresses.
        """
        for heap in self._spans(arena, around):
            pins = PagePins(self._trimmer, sink, arena.top)
            walk(self._space, self._layout, heap, self.overlay(arena), [pins])

    def _spans(self, arena: Arena, around: range | None = None) -> Iterator[Heap]:
        """Yield the parts of an arena's heaps where chunks may keep single pages; with `around` no
        more of them than from a chunk MARGIN before these addresses to one as far behind.
        """
        for part in self.over(arena, arena.heaps).parts or ():
            marks = part.tally.landmarks
            low = marks.before(around.start - MARGIN) if around else None
            high = marks.behind(around.stop + MARGIN) if around else None
            for start, end in part.tally.spans_mostly_free(part.heap.first):
                first, stop = max(start, low or start), min(end, high or end)
                if first < stop:
                    yield replace(part.heap, first=first, end=stop)
