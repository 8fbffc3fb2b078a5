"""The walk over the chunks of a region: streamed block by block, folded, nothing kept."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from operator import add
from typing import NamedTuple

from ..errors import MemoryFault, Problem, SwappedOutError
from ..glibc.layout import FLAGS, IS_MMAPPED, NON_MAIN_ARENA, PREV_INUSE, Layout
from ..target.target import Target
from .holes import Holes, missing
from .lists import BUCKET, Overlay, Places, swapped_out
from .scan import GRAIN, Run, Scanner

FLAWS = 8  # of a region that are told
LARGEST_SIZE = 1 << 47  # of a chunk


class Skips(NamedTuple):
    """Sums over the large chunks that link to those of the next size: of their addresses, and of
    their fd_nextsize and bk_nextsize.
    """

    address_sum: int
    fd_sum: int
    bk_sum: int

    def plus(self, other: Skips) -> Skips:
        return Skips(*map(add, self, other))


NO_SKIPS = Skips(0, 0, 0)


@dataclass
class Tally:
    """What a walk found: chunks by size, those in use and those free by the boundary tags.

    The overlaid chunks are those of `used` that an Overlay names. `free_address_sum` identifies the
    set of free chunks without keeping it; the sums of their links tell whether their lists close,
    `skips` are the same three sums of those that have fd_nextsize or bk_nextsize.
    `free_absent` are those bytes of the free chunks, by size, that aren't resident, `free_swapped`
    those that are swapped.
    `end` is where the walk ended: at its stop, or at what is no chunk. `problems` ended it, or make
    its figures doubtful; `flaws` don't. `last_in_use` is the last
    chunk in use that the program holds. `landmarks` are chunks, one in each block of the region.
    """

    used: Counter[int] = field(default_factory=Counter)
    free: Counter[int] = field(default_factory=Counter)
    free_address_sum: int = 0
    free_fd_sum: int = 0
    free_bk_sum: int = 0
    skips: Skips = NO_SKIPS
    free_absent: Counter[int] = field(default_factory=Counter)
    free_swapped: Counter[int] = field(default_factory=Counter)
    overlaid_chunks: int = 0
    overlaid_bytes: int = 0
    last_in_use: int | None = None
    end: int = 0
    landmarks: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    flaws: list[Problem] = field(default_factory=list)

    def landmark(self, address: int, back: int = 0) -> int | None:
        """Return a chunk at this address or before it, with so many chunks between the two; the
        first one where there are fewer, None without any.
        """
        at = bisect_right(self.landmarks, address) - 1 - back
        return self.landmarks[max(at, 0)] if self.landmarks else None

    @property
    def bytes(self) -> int:
        """Bytes of all chunks that were walked over."""
        return sum(size * count for size, count in chain(self.used.items(), self.free.items()))

    @property
    def free_chunks(self) -> int:
        return sum(self.free.values())

    @property
    def free_bytes(self) -> int:
        return sum(size * count for size, count in self.free.items())

    @property
    def used_chunks(self) -> int:
        return sum(self.used.values())

    @property
    def used_bytes(self) -> int:
        return sum(size * count for size, count in self.used.items())


def walk(
    target: Target,
    layout: Layout,
    start: int,
    stop: int,
    main: bool,
    overlay: Overlay | None = None,
    holes: Holes | None = None,
) -> Tally:
    """Fold the chunks from `start` up to `stop`, the top chunk or the end of a heap.

    A word smaller than MINSIZE ends the walk quietly (`end` < `stop`): the caller knows fenceposts.
    Without `holes` pages are not looked at.
    """
    walker = _Walker(target, layout, main, overlay or Overlay.empty(), holes)
    address = start
    try:
        while address < stop:
            following = walker.fold_block(address, stop)
            if following == address:
                break
            address = following
        walker.close(address, stop)
    except SwappedOutError as fault:
        walker.tally.problems.append(swapped_out("the heap", fault.address))
    except MemoryFault as fault:
        statement = f"chunk header {fault.address:#x} cannot be read"
        walker.tally.problems.append(Problem("unreadable", statement, fault.address))
    except _BadChunkError as bad:
        walker.tally.problems.append(bad.problem)
        address = bad.address
    walker.tally.end = address
    return walker.tally


class _BadChunkError(Exception):
    def __init__(self, code: str, address: int, statement: str) -> None:
        super().__init__(statement)
        self.address = address
        self.problem = Problem(code, statement, address)


class _Carried(NamedTuple):
    """The last chunk of a run; whether it is in use, the next run's first word tells."""

    address: int
    word: int
    links: Sequence[int]
    overlaid: bool


class _Walker:
    """Folds runs of chunks; carries the last one of each, whose state the next one tells."""

    def __init__(
        self, target: Target, layout: Layout, main: bool, overlay: Overlay, holes: Holes | None
    ) -> None:
        self.tally = Tally()
        self._target = target
        self._layout = layout
        self._overlay = overlay
        self._holes = holes
        # Free chunks of non-main arenas lack NON_MAIN_ARENA, so it is checked in the main one only.
        forbidden = IS_MMAPPED | (NON_MAIN_ARENA if main else 0)
        self._bad = forbidden | (layout.alignment - 1 & ~FLAGS)
        self._large = layout.smallest_large
        self._scanner = Scanner(target, layout, target.residency)
        self._carried: _Carried | None = None

    def fold_block(self, address: int, stop: int) -> int:
        """Fold the chunks that begin in one read from `address` on; return where the next lies."""
        run = self._scanner.run(address, stop)
        if not run.words:
            return address
        landmarks = self.tally.landmarks
        if not landmarks or landmarks[-1] >> BUCKET != address >> BUCKET:
            landmarks.append(address)
        counts = Counter(run.words)
        bad = [word for word in counts if word & self._bad]
        if bad:
            index = min(map(run.words.index, bad))
            statement = f"has the impossible size word {run.words[index]:#x}"
            raise self._bad_chunk(run, index, statement)
        if run.end > stop:
            statement = f"of size {run.words[-1] & ~FLAGS:#x} reaches beyond its heap"
            raise self._bad_chunk(run, len(run.words) - 1, statement)
        fast = self._met(run, self._overlay.fast)
        self._fold(run, counts, fast | self._met(run, self._overlay.cached))
        if self._holes:
            self._note_holes(self._holes, run, fast)
        return run.end

    def _bad_chunk(self, run: Run, index: int, statement: str) -> _BadChunkError:
        """Fold what is before a chunk of the run that can't be one; return the error."""
        words = run.words[:index]
        address = run.start + sum(word & ~FLAGS for word in words)
        if words:
            last = address - (words[-1] & ~FLAGS)
            freed = [i for i in run.freed if run.start + i * GRAIN < last]
            feet = sum(map(run.foot, freed))
            run = run._replace(end=address, words=words, freed=freed, feet=feet)
            self._fold(run, Counter(words), frozenset())
        return _BadChunkError("bad_size", address, f"chunk {address:#x} {statement}")

    def _met(self, run: Run, places: Places) -> frozenset[int]:
        """Return the overlay's chunks in a run, counted; each must be one that the walk came by."""
        expected = places.between(run.start, run.end)
        if not expected:
            return frozenset()
        sizes = map((~FLAGS).__and__, run.words)
        met = expected.intersection(accumulate(sizes, initial=run.start)) - {run.end}
        self.tally.overlaid_chunks += len(met)
        self.tally.overlaid_bytes += sum(map(run.size_at, met))
        for chunk in sorted(expected - met):
            statement = f"cached chunk {chunk:#x} does not lie where the walk finds chunks"
            self.tally.problems.append(Problem("cached_misplaced", statement, chunk))
        return met

    def _fold(self, run: Run, counts: Counter[int], overlay: frozenset[int]) -> None:
        """Count the chunks whose successor is known; the last one is carried over."""
        words = run.words
        at = run.free
        carried = self._carried.word & ~FLAGS if len(at) < len(run.freed) and self._carried else 0
        self._settle(words[0])
        _, sizes, fds, bks, *_ = run.fields
        free_words = Counter([sizes[i] for i in at])
        counts[words[-1]] -= 1
        for word, count in counts.items():
            self.tally.used[word & ~FLAGS] += count - free_words[word]
        free_bytes = carried
        for word, count in free_words.items():
            self.tally.free[word & ~FLAGS] += count
            free_bytes += (word & ~FLAGS) * count
        self.tally.free_address_sum += run.start * len(at) + sum(at) * GRAIN
        self.tally.free_fd_sum += sum([fds[i] for i in at])
        self.tally.free_bk_sum += sum([bks[i] for i in at])
        if free_bytes != run.feet:
            self._note_feet(run, carried)
        if max(free_words, default=0) >= self._large:
            self._note_skips(run, [i for i in at if sizes[i] >= self._large])
        last = run.end - (words[-1] & ~FLAGS)
        self._note_last_in_use(run, last, overlay)
        links = self._target.words(
            last + 2 * self._target.word, 4 if words[-1] >= self._large else 2
        )
        self._carried = _Carried(last, words[-1], links, last in overlay)

    def _note_feet(self, run: Run, carried: int) -> None:
        """Note the free chunks whose size isn't the prev_size behind them."""
        for i in run.freed:
            size = carried if i < 0 else run.sizes[i] & ~FLAGS
            if run.foot(i) != size:
                self._bad_foot(
                    run.start + i * GRAIN if i >= 0 else run.start - size, size, run.foot(i)
                )

    def _bad_foot(self, chunk: int, size: int, foot: int) -> None:
        if len(self.tally.flaws) < FLAWS:
            statement = (
                f"free chunk {chunk:#x} has size {size:#x}, prev_size behind it is {foot:#x}"
            )
            self.tally.flaws.append(Problem("bad_prev_size", statement, chunk))

    def _note_skips(self, run: Run, at: list[int]) -> None:
        """Add the large chunks that link to those of the next size."""
        *_, fds, bks = run.fields
        at = [i for i in at if fds[i] or bks[i]]
        address_sum = run.start * len(at) + sum(at) * GRAIN
        found = Skips(address_sum, sum([fds[i] for i in at]), sum([bks[i] for i in at]))
        self.tally.skips = self.tally.skips.plus(found)

    def _note_holes(self, holes: Holes, run: Run, fast: frozenset[int]) -> None:
        """Add a run's free space to the holes, and what of its free chunks isn't resident.

        Chunks too small for a page matter only beside fast ones.
        """
        at, sizes = run.free, run.sizes
        if missing(holes.residency, run.start, run.end)[0]:
            for i in at:
                self._note_absent(holes, run.start + i * GRAIN, sizes[i] & ~FLAGS)
        if not fast:
            smallest = holes.trimmer.smallest
            beside = [i for i in at[:1] if run.start + i * GRAIN == holes.end]
            at = beside + [i for i in at[len(beside) :] if sizes[i] >= smallest]
        for chunk in sorted(fast.union([run.start + i * GRAIN for i in at])):
            holes.add(chunk, run.size_at(chunk), chunk in fast)

    def _note_absent(self, holes: Holes, chunk: int, size: int) -> None:
        absent, swapped = missing(holes.residency, chunk, chunk + size)
        if absent:
            self.tally.free_absent[size] += absent
            self.tally.free_swapped[size] += swapped

    def _note_last_in_use(self, run: Run, last: int, overlay: frozenset[int]) -> None:
        """Note the last chunk before `last` that the program holds."""
        address = last
        for i in range(len(run.words) - 1, 0, -1):
            address -= run.words[i - 1] & ~FLAGS
            if run.words[i] & PREV_INUSE and address not in overlay:
                self.tally.last_in_use = address
                return

    def _settle(self, following: int) -> None:
        """Count the carried chunk: the size word of the one after it tells its state."""
        if self._carried is None:
            return
        size = self._carried.word & ~FLAGS
        if following & PREV_INUSE:
            self.tally.used[size] += 1
            if not self._carried.overlaid:
                self.tally.last_in_use = self._carried.address
        else:
            self.tally.free[size] += 1
            self.tally.free_address_sum += self._carried.address
            self.tally.free_fd_sum += self._carried.links[0]
            self.tally.free_bk_sum += self._carried.links[1]
            if any(self._carried.links[2:]):
                found = Skips(self._carried.address, *self._carried.links[2:])
                self.tally.skips = self.tally.skips.plus(found)
            if self._holes:
                self._note_absent(self._holes, self._carried.address, size)
                self._holes.add(self._carried.address, size, False)

    def close(self, address: int, stop: int) -> None:
        """Count the last chunk by the word at `address`: top's, or a fencepost's."""
        if self._carried:
            chunk, size = self._carried.address, self._carried.word & ~FLAGS
            foot, following = self._target.words(address, 2)
            self._settle(following)
            sound = self._layout.header <= following & ~FLAGS <= LARGEST_SIZE  # top, or a fencepost
            if sound and not following & PREV_INUSE and foot != size:
                self._bad_foot(chunk, size, foot)
            self._carried = None
        if self._holes:
            self._holes.close(stop)
