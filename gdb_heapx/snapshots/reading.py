"""The malloc of one libc, open for reading: each part is read once, when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MemoryFault, Problem, StoppedError
from ..heap.arenas import Arena
from ..heap.bins import ArenaBins, FreeChunks, regular_lists
from ..heap.heaps import free_chunks
from ..heap.holes import Holes, Trimmer
from ..heap.left import LeftThread, left_threads
from ..heap.motion import aborted, mark_motion
from ..heap.outline import read_outline
from ..heap.regular import has_few, read_regular, told_apart
from ..heap.states import State
from ..heap.walk import FREE
from ..locate.libcs import Libc
from ..locate.loader import own_variable
from ..locate.stacks import Stack, thread_stacks
from ..report.model import Note
from ..report.notes import note
from ..target.target import Target
from .arena import ArenaReading
from .mmaps import MmappedSearch
from .walks import FEW, Walk, Walks

if TYPE_CHECKING:
    from ..heap.table import LinkTable


NOT_APART = (
    "some chunks hang in lists of other sizes than theirs: heapx bins --chunks follows these lists"
)


class Identity(NamedTuple):
    """Which libc: its file, its build-id where it has one, and its release; nothing without one."""

    libc: str | None = None
    build_id: str | None = None
    release: str | None = None


class _Waiting(NamedTuple):
    """What of an arena is needed to tell its regular bins apart when the target runs on."""

    arena: Arena
    bins: ArenaBins
    free: FreeChunks
    table: LinkTable


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
        self._arenas: dict[tuple[int, bool, bool], ArenaReading] = {}
        self._waiting: dict[int, _Waiting] = {}  # by the arena's number
        self.walks = Walks(target.space, libc.layout, self.outline, self.trimmer)

    @property
    def arenas(self) -> list[Arena]:
        return self.outline.arenas

    @property
    def unused(self) -> bool:
        """Whether nobody was ever served."""
        most = self.arenas[0].record["max_system_mem"] if self.arenas else 1
        return not most and not self.libc.parameters["max_n_mmaps"]

    @property
    def identity(self) -> Identity:
        return Identity(self.libc.path, self.libc.image.build_id, self.libc.found[0].value)

    def arena(
        self, arena: Arena, walk: bool = True, apart: bool = True, wait: bool = False
    ) -> ArenaReading:
        """Return what the lists of an arena say beside what the walk over all its chunks finds; if
        need be, with the regular bins told `apart`. They may `wait` for tell_apart, where they can.
        """
        key = arena.index, walk, apart
        if key not in self._arenas:
            if wait and arena.index in self._waiting and (arena.index, walk, False) in self._arenas:
                return self._arenas[arena.index, walk, False]
            self.outline.links.begin()
            table = self._table(arena) if walk and apart else None
            found = self._compared(arena, walk, apart and not (wait and table), table)
            if wait and table and any(b.kind is State.BINNED for b in found.bins.bins):
                if self._may_wait(found, table):
                    self._arenas[arena.index, walk, False] = found
                    return found
                found = self._compared(arena, walk, apart, table)
            self._arenas[key] = found
        return self._arenas[key]

    def _may_wait(self, found: ArenaReading, table: LinkTable) -> bool:
        """Tell whether an arena's regular bins are told apart later, by a table; then they wait."""
        from ..heap.table import may_be_kept

        free = free_chunks(found.arena, found.walked)
        if free is None or not table.has_all(sum(free.sizes.values())):
            return False
        if not may_be_kept((table, *(each.table for each in self._waiting.values()))):
            return False
        table.let_target_go()
        self._waiting[found.arena.index] = _Waiting(found.arena, found.bins, free, table)
        return True

    def tell_apart(self) -> tuple[dict[int, ArenaBins], list[Problem]]:
        """Tell the regular bins apart that wait for it, without the target. Return them with the
        fastbins, by the numbers of their arenas, but those where that was stopped; and what is
        wrong with the others.
        """
        told, problems = dict[int, ArenaBins](), list[Problem]()
        for index, (arena, together, free, table) in self._waiting.items():
            lists = regular_lists(self.space, self.libc.layout, arena, self.outline.links)
            bins = told_apart(self.space, self.libc.layout, list(lists), free, table)
            if bins is None:
                if self.space.pace.stopped is None:
                    problems.append(Problem("check_failed", NOT_APART, arena.address, index))
                continue
            fast = (each for each in together.bins if each.kind is State.FAST)
            told[index] = replace(together, bins=(*fast, *bins))
            found = self._arenas.get((index, True, False))
            if found is not None:  # what was read is kept
                self._arenas[index, True, True] = replace(found, bins=told[index])
        self._waiting.clear()
        return told, problems

    def draw(self) -> None:
        """Have what fills heaps found wherever they are read from now on."""
        if self.walks.draw():
            self._arenas.clear()

    def forget(self) -> None:
        """Drop what was read of arenas: whoever asks for it again has it read again."""
        self._arenas.clear()
        self.walks.forget()

    def _compared(
        self, arena: Arena, walk: bool, apart: bool, table: LinkTable | None
    ) -> ArenaReading:
        space, outline, layout = self.space, self.outline, self.libc.layout
        nothing = Walk(None, Holes(self.trimmer, space.residency))
        walked, holes = self.walks.over(arena, arena.heaps) if walk else nothing
        free = free_chunks(arena, walked)
        regular = read_regular(space, layout, arena, outline.links, free, apart, table)
        bins = ArenaBins.joined(self.walks.fast(arena, walk), regular)
        return ArenaReading(
            arena, bins, walked, holes, outline.caches, layout, space.residency, space.page
        )

    def _table(self, arena: Arena) -> LinkTable | None:
        """Return an arena's free chunks in a table, where so many must be told apart that this
        costs less than following lists.
        """
        if arena.size < FEW * self.libc.layout.min_size:
            return None
        lists = list(regular_lists(self.space, self.libc.layout, arena, self.outline.links))
        table = None if has_few(lists, FEW) else self.walks.free_table(arena)
        if table is not None:
            self.walks.fill(arena, {FREE: table.given})
        return table

    @cached_property
    def mmapped(self) -> MmappedSearch:
        """The chunks with a mapping of their own, when they are searched for."""
        return MmappedSearch(self.space, self.libc, self.outline, lambda: self.stacks)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that nptl mapped for threads."""
        return thread_stacks(self.target, self.libc)

    @cached_property
    def left(self) -> tuple[LeftThread, ...]:
        """The threads that a fork has left in the parent; () where nothing tells of a fork."""
        if self.target.facts.parent is None:
            return ()
        return left_threads(self.target, self.libc, self.arenas, self.outline.index)

    @cached_property
    def program_break(self) -> int | None:
        """The program break as sbrk(0) of this libc would tell it (misc/sbrk.c), None if unknown.

        ld.so has a __curbrk of its own, and debug symbols don't tell which one gdb means: .dynsym
        does, or where it lies. Without it, the break is where the mapping of the main heap ends.
        """
        image = self.libc.own
        address = own_variable(self.target, image, self.libc.inside, "__curbrk")
        if address is not None and (not image.mappings or address in image):
            try:
                return self.space.read_word(address)
            except StoppedError:
                return None
            except MemoryFault:
                pass
        heap = self.space.mapping_at(self.libc.parameters["sbrk_base"])
        return heap.end if heap else None

    @cached_property
    def aborted(self) -> list[Problem]:
        """What glibc said when it ended the process, if it did; once, though there are two."""
        return [] if self.libc.debugs else aborted(self.target, self.libc)

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
