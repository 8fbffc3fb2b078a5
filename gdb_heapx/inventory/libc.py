"""The chunks of one libc's malloc, one by one: streamed, for nobody can keep them all."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple

from ..errors import UNREAD, MemoryFault, Problem
from ..glibc.layout import LAST_BIN, UNSORTED
from ..heap.arenas import Arena, Heap
from ..heap.bins import FreeList, kind_of, regular_lists
from ..heap.fastbins import fast_lists
from ..heap.heaps import Walked
from ..heap.links import is_linked
from ..heap.mmapped import MmappedChunks
from ..heap.places import Places
from ..heap.regular import has_few, unsorted_is_shorter
from ..heap.scan import each_chunk
from ..heap.states import NAMES, REGULAR, State
from ..heap.tcache import tcache_lists
from ..heap.walk import FREE
from ..report.model import Note
from ..report.notes import note
from ..snapshots.mmaps import Mmapped
from ..snapshots.reading import MallocReading
from ..snapshots.walks import FEW
from .chunk import (
    BINNED,
    FAST,
    IN_USE,
    LISTED,
    MMAPPED,
    OVERHEAD,
    TCACHE,
    TOP,
    UNKNOWN,
    Chunk,
    Seen,
    Wanted,
)


class Listed(NamedTuple):
    """The chunks of a free list in order, as far as it can be followed: addresses and sizes."""

    addresses: array[int]
    sizes: array[int]


class Inventory:
    """The chunks of one libc's malloc. What is found wrong is added to `problems`."""

    def __init__(self, reading: MallocReading, problems: list[Problem]) -> None:
        self.reading = reading
        self.libc = reading.libc
        self.path = self.libc.path
        self._problems = problems
        self._space = reading.space
        self._outline = outline = reading.outline
        problems += reading.aborted
        self.note([*self.libc.problems, *outline.caches.problems, *outline.problems])
        for arena in outline.arenas:
            self.note(list(arena.problems))
        self._lists: dict[int, dict[tuple[State, int], FreeList]] = {}
        self._noted: set[tuple[int, tuple[Heap, ...]]] = set()
        self._sides: dict[int, tuple[bool, Places]] = {}
        self._compared: set[int] = set()

    @property
    def arenas(self) -> list[Arena]:
        return self._outline.arenas

    @property
    def held(self) -> int:
        """Bytes that this malloc has from the system."""
        heaps = (heap.size for arena in self.arenas for heap in arena.heaps)
        return sum(heaps) + self.libc.parameters["mmapped_mem"]

    @property
    def missing_tcaches(self) -> Note | None:
        """Why some tcaches weren't found, so that their chunks look in use; None if all were."""
        return self._outline.caches.missing

    def note(self, problems: list[Problem]) -> None:
        """Add what was found wrong: once, and marked where a thread was just changing it."""
        known = {(each.code, each.arena, each.thread) for each in self._problems if each.in_motion}
        stopped = self._space.pace.problem()
        if stopped is not None:  # of all that wasn't read this is told once
            problems = [stopped, *(each for each in problems if each.code != UNREAD)]
        for problem in self.reading.in_motion(problems):
            told = (problem.code, problem.arena, problem.thread) in known
            if not told and problem not in self._problems:
                self._problems.append(problem)

    @cached_property
    def _mmapped(self) -> Mmapped:
        self.note(self.reading.mmapped.found.problems)
        return self.reading.mmapped.found

    @property
    def mmapped(self) -> MmappedChunks:
        """The mmapped chunks; none where those that were found aren't those that mp_ counts."""
        return self.reading.mmapped.headers if self._mmapped.certain else MmappedChunks()

    @property
    def uncertain_mmapped(self) -> Note | None:
        """Tell that mmapped chunks are missing, since they were not found for certain."""
        if self._mmapped.certain:
            return None
        number, size = (self.libc.parameters[name] for name in ("n_mmaps", "mmapped_mem"))
        return note("mmapped_uncertain", number=number, size=size)

    def may_be_mmapped(self, address: int) -> bool:
        """Tell whether an address may be of a mmapped chunk that is missing."""
        places = () if self._mmapped.certain else self.reading.mmapped.places
        return any(address in place for place in places) and not self.in_stack(address)

    def in_stack(self, address: int) -> bool:
        """Tell whether an address is of a thread's stack."""
        return any(stack.start <= address < stack.end for stack in self.reading.stacks)

    def arena_at(self, address: int) -> Arena | None:
        """Return the arena that has this address in one of its heaps."""
        heap = self._outline.index.at(address)
        return self.arenas[heap.arena] if heap else None

    def parts(self, arena: Arena, wanted: Wanted) -> list[Walked]:
        """Return an arena's heaps that may have wanted chunks, as a walk finds them; what is wrong
        in them is noted.
        """
        heaps = arena.heaps if arena.main else tuple(filter(wanted.reaches, arena.heaps))
        parts = self.reading.walks.over(arena, heaps).parts or []
        if (arena.index, heaps) not in self._noted:
            self._noted.add((arena.index, heaps))
            self.note(list(self.reading.walks.fast(arena).problems))
            for part in parts:
                found = (*part.tally.problems, *part.tally.flaws)
                self.note([replace(each, arena=arena.index) for each in found])
        return [part for part in parts if wanted.reaches(part.heap)]

    def compare(self, arena: Arena) -> None:
        """Note where the chunks of an arena and its free lists don't agree, once all its heaps have
        been walked.
        """
        if (arena.index, arena.heaps) in self._noted and arena.index not in self._compared:
            self._compared.add(arena.index)
            self.note(self.reading.arena(arena).problems())

    def seen(
        self, arena: Arena, part: Walked, start: int | None = None, before: int = 0
    ) -> Iterator[Seen]:
        """Yield the chunks of one heap, its top too; as far as the walk came.

        From `start` on: those that lie there, and at least so many before it, if there are any.
        """
        heap, layout, overlay = part.heap, self.libc.layout, self.reading.walks.overlay(arena)
        structs = dict(self._outline.caches.structs)
        first = None if start is None else part.tally.landmarks.before(start, before)
        walked = replace(heap, first=first or heap.first, end=part.tally.end)
        cut = None if part.whole else part.tally.end  # what tells the last chunk's state is damaged
        try:
            for address, size, state in each_chunk(self._space, layout, walked, overlay):
                if state == State.TCACHE and address in structs:
                    yield Seen(address, size, OVERHEAD)
                elif address + size == cut and state in (State.IN_USE, State.BINNED):
                    linked = is_linked(self._outline.links, address)
                    yield Seen(address, size, BINNED if linked else IN_USE)
                else:
                    yield Seen(address, size, NAMES[state])
        except MemoryFault:  # behind the last chunk that the walk could read
            pass
        holds_top = bool(arena.top_size) and arena.top in heap
        end = arena.top if holds_top and arena.top >= part.tally.end else heap.end
        if not part.whole and part.tally.end < end:
            yield Seen(part.tally.end, end - part.tally.end, UNKNOWN)
        if holds_top and end == arena.top:
            yield Seen(arena.top, arena.top_size, TOP)

    def seen_mmapped(self) -> Iterator[Seen]:
        """Yield the mmapped chunks."""
        cached = self._outline.caches.mmapped
        for chunk in self.mmapped:
            state = TCACHE if chunk.address in cached else MMAPPED
            yield Seen(chunk.address, chunk.size, state)

    def chunk(self, seen: Seen, arena: Arena | None, part: Walked | None) -> Chunk:
        """Return a chunk with all that is known of it."""
        index = arena.index if arena else None
        heap = part.heap.address if part else None
        listed = self.list_of(seen, arena) if seen.state in LISTED else None
        return Chunk(*seen, index, heap, listed.name if listed else None, self.path)

    def list_of(self, chunk: Seen | Chunk, arena: Arena | None) -> FreeList | None:
        """Return the free list that a chunk hangs in, None without one."""
        if chunk.state == TCACHE:
            return self._tcached.get(chunk.address)
        if arena is None or chunk.state not in LISTED:
            return None
        lists = self.free_lists(arena)
        if chunk.state == FAST:
            index = self.libc.layout.fast_index(chunk.size)
            return lists.get((State.FAST, index))
        index = self.libc.layout.bin_index(chunk.size)
        if self._is_unsorted(chunk.address, arena):
            index = UNSORTED
        return lists.get((kind_of(index), index))

    def free_lists(self, arena: Arena) -> dict[tuple[State, int], FreeList]:
        """Return the free lists of an arena that hold chunks, by kind and index, in that order."""
        if arena.index not in self._lists:
            layout, links = self.libc.layout, self._outline.links
            fast = fast_lists(self._space, layout, arena, links)
            regular = regular_lists(self._space, layout, arena, links)
            self._lists[arena.index] = {(e.kind, e.index): e for e in (*fast, *regular)}
        return self._lists[arena.index]

    def bin_at(self, address: int) -> str | None:
        """Return the regular bin whose pseudo-chunk, the head of its list, is at this address."""
        for arena in self.arenas:
            for index in range(UNSORTED, LAST_BIN + 1):
                if address == self.libc.layout.bin_at(arena.address, index):
                    return f"head of {NAMES[kind_of(index)]} bin {index} of arena {arena.index}"
        return None

    def follow(self, listed: FreeList, arena: Arena | None) -> Listed:
        """Return the chunks of a free list; where it breaks is noted, but of a tcache's, which was
        when it was read.
        """
        found = Listed(array("Q"), array("Q"))

        def visit(address: int, size: int, *_: int) -> None:
            found.addresses.append(address)
            found.sizes.append(size)

        problems = listed.follow(None, visit).problems
        if arena is not None:
            self.note([replace(problem, arena=arena.index) for problem in problems])
        return found

    def _is_unsorted(self, chunk: int, arena: Arena) -> bool:
        """Tell whether a binned chunk hangs in the unsorted list."""
        if arena.index not in self._sides:
            self._sides[arena.index] = self._fewer(arena)
        unsorted, places = self._sides[arena.index]
        return (chunk in places) == unsorted

    def _fewer(self, arena: Arena) -> tuple[bool, Places]:
        """Return the unsorted chunks, or all sorted ones if those are fewer, and which they are.

        Where neither can be followed to its end, the unsorted ones as far as their list goes.
        """
        lists = [each for each in self.free_lists(arena).values() if each.kind in REGULAR]
        joined = None if has_few(lists, FEW) else self._joined(arena, lists[:1])
        if joined is not None:
            return True, joined
        sides = Places(), Places()
        shorter = unsorted_is_shorter(lists, [partial(_add, side) for side in sides])
        if shorter is not None:
            return shorter, sides[0 if shorter else 1]
        found = Places()
        for each in lists[:1]:
            if each.kind is State.UNSORTED:
                for chunk in self.follow(each, arena).addresses:
                    found.add(chunk)
        return True, found

    def _joined(self, arena: Arena, first: list[FreeList]) -> Places | None:
        """Return the unsorted chunks as their list, the first one, is joined from a table; None
        where it must be followed: not all free chunks are linked both ways, or there is no table.
        """
        walks, found = self.reading.walks, Places()
        for each in first if self.reading.arena(arena, apart=False).bins.links else ():
            table = walks.free_table(arena, both_ways=False)
            if each.kind is not State.UNSORTED or table is None:
                break
            walks.fill(arena, {FREE: table.given})
            if table.join(each.ends) is not None:
                table.add_to(found)
                return found
        return None

    @cached_property
    def _tcached(self) -> dict[int, FreeList]:
        """The list of each cached chunk."""
        layout, found = self.libc.layout, dict[int, FreeList]()
        for cache in self._outline.caches.caches:
            assert layout.tcache is not None
            record = self._space.read_struct(layout.tcache, cache.tcache.address)
            lwp, links = cache.tcache.lwp, self._outline.links
            for each in tcache_lists(self._space, layout, lwp, record, links):
                each.follow(None, lambda chunk, *_, each=each: found.update({chunk: each}))
        return found


def _add(places: Places, chunk: int, size: int) -> None:
    places.add(chunk)
