"""A heap's chunks, read run by run: ever more at once, and little behind a large chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from ..errors import MemoryFault, Problem
from ..glibc.layout import (
    BK,
    CHUNK_WORDS,
    FD,
    FLAGS,
    IS_MMAPPED,
    NON_MAIN_ARENA,
    PREV_INUSE,
    PREV_SIZE,
    SIZE,
    Layout,
    align_up,
)
from ..target.space import Space, Words
from .arenas import Heap
from .holes import missing
from .places import BUCKET, Overlay, Places
from .runs import Run
from .states import State
from .told import GRAIN, GRAIN_BITS

AT_ONCE = 1 << BUCKET  # bytes read at once at most, all of one bucket
SMALLEST_READ = 16 << 10  # bytes read behind a large chunk, whose inside nobody needs
MOST_WORDS = 1 << 14  # size words that are remembered
LARGEST_SIZE = 1 << 47  # of a chunk


class BadChunkError(Exception):
    """A size word that no chunk can have, where a chunk must lie."""

    def __init__(self, address: int, statement: str) -> None:
        super().__init__(statement)
        self.problem = Problem("bad_size", f"chunk {address:#x} {statement}", address)


def forbidden_bits(layout: Layout, heap: Heap) -> int:
    """Return the bits that no size word in a heap has."""
    # Free chunks of non-main arenas lack NON_MAIN_ARENA, so it is checked in the main one only.
    flags = IS_MMAPPED | (NON_MAIN_ARENA if heap.arena == 0 else 0)
    return flags | (layout.alignment - 1 & ~FLAGS)


class Scanner:
    """Reads the chunks of a heap run by run; `end` is where the next one lies, or what is no chunk.

    `misplaced` are chunks that an Overlay names where no chunk lies.
    """

    def __init__(self, space: Space, layout: Layout, heap: Heap, overlay: Overlay) -> None:
        self.end = heap.first
        self.misplaced: list[int] = []
        self._space = space
        self._layout = layout
        self._heap = heap
        self._overlay = overlay
        self._bad = forbidden_bits(layout, heap)
        self._smallest = layout.min_size
        self._window = SMALLEST_READ
        self._steps: dict[int, int] = {}

    def runs(self, advance: Callable[[int], int] | None = None) -> Iterator[Run]:
        """Yield the runs up to the heap's end, or to a word smaller than MINSIZE: fenceposts.

        Before each run `advance`, if given, may go on over chunks; it returns where it has come.
        BadChunkError or MemoryFault where it doesn't go on; the state of the chunk before that
        isn't known, so it is in no run.
        """
        while self.end < self._heap.end:
            self.end = advance(self.end) if advance else self.end
            run = self._read(self.end) if self.end < self._heap.end else None
            if run is None:
                break
            fault: MemoryFault | None = None
            try:
                self._settle(run)
            except MemoryFault as error:
                fault = error
            if run.end > run.start:
                yield self._labelled(run)
            if fault:
                raise fault
            del run  # what was read is let go before as much is read again

    def _read(self, address: int) -> Run | None:
        """Return the chunks that begin in one read from `address` on, but for the last one; None
        where a word is smaller than MINSIZE. BadChunkError where no chunk lies.
        """
        end = min((address & -AT_ONCE) + AT_ONCE, self._heap.end, address + self._window)
        if missing(self._space.residency, address, end)[1]:
            # Reading brings swapped pages back: only those where a header lies.
            end = min(end, align_up(address + 1, self._space.page))
        run = self._scan(address, end)
        if run.following < self._smallest:
            return None
        if self._beyond(run) and run.end > address:
            run = self._scan(address, run.end)  # without what would tell the state of another one
        if run.following & self._bad:
            raise BadChunkError(address, f"has the impossible size word {run.following:#x}")
        if self._beyond(run):
            size = run.following & ~FLAGS
            raise BadChunkError(address, f"of size {size:#x} reaches beyond its heap")
        skipped = run.end + (run.following & ~FLAGS) - end > SMALLEST_READ
        self._window = SMALLEST_READ if skipped else min(2 * self._window, AT_ONCE)
        return run

    def _fields(self, address: int, end: int) -> tuple[Words, ...]:
        word = self._space.word
        data = self._space.words(address, max((end - address) // word, 2))
        return tuple([data[number :: GRAIN // word] for number in range(CHUNK_WORDS)])

    def _scan(self, address: int, end: int) -> Run:
        """Return the chunks that begin in [address, end), but for the last one.

        This is the inner loop: one word a chunk.
        """
        fields = self._fields(address, end)
        before, sizes, steps = fields[PREV_SIZE], fields[SIZE], self._steps
        used: list[int] = []
        free: list[int] = []
        used_by: dict[int, list[int]] = defaultdict(list)
        free_by: dict[int, list[int]] = defaultdict(list)
        index, size, feet = 0, sizes[0], 0
        step, goes_on = size >> GRAIN_BITS, self._learn(size)
        while goes_on:
            try:
                while True:
                    behind = index + step
                    following = sizes[behind]
                    step = steps[following]
                    if step > 0:
                        used.append(index)
                        used_by[size].append(index)
                    else:
                        free.append(index)
                        free_by[size].append(index)
                        feet += before[behind]
                        step = -step
                    index, size = behind, following
            except IndexError:  # beyond what was read
                goes_on = False
            except KeyError:
                goes_on = self._learn(following)
        end, foot = address + index * GRAIN, before[index]
        return Run(address, end, used, used_by, free, free_by, fields, size, foot, feet)

    def _beyond(self, run: Run) -> bool:
        """Tell whether the chunk at a run's end reaches beyond the heap."""
        return run.end + (run.following & ~FLAGS) > self._heap.end

    def _learn(self, word: int) -> bool:
        """Learn how many grains lie from this size word to the next one, less than none if it says
        that the chunk before it is free. False if it is none that a chunk has.
        """
        if word < self._smallest or word & self._bad:
            return False
        if len(self._steps) >= MOST_WORDS:
            self._steps.clear()
        grains = word >> GRAIN_BITS
        self._steps[word] = grains if word & PREV_INUSE else -grains
        return True

    def _settle(self, run: Run) -> None:
        """Add the chunk at a run's end, if what lies behind that tells its state.

        MemoryFault where it can't be read.
        """
        chunk, word = run.end, run.following
        self.end = chunk + (word & ~FLAGS)
        foot, following = self._space.words(self.end, 2)
        size = following & ~FLAGS
        goes_on = self.end < self._heap.end and size >= self._smallest
        if goes_on and (following & self._bad or size > self._heap.end - self.end):
            return
        used = bool(following & PREV_INUSE)
        index = (chunk - run.start) // GRAIN
        number = self._words_of(word, used)
        if index >= len(run.fields[number - 1]):
            run.fields = self._fields(run.start, chunk + number * self._space.word)
        if not used and not self._layout.header <= size <= LARGEST_SIZE:
            foot = word & ~FLAGS  # neither a chunk lies there, nor top or fencepost
        run.end, run.following, run.foot = self.end, following, foot
        run.feet += 0 if used else foot
        (run.used if used else run.free).append(index)
        (run.used_by if used else run.free_by)[word].append(index)

    def _words_of(self, word: int, used: bool) -> int:
        """Return how many words of a chunk with this size word are looked at."""
        if used:
            return SIZE + 1 if self._overlay.told is None else FD + 1
        return CHUNK_WORDS if word >= self._layout.smallest_large else BK + 1

    def _labelled(self, run: Run) -> Run:
        """Return a run with the chunks that the overlay names; each must be one of its own.

        What is free by its tags stays that, but for its state.
        """
        start, fast = run.start, self._met(run, self._overlay.fast, State.FAST)
        run.cached = self._met(run, self._overlay.cached, State.TCACHE) - fast
        run.listed = sorted([(chunk - start) // GRAIN for chunk in fast])
        if (told := self._overlay.told) is not None:
            others = {(chunk - start) // GRAIN for chunk in fast | run.cached}
            run.told = told.among(start, run.used_by, run.fields[FD], others)
        return run

    def _met(self, run: Run, places: Places, state: State) -> frozenset[int]:
        expected = places.between(run.start, run.end)
        if not expected:
            return expected
        met = expected.intersection(run.addresses)
        self.misplaced += expected - met
        free = met.intersection(run.free_addresses)
        if free:
            run.claimed.update(dict.fromkeys(free, state))
        return met - free


def each_chunk(
    space: Space, layout: Layout, heap: Heap, overlay: Overlay
) -> Iterator[tuple[int, int, int]]:
    """Yield the chunks of a heap that a walk went over: address, size, and State (Run.states).

    MemoryFault where memory can't be read.
    """
    for run in Scanner(space, layout, heap, overlay).runs():
        sizes = [word & ~FLAGS for word in run.words]
        yield from zip(run.addresses, sizes, run.states)
