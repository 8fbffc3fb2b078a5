"""The walk over the chunks of a region: streamed block by block, folded, nothing kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from .errors import MemoryFault, Problem
from .layout import FLAGS, IS_MMAPPED, NON_MAIN_ARENA, PREV_INUSE, Layout
from .lists import BUCKET, Overlay
from .target import Target

BLOCK = 1 << BUCKET  # bytes read at once at most
SMALLEST_READ = 16 << 10  # bytes read behind a large chunk, whose inside nobody needs


@dataclass
class Tally:
    """What a walk found: chunks by size, those in use and those free by the boundary tags.

    The overlaid chunks are those of `used` that an Overlay names. `free_address_sum` identifies the
    set of free chunks without keeping it; the sums of their links tell whether their lists close.
    `end` is where the walk ended: at its stop, or at what is no chunk. `last_in_use` is the last
    chunk in use that the program holds.
    """

    used: Counter[int] = field(default_factory=Counter)
    free: Counter[int] = field(default_factory=Counter)
    free_address_sum: int = 0
    free_fd_sum: int = 0
    free_bk_sum: int = 0
    overlaid_chunks: int = 0
    overlaid_bytes: int = 0
    last_in_use: int | None = None
    end: int = 0
    problems: list[Problem] = field(default_factory=list)

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
    target: Target, layout: Layout, start: int, stop: int, main: bool, overlay: Overlay
) -> Tally:
    """Fold the chunks from `start` up to `stop`, the top chunk or the end of a heap.

    A word smaller than MINSIZE ends the walk quietly (`end` < `stop`): the caller knows fenceposts.
    """
    walker = _Walker(target, layout, main, overlay)
    address = start
    try:
        while address < stop:
            following = walker.fold_block(address, stop)
            if following == address:
                break
            address = following
        walker.close(address, stop)
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


class _Run(NamedTuple):
    """Consecutive chunks of one read: the words from the first size word on, the indexes there of
    each chunk's size word, and those size words.
    """

    start: int
    word: int
    data: Sequence[int]
    indexes: list[int]
    words: list[int]

    def address(self, i: int) -> int:
        return self.start + self.indexes[i] * self.word


class _Carried(NamedTuple):
    """The last chunk of a run; whether it is in use, the next run's first word tells."""

    address: int
    word: int
    links: Sequence[int]
    overlaid: bool


class _Walker:
    """Folds runs of chunks; carries the last one of each, whose state the next one tells."""

    def __init__(self, target: Target, layout: Layout, main: bool, overlay: Overlay) -> None:
        self.tally = Tally()
        self._target = target
        self._layout = layout
        self._overlay = overlay
        # Free chunks of non-main arenas lack NON_MAIN_ARENA, so it is checked in the main one only.
        self._forbidden = IS_MMAPPED | (NON_MAIN_ARENA if main else 0)
        self._window = SMALLEST_READ
        self._block, self._block_overlay = -1, frozenset[int]()
        self._carried: _Carried | None = None

    def fold_block(self, address: int, stop: int) -> int:
        """Fold the chunks that begin in one read from `address` on; return where the next lies."""
        end = min((address & -BLOCK) + BLOCK, stop, address + self._window)
        run, following = self._scan(address, end)
        if not run.words:
            return address
        skipped = following - end > SMALLEST_READ
        self._window = SMALLEST_READ if skipped else min(2 * self._window, BLOCK)
        self._check(run)
        overlay = self._overlay_of(address & -BLOCK)
        if overlay:
            self._meet(overlay, run, following)
        self._fold(run, overlay)
        return following

    def _overlay_of(self, block: int) -> frozenset[int]:
        if block != self._block:
            self._block, self._block_overlay = block, self._overlay.within(block)
        return self._block_overlay

    def _scan(self, address: int, end: int) -> tuple[_Run, int]:
        """Return the chunks that begin in [address, end), and where the next one lies.

        This is the inner loop: one word a chunk.
        """
        word = self._target.word
        data = self._target.words(address + word, max((end - address) // word - 1, 1))
        smallest, count, index = self._layout.min_size, len(data), 0
        indexes: list[int] = []
        append = indexes.append
        if word == 8:
            while index < count:
                size = data[index]
                if size < smallest:
                    break
                append(index)
                index += size >> 3
        else:
            while index < count:
                size = data[index]
                if size < smallest:
                    break
                append(index)
                index += size >> 3 << 1
        words = list(map(data.__getitem__, indexes))
        return _Run(address, word, data, indexes, words), address + index * word

    def _check(self, run: _Run) -> None:
        """Raise at the first size word that no chunk can have; fold what is before it."""
        bad = self._forbidden | (self._layout.alignment - 1 & ~FLAGS)
        if not any(word & bad for word in set(run.words)):
            return
        index = next(i for i, word in enumerate(run.words) if word & bad)
        if index:
            self._fold(run._replace(words=run.words[:index]), frozenset())
        address = run.address(index)
        statement = f"chunk {address:#x} has the impossible size word {run.words[index]:#x}"
        raise _BadChunkError("bad_size", address, statement)

    def _meet(self, overlay: frozenset[int], run: _Run, following: int) -> None:
        """Count the overlay's chunks in a run; each must be one that the walk came by."""
        words = {run.address(i): word for i, word in enumerate(run.words)}
        for chunk in overlay:
            if chunk in words:
                self.tally.overlaid_chunks += 1
                self.tally.overlaid_bytes += words[chunk] & ~FLAGS
            elif run.start <= chunk < following:
                statement = f"cached chunk {chunk:#x} does not lie where the walk finds chunks"
                self.tally.problems.append(Problem("cached_misplaced", statement, chunk))

    def _fold(self, run: _Run, overlay: frozenset[int]) -> None:
        """Count the chunks whose successor is known; the last one is carried over."""
        words, last = run.words, len(run.words) - 1
        self._settle(words[0])
        free = [i for i, word in enumerate(words) if not word & PREV_INUSE and i]
        free_words = Counter([words[i - 1] for i in free])
        counts = Counter(words)
        counts[words[last]] -= 1
        for word, count in counts.items():
            self.tally.used[word & ~FLAGS] += count - free_words[word]
        for word, count in free_words.items():
            self.tally.free[word & ~FLAGS] += count
        at = [run.indexes[i - 1] for i in free]
        self.tally.free_address_sum += run.start * len(at) + sum(at) * run.word
        self.tally.free_fd_sum += sum([run.data[i + 1] for i in at])
        self.tally.free_bk_sum += sum([run.data[i + 2] for i in at])
        for i in range(last, 0, -1):
            if words[i] & PREV_INUSE and run.address(i - 1) not in overlay:
                self.tally.last_in_use = run.address(i - 1)
                break
        address = run.address(last)
        links = run.data[run.indexes[last] + 1 : run.indexes[last] + 3]
        if len(links) < 2:
            links = self._target.words(address + 2 * run.word, 2)
        self._carried = _Carried(address, words[last], links, address in overlay)

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

    def close(self, address: int, stop: int) -> None:
        """Count the last chunk by the word at `address`: top's, or a fencepost's."""
        if self._carried:
            if address > stop:
                chunk, size = self._carried.address, self._carried.word & ~FLAGS
                statement = f"chunk {chunk:#x} of size {size:#x} reaches beyond its heap"
                raise _BadChunkError("bad_size", chunk, statement)
            self._settle(self._target.read_word(address + self._target.word))
            self._carried = None
