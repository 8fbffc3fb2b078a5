"""The malloc of one libc, open for reading: each part is read once, when it is asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from ..errors import MemoryFault, Problem
from ..glibc.layout import align_down, align_up
from ..heap.arenas import Arena, Heap
from ..heap.bins import ArenaBins, read_regular
from ..heap.heaps import Walked, free_chunks, walk_arena
from ..heap.holes import Holes, Trimmer
from ..heap.mmapped import BAD_MMAPPED, MmappedChunk, are_all, find_damaged, find_mmapped
from ..heap.motion import aborted, mark_motion
from ..heap.outline import read_outline
from ..heap.pagepins import PagePins
from ..heap.pingroups import ENOUGH, PinGroups, size_and_state
from ..heap.walk import walk
from ..locate.libcs import Libc
from ..locate.loader import own_variable
from ..locate.nptl import Stack, thread_stacks
from ..report.model import Note
from ..report.notes import note
from ..target.mappings import Mapping, outside
from ..target.target import Target
from .arena import ArenaReading


class Identity(NamedTuple):
    """Which libc: its file, its build-id where it has one, and its release."""

    libc: str
    build_id: str | None
    release: str


class Mmapped(NamedTuple):
    """The mmapped chunks that were found, whether they are exactly those that mp_ counts, and what
    is wrong with headers of theirs.
    """

    chunks: tuple[MmappedChunk, ...]
    certain: bool
    problems: list[Problem]


class _Walk(NamedTuple):
    """The heaps that were walked over, None without a walk, the free space between chunks, and
    what keeps pages.
    """

    parts: list[Walked] | None
    holes: Holes
    pins: PinGroups


class MallocReading:
    """What one libc's malloc says of itself, read at once, and its chunks, when they are asked for.

    It holds as long as the target stands still.
    """

    def __init__(self, target: Target, libc: Libc) -> None:
        self.libc = libc
        self.target = target
        self.space = target.space
        self.outline = read_outline(target, libc)
        self.trimmer = Trimmer(target.space)
        self._arenas: dict[tuple[int, bool], ArenaReading] = {}
        self._walks: dict[tuple[int, tuple[Heap, ...]], _Walk] = {}

    @property
    def arenas(self) -> list[Arena]:
        return self.outline.arenas

    @property
    def identity(self) -> Identity:
        return Identity(self.libc.path, self.libc.image.build_id, self.libc.found[0].value)

    def walked(self, arena: Arena, heaps: tuple[Heap, ...]) -> _Walk:
        """Return some heaps of an arena, as the walk over their chunks finds them, and the holes
        between these.
        """
        if (arena.index, heaps) not in self._walks:
            own = frozenset(self.outline.caches.owners)
            holes = Holes(self.trimmer, self.space.residency, own)
            only, overlay = replace(arena, heaps=heaps), self.outline.overlay
            pins = PinGroups(size_and_state, ENOUGH)
            parts = walk_arena(self.space, self.libc.layout, only, overlay, holes, pins)
            self._walks[arena.index, heaps] = _Walk(parts, holes, pins)
        return self._walks[arena.index, heaps]

    def arena(self, arena: Arena, walk: bool = True) -> ArenaReading:
        """Return what the lists of an arena say beside what the walk over all its chunks finds."""
        if (arena.index, walk) not in self._arenas:
            self._arenas[arena.index, walk] = self._compared(arena, walk)
        return self._arenas[arena.index, walk]

    def _compared(self, arena: Arena, walk: bool) -> ArenaReading:
        space, outline, layout = self.space, self.outline, self.libc.layout
        nothing = _Walk(None, Holes(self.trimmer, space.residency), PinGroups(size_and_state))
        walked, holes, pins = self.walked(arena, arena.heaps) if walk else nothing
        regular = read_regular(space, layout, arena, outline.links, free_chunks(arena, walked))
        bins = ArenaBins.joined(outline.fast[arena.index], regular)
        read = arena, bins, walked, holes, outline.caches, layout, space.residency, space.page
        return ArenaReading(*read, pins)

    def add_page_pins(self, arena: Arena, groups: PinGroups) -> None:
        """Add what keeps pages of an arena from malloc_trim, all of it: in a walk of its own."""
        layout, overlay = self.libc.layout, self.outline.overlay
        for part in self.walked(arena, arena.heaps).parts or ():
            heap = replace(part.heap, end=part.tally.end)
            pins = PagePins(self.trimmer, groups, arena.top)
            walk(self.space, layout, heap, overlay, [pins])

    @cached_property
    def mmapped(self) -> Mmapped:
        """The chunks with a mapping of their own; they must be searched for."""
        space, layout, parameters = self.space, self.libc.layout, self.libc.parameters
        number, total = parameters["n_mmaps"], parameters["mmapped_mem"]
        mappings = self.may_hold_mmapped
        room = sum(mapping.size for mapping in space.mappings)
        if space.mappings and max(total, number * space.page) > room:
            statement = (
                f"mp_ counts {number:,} mmapped chunks of {total:,} bytes: more than is mapped"
            )
            return Mmapped((), False, [Problem(BAD_MMAPPED, statement, parameters.address)])
        found = find_mmapped(space, layout, mappings, number, total)
        damaged = find_damaged(space, layout, mappings, found, number, total)
        found = tuple(sorted((*found, *(chunk for chunk, _ in damaged))))
        certain = are_all(found, number, total)
        return Mmapped(found, certain, [problem for _, problem in damaged])

    @cached_property
    def may_hold_mmapped(self) -> list[Mapping]:
        """The parts of mappings that mmapped chunks may lie in: anonymous, and in no heap.

        The kernel may show a chunk and a heap beside it as one mapping: newer releases (2.41, not
        2.36) don't map heaps NORESERVE. Where brk grows there are none.
        """
        page, main = self.space.page, self.arenas[0] if self.arenas else None
        heaps = [heap for arena in self.arenas for heap in arena.heaps]
        spans = [
            (align_down(heap.address, page), align_up(heap.address + heap.reserved, page))
            for heap in heaps
        ]
        brk = [heap.address for heap in main.heaps] if main and main.contiguous else []
        likely = (
            mapping
            for mapping in self.space.mappings
            if mapping.anonymous
            and not mapping.name.startswith(("[stack", "[heap"))
            and not any(base in mapping for base in brk)
        )
        return list(outside(likely, spans))

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that nptl mapped for threads."""
        return thread_stacks(self.target, self.libc)

    @cached_property
    def program_break(self) -> int | None:
        """The program break as sbrk(0) of this libc would tell it (misc/sbrk.c), None if unknown.

        ld.so has a __curbrk of its own, and debug symbols don't tell which one gdb means: .dynsym
        does, or where it lies. Without it, the break is where the mapping of the main heap ends.
        """
        image = self.libc.image
        address = own_variable(self.target, image, self.libc.main_arena, "__curbrk")
        if address is not None and (not image.mappings or address in image):
            with suppress(MemoryFault):
                return self.space.read_word(address)
        heap = self.space.mapping_at(self.libc.parameters["sbrk_base"])
        return heap.end if heap else None

    @cached_property
    def aborted(self) -> list[Problem]:
        """What glibc said when it ended the process, if it did."""
        return aborted(self.target, self.libc)

    def in_motion(self, problems: list[Problem]) -> tuple[Problem, ...]:
        """Return problems, marked where a thread was just changing what they are about."""
        return mark_motion(self.target, self.libc, self.arenas, self.outline.caches, problems)

    @property
    def doubts(self) -> tuple[Note, ...]:
        """What wasn't found by debug symbols (the chunks have proven it), and which tcaches are
        missing.
        """
        missing = self.outline.caches.missing
        return (*self._guesses(), *((missing,) if missing else ()))

    def _guesses(self) -> tuple[Note, ...]:
        how = {found.what: found.how for found in self.libc.found}
        if self.libc.proven:
            return ()
        ways = sorted({how["main_arena"], how["mp_"]})
        return (note("guessed", path=self.libc.path, ways=ways),)
