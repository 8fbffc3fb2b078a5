"""A heap's chunks, read run by run: ever more at once, and little behind a large chunk."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, islice
from operator import itemgetter

from ..errors import MemoryFault, Problem
from ..glibc.layout import (
    CHUNK_WORDS,
    FD,
    FD_NEXTSIZE,
    FLAGS,
    IS_MMAPPED,
    NON_MAIN_ARENA,
    PREV_INUSE,
    PREV_SIZE,
    SIZE,
    Layout,
    align_up,
)
from ..target.space import Space
from .arenas import Heap
from .holes import missing
from .places import BUCKET, NOWHERE, Overlay, Places
from .states import State
from .told import GRAIN

AT_ONCE = 1 << BUCKET  # bytes read at once at most
SMALLEST_READ = 16 << 10  # bytes read behind a large chunk, whose inside nobody needs
LARGEST_SIZE = 1 << 47  # of a chunk


@dataclass  # not frozen: settled in place, for a copy of a run of one large chunk costs as it does
class Run:
    """Consecutive chunks, each with its state known: the size word behind the last one was read.

    `words` is each chunk's size word, `counts` the number of chunks by that. `free` is the index of
    each free chunk (by its tags) in grains from `start`, `following` the size word at `end`, where
    the next chunk lies. `fields` are what lies every GRAIN bytes from the first prev_size, size,
    fd, bk, fd_nextsize and bk_nextsize on. `foot` is prev_size behind the last chunk, `feet` the
    sum of those behind the free ones. `fast` and `cached` are the chunks in use that an Overlay
    names; `claimed` are those that it names though their tags say that they are free.
    """

    start: int
    end: int
    words: list[int]
    counts: Counter[int]
    free: list[int]
    fields: tuple[Sequence[int], ...]
    following: int
    foot: int
    feet: int
    fast: frozenset[int] = NOWHERE
    cached: frozenset[int] = NOWHERE
    claimed: dict[int, State] = field(default_factory=dict)

    def of_free(self, field: int) -> tuple[int, ...]:
        """Return a field of each free chunk, by its number in `fields`."""
        return self._pick(self.fields[field])[:-1] if self.free else ()

    @cached_property
    def _pick(self) -> Callable[[Sequence[int]], tuple[int, ...]]:
        return itemgetter(*self.free, 0)  # one more, since it makes no tuple of a single item

    @cached_property
    def free_counts(self) -> Counter[int]:
        """The number of free chunks by size word."""
        return Counter(self.of_free(SIZE))

    @property
    def free_addresses(self) -> list[int]:
        """Where each free chunk lies."""
        start = self.start
        return [start + i * GRAIN for i in self.free]

    @cached_property
    def addresses(self) -> list[int]:
        """Where each chunk lies."""
        sizes = map((~FLAGS).__and__, islice(self.words, len(self.words) - 1))
        return list(accumulate(sizes, initial=self.start))

    @property
    def states(self) -> bytes:
        """The State of each chunk; of a free one that it is BINNED, since tags don't tell where.

        Where a list has it, that counts: tags are in the next header, which an overflow overwrites.
        """
        used, free = State.IN_USE, State.BINNED
        following = chain(islice(self.words, 1, None), (self.following,))
        states = bytearray([used if word & PREV_INUSE else free for word in following])
        for state, chunks in ((State.TCACHE, self.cached), (State.FAST, self.fast)):
            for chunk in chunks:
                states[bisect_left(self.addresses, chunk)] = state
        for chunk, state in self.claimed.items():
            states[bisect_left(self.addresses, chunk)] = state
        return bytes(states)

    def size_at(self, chunk: int) -> int:
        return self.fields[SIZE][(chunk - self.start) // GRAIN] & ~FLAGS

    def foot_of(self, index: int) -> int:
        """Return prev_size behind the chunk at this index."""
        behind = index + self.fields[SIZE][index] // GRAIN
        end = self.start + behind * GRAIN
        return self.foot if end == self.end else self.fields[PREV_SIZE][behind]

    def before(self, number: int) -> Run:
        """Return its first chunks, so many if any; the next one tells the last one's state."""
        number = max(number, 0)
        words = self.words[:number]
        end = self.start + sum(word & ~FLAGS for word in words)
        free = [i for i in self.free if self.start + i * GRAIN < end]
        foot = self.fields[0][(end - self.start) // GRAIN]
        feet = sum(map(self.foot_of, free))
        counts, following = Counter(words), self.words[number]
        return Run(self.start, end, words, counts, free, self.fields, following, foot, feet)


class BadChunkError(Exception):
    """A size word that no chunk can have, where a chunk must lie: that of this index in a run."""

    def __init__(self, address: int, index: int, statement: str) -> None:
        super().__init__(statement)
        self.address = address
        self.index = index
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

    def runs(self, advance: Callable[[int], int] | None = None) -> Iterator[Run]:
        """Yield the runs up to the heap's end, or to a word smaller than MINSIZE: fenceposts.

        Before each run `advance`, if given, may go on over chunks; it returns where it has come.
        BadChunkError or MemoryFault where it doesn't go on; the state of the chunk before that
        isn't known, so it is in no run.
        """
        while self.end < self._heap.end:
            self.end = advance(self.end) if advance else self.end
            run = self._read(self.end)
            if not run.words:
                break
            bad = self._bad_chunk(run)
            self.end = bad.address if bad else run.end
            fault: Exception | None = bad
            try:
                settled = run.before(bad.index - 1) if bad else self._settled(run)
            except MemoryFault as error:
                fault, settled = error, run.before(len(run.words) - 1)
            if settled.words:
                yield self._labelled(settled)
            if fault:
                raise fault
            del run, settled  # what was read is let go before as much is read again

    def _read(self, address: int) -> Run:
        """Return the chunks that begin in one read from `address` on, the last one not settled."""
        end = min((address & -AT_ONCE) + AT_ONCE, self._heap.end, address + self._window)
        if missing(self._space.residency, address, end)[1]:
            # Reading brings swapped pages back: only those where a header lies.
            end = min(end, align_up(address + 1, self._space.page))
        run = self._scan(address, end)
        skipped = run.end - end > SMALLEST_READ
        self._window = SMALLEST_READ if skipped else min(2 * self._window, AT_ONCE)
        return run

    def _fields(self, address: int, end: int) -> tuple[Sequence[int], ...]:
        word = self._space.word
        data = self._space.words(address, max((end - address) // word, 2))
        return tuple([data[number :: GRAIN // word] for number in range(CHUNK_WORDS)])

    def _scan(self, address: int, end: int) -> Run:
        """Return the chunks that begin in [address, end).

        This is the inner loop: one word a chunk.
        """
        fields = self._fields(address, end)
        before, sizes = fields[:2]
        smallest, in_use, index, previous, feet = self._smallest, PREV_INUSE, 0, -1, 0
        words: list[int] = []
        free: list[int] = []
        append = words.append
        try:
            while (size := sizes[index]) >= smallest:
                append(size)
                if not size & in_use:
                    free.append(previous)
                    feet += before[index]
                previous = index
                index += size >> 3
        except IndexError:  # beyond what was read
            pass
        if free[:1] == [-1]:  # the chunk before the run, which is settled
            del free[0]
            feet -= before[0]
        end = address + index * GRAIN
        return Run(address, end, words, Counter(words), free, fields, 0, 0, feet)

    def _bad_chunk(self, run: Run) -> BadChunkError | None:
        """Return the error that a chunk of a run can't be one, the first such."""
        bad = [word for word in run.counts if word & self._bad]
        if bad:
            index = min(map(run.words.index, bad))
            statement = f"has the impossible size word {run.words[index]:#x}"
        elif run.end > self._heap.end:
            index = len(run.words) - 1
            statement = f"of size {run.words[-1] & ~FLAGS:#x} reaches beyond its heap"
        else:
            return None
        return BadChunkError(run.addresses[index], index, statement)

    def _settled(self, run: Run) -> Run:
        """Return a run with its last chunk's state; without that chunk where what tells it is bad.

        MemoryFault where it can't be read.
        """
        foot, following = self._space.words(run.end, 2)
        size = following & ~FLAGS
        goes_on = run.end < self._heap.end and size >= self._smallest
        if goes_on and (following & self._bad or size > self._heap.end - run.end):
            return run.before(len(run.words) - 1)
        run.foot, run.following = foot, following
        last = run.end - (run.words[-1] & ~FLAGS)
        index = (last - run.start) // GRAIN
        if following & PREV_INUSE:
            if self._overlay.told is not None and index >= len(run.fields[FD]):
                run.fields = self._fields(run.start, last + self._layout.min_size)
            return run
        if not self._layout.header <= size <= LARGEST_SIZE:  # neither a chunk, nor top or fencepost
            run.foot = run.words[-1] & ~FLAGS
        links = CHUNK_WORDS if run.words[-1] >= self._layout.smallest_large else FD_NEXTSIZE
        if index >= len(run.fields[links - 1]):
            run.fields = self._fields(run.start, last + links * self._space.word)
        run.free.append(index)
        run.feet += run.foot
        return run

    def _labelled(self, run: Run) -> Run:
        """Return a run with the chunks that the overlay names; each must be one of its own.

        What is free by its tags stays that, but for its state.
        """
        run.fast = self._met(run, self._overlay.fast, State.FAST)
        run.cached = self._met(run, self._overlay.cached, State.TCACHE)
        if (told := self._overlay.told) is not None:
            looking = told.among(run.start, run.words, run.counts, run.fields[FD])
            run.fast |= frozenset(looking).difference(run.cached, run.free_addresses)
        return run

    def _met(self, run: Run, places: Places, state: State) -> frozenset[int]:
        expected = places.between(run.start, run.end)
        if not expected:
            return expected
        met = expected.intersection(run.addresses)
        self.misplaced += sorted(expected - met)
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
