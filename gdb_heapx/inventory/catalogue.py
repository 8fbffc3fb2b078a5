"""Every chunk of a target: to go through, to count, and to find by an address inside it."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from ..errors import (
    LOST_IN_SWAP,
    NOT_REACHED,
    CutShortError,
    HeapxError,
    MemoryFault,
    Problem,
    StoppedError,
)
from ..glibc.layout import FLAGS
from ..heap.arenas import HEAP_CHAIN, RING_BROKEN, Arena
from ..heap.heaps import Walked
from ..heap.states import NAMES
from ..recognise.surroundings import Surroundings
from ..records import dataclass
from ..report.model import Note
from ..report.notes import sentence
from ..snapshots.opened import Opened
from ..target.amounts import Amount, amount_of
from .chunk import ALL, CHUNK_STATES, TAGGED, TOP, UNKNOWN, Chunk, Seen, Wanted
from .libc import Inventory
from .standing_heaps import StandingHeaps

Hold = Callable[[Opened, bool], "Held"]
if TYPE_CHECKING:
    from ..held.held import Held
    from ..reach.typed import ChunkTypes

LOSES_HEAPS = (HEAP_CHAIN, RING_BROKEN, LOST_IN_SWAP, NOT_REACHED)


@dataclass(frozen=True)
class Around:
    """A chunk, and those that lie next to it in its heap, in the order of addresses."""

    chunk: Chunk
    before: tuple[Chunk, ...] = ()
    after: tuple[Chunk, ...] = ()


@dataclass(frozen=True)
class Position:
    """Where a chunk hangs in its free list: its `place` from 1, and its neighbours' addresses."""

    chunks: int
    place: int
    previous: int | None
    following: int | None


class ListedChunk(NamedTuple):
    """A chunk of a bin: the arena's index, the bin's kind and number, its `place` in it from 1."""

    arena: int
    kind: str
    bin: int
    place: int
    address: int
    size: int
    libc: str


class _Place(NamedTuple):
    """Where a chunk was seen; a mmapped one is in no arena."""

    inventory: Inventory
    arena: Arena | None
    part: Walked | None

    def chunk(self, seen: Seen) -> Chunk:
        return self.inventory.chunk(seen, self.arena, self.part)

    def seen(self, start: int | None = None, before: int = 0) -> Iterator[Seen]:
        if self.arena is None or self.part is None:
            return self.inventory.seen_mmapped()
        return self.inventory.seen(self.arena, self.part, start, before)


class Catalogue:
    """The chunks of all mallocs of a target that was opened, read while it is stopped.

    `source` is the target itself, `target` what is told of it. `problems` are what was found wrong
    so far: more may come while chunks are read. `hold` holds the chunks in use, `held` tells
    whether that was done before.
    """

    walked = True

    def __init__(self, opened: Opened, hold: Hold | None = None, held: bool = False) -> None:
        if opened.refused:
            raise opened.refused
        self.opened, self._hold, self._held = opened, hold, held
        self.source = opened.target
        self.problems: list[Problem] = [*opened.problems]
        self.inventories = [Inventory(reading, self.problems) for reading in opened.mallocs]
        self.target = opened.target.facts
        self._pace = opened.target.space.pace
        self.word = opened.target.space.word
        self.identity = opened.mallocs[0].identity
        self.unused = not any(inventory.held for inventory in self.inventories)
        self.allocators = opened.allocators(self.unused)
        self._lost = opened.lost

    def hold(self, passes: bool = False) -> Held:
        """Return the chunks in use: where they are too many, in `passes`, or with a HeapxError."""
        from ..held.held import hold_alone  # what few commands need is imported by these

        return (self._hold or hold_alone)(self.opened, passes)

    @cached_property
    def types(self) -> ChunkTypes | None:
        """What chunks in use are, as `heapx types` says; None where a look at all would be long."""
        from ..reach.typed import types_if_short

        return types_if_short(self.opened, self.hold, self._held)

    @cached_property
    def surroundings(self) -> Surroundings:
        """What recognisers may ask about what lies around a chunk."""
        return Surroundings(self.source, StandingHeaps(self.inventories, self.source.space))

    @property
    def stopped(self) -> Problem | None:
        """The problem that reading was stopped before all that was wanted was read; None else."""
        return self._pace.problem()

    @property
    def libcs(self) -> tuple[str, ...]:
        """The libcs, by names that tell them apart."""
        return tuple(each.path for each in self.inventories)

    def arenas(self) -> tuple[Arena, ...]:
        """Return the arenas of every libc, the program's own first."""
        return tuple(arena for each in self.inventories for arena in each.arenas)

    def chunks(self, wanted: Wanted = ALL) -> Iterator[Chunk]:
        """Yield the chunks that are wanted: arena by arena in the order of addresses, each heap's
        top behind its last chunk, then the mmapped ones.
        """
        goes_on = self._pace.goes_on
        self._pace.begin("listing chunks", sum(each.held for each in self.inventories), lists=True)
        for place in self._places(wanted):
            for seen in wanted.of(place.seen(wanted.start)):
                with suppress(StoppedError):
                    chunk = place.chunk(seen)
                if not goes_on():  # which list a chunk is in isn't sure any more
                    return self.tell()
                self._pace.listed(seen.size)
                yield chunk
        self.tell()

    def tell(self) -> None:
        """Note that reading was stopped, if it was."""
        if self.stopped is not None and self.stopped not in self.problems:
            self.problems.append(self.stopped)

    def count(self, wanted: Wanted = ALL, libc: str | None = None) -> dict[str, tuple[int, int]]:
        """Return how many chunks that are wanted there are in each state, and their bytes; of one
        libc, or of all. Where reading was stopped, as far as that came.
        """
        self._pace.begin("counting chunks")
        found = dict.fromkeys(CHUNK_STATES, (0, 0))
        for place in self._places(wanted, libc):
            seen = Counter(map(itemgetter(1, 2), wanted.of(place.seen(wanted.start))))
            for (size, state), number in seen.items():
                chunks, whole = found[state]
                found[state] = chunks + number, whole + number * size
        return found

    def _places(self, wanted: Wanted, libc: str | None = None) -> Iterator[_Place]:
        inventories = [each for each in self.inventories if libc in (None, each.path)]
        for inventory in inventories:
            for arena in inventory.arenas:
                if wanted.arena in (None, arena.index, arena.address):
                    parts = inventory.parts(arena, wanted)
                    inventory.compare(arena)
                    for part in parts:
                        yield _Place(inventory, arena, part)
        if wanted.arena is None:
            for inventory in inventories:
                yield _Place(inventory, None, None)

    def around(self, address: int, number: int = 0) -> Around | None:
        """Return the chunk that has this address, and so many on each side; None if none has it.

        A header's first address means its own chunk, though the last word of the memory of a chunk
        in use lies there, too: the rest of that word belongs to that memory. HeapxError where
        reading was stopped.
        """
        found = self._found(address, number)
        if self.stopped is not None:
            raise CutShortError(self.stopped)
        return found

    def _found(self, address: int, number: int) -> Around | None:
        here = Wanted(start=address, end=address + 1)
        for inventory in self.inventories:
            arena = inventory.arena_at(address)
            for part in inventory.parts(arena, here) if arena else ():
                return self._around(_Place(inventory, arena, part), address, number)
        for inventory in self.inventories:  # they must be searched for
            for mmapped, seen in zip(inventory.mmapped, inventory.seen_mmapped()):
                if mmapped.start <= address < mmapped.end:
                    return Around(inventory.chunk(seen, None, None))
        return None

    def at(self, address: int) -> Chunk | None:
        """Return the chunk that has this address, None outside of malloc.

        HeapxError where it can't be told.
        """
        found = self.around(address)
        if found is not None and found.chunk.state == UNKNOWN:
            found = None
        why = None if found else self.hidden(address)
        if why:
            raise HeapxError(f"which chunk has {address:#x} is unknown", why)
        return found.chunk if found else None

    def hidden(self, address: int) -> str | None:
        """Say what may hide the chunk that has this address: damage of its arena, heaps that are
        lost, mmapped chunks that weren't found; None where nothing does.
        """
        damage = [problem for problem in self.problems if problem.damage]
        for inventory in self.inventories:
            arena = inventory.arena_at(address)
            if arena is not None:
                in_head = any(h.address <= address < h.first for h in arena.heaps)
                own = (p.statement for p in damage if p.arena == arena.index)
                return None if in_head else next(own, None)
        mapping = self.source.space.mapping_at(address)
        lost = [problem.statement for problem in self.problems if problem.code in LOSES_HEAPS]
        if lost and mapping is not None and mapping.anonymous:
            return lost[0]
        candidates = (each for each in self.inventories if each.may_be_mmapped(address))
        uncertain = next((each.uncertain_mmapped for each in candidates), None)
        return sentence(uncertain) if uncertain else None

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the reader must know about the chunks: what wasn't found, or only guessed."""
        return (*self._lost, *(note for each in self.inventories for note in each.reading.doubts))

    @property
    def uncertain_mmapped(self) -> tuple[Note, ...]:
        """Which mmapped chunks are missing; they must be searched for to tell."""
        told = (each.uncertain_mmapped for each in self.inventories)
        return tuple(each for each in told if each)

    def _around(self, place: _Place, address: int, number: int) -> Around | None:
        before = deque[Seen](maxlen=number)
        chunks = place.seen(address, number + 1)
        last = self.source.space.word  # of a chunk in use lies in the header behind it
        for seen in chunks:
            end = seen.address + seen.size
            if seen.address <= address < end or (
                seen.state in TAGGED and end < address < end + last
            ):
                after = tuple(map(place.chunk, islice(chunks, number)))
                return Around(place.chunk(seen), tuple(map(place.chunk, before)), after)
            before.append(seen)
        return None

    def position(self, chunk: Chunk) -> Position | None:
        """Return where a chunk hangs in its list; None if it isn't found there."""
        inventory = self.inventory_of(chunk)
        arena = next((each for each in inventory.arenas if each.index == chunk.arena), None)
        listed = inventory.list_of(chunk, arena)
        found = inventory.follow(listed, arena).addresses if listed else array("Q")
        if self.stopped is not None:
            raise CutShortError(self.stopped)
        if chunk.address not in found:
            return None
        at = found.index(chunk.address)
        previous = found[at - 1] if at else None
        following = found[at + 1] if at + 1 < len(found) else None
        return Position(len(found), at + 1, previous, following)

    def inventory_of(self, chunk: Chunk) -> Inventory:
        """Return the inventory of the libc that a chunk is of."""
        here = (each for each in self.inventories if each.arena_at(chunk.address))
        mapped = (e for e in self.inventories if any(c.address == chunk.address for c in e.mmapped))
        return next(here, None) or next(mapped)

    def listed(
        self, arena: int | None = None, kind: str | None = None, index: int | None = None
    ) -> Iterator[ListedChunk]:
        """Yield the chunks of the bins of this arena, kind and index, in the order of their lists;
        all for None.
        """
        for inventory in self.inventories:
            for owner in inventory.arenas:
                if arena not in (None, owner.index, owner.address):
                    continue
                for each in inventory.free_lists(owner).values():
                    if kind in (None, NAMES[each.kind]) and index in (None, each.index):
                        of_bin = owner.index, NAMES[each.kind], each.index
                        for place, found in enumerate(zip(*inventory.follow(each, owner)), 1):
                            yield ListedChunk(*of_bin, place, *found, inventory.path)
        self.tell()

    def memory(self, chunk: Chunk) -> tuple[int, int]:
        """Return where the memory of a chunk begins and ends: what malloc returned, and as much as
        may be used of it (malloc_usable_size). Of an unknown one it begins with what should be its
        header.
        """
        if chunk.state == UNKNOWN:
            return chunk.address, chunk.end
        word, shared = self.source.space.word, chunk.state in TAGGED
        if chunk.arena is None:
            shared = bool(self.inventory_of(chunk).libc.layout.mmap_header)
        return chunk.address + 2 * word, chunk.end + (word if shared else 0)

    def smashed(self, chunk: Chunk) -> int | None:
        """Return the size word of a chunk whose header is damaged: of an unknown one, or of top
        where it isn't what is left of its heap; None of a sound one.
        """
        if chunk.state not in (TOP, UNKNOWN):
            return None
        try:
            word = self.source.space.read_word(chunk.address + self.source.space.word)
        except MemoryFault:
            return None
        return None if chunk.state == TOP and word & ~FLAGS == chunk.size else word

    def amount(self, chunk: Chunk) -> Amount:
        """Return what of a chunk is in memory."""
        return amount_of(self.source.space.residency, chunk.address, chunk.end)

    def data(self, address: int, size: int) -> bytes:
        """Return `size` bytes, as far as they can be read page by page, up to the first gap."""
        return self.source.space.bytes_before_gap(address, size)
