"""A region's chunks, read run by run: ever more at once, and little behind a large chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..glibc.layout import FLAGS, PREV_INUSE, Layout, align_up
from ..target.target import Residency, Target
from .holes import missing
from .lists import BUCKET

BLOCK = 1 << BUCKET  # bytes read at once at most
GRAIN = 8  # bytes; every chunk's address and size is a multiple, whatever the architecture
FIELDS = 6  # words of a malloc_chunk
SMALLEST_READ = 16 << 10  # bytes read behind a large chunk, whose inside nobody needs


class Run(NamedTuple):
    """Consecutive chunks of one read.

    `fields` are what lies every GRAIN bytes from the first prev_size, size, fd, bk, fd_nextsize and
    bk_nextsize on; `words` is each chunk's size word, and `freed` the index of each free chunk in
    grains from `start`; -1 is the chunk before the run. `feet` is the sum of the prev_size words
    behind the free ones. The last chunk's state isn't known yet. `end` is where the next one lies.
    """

    start: int
    end: int
    fields: tuple[Sequence[int], ...]
    words: list[int]
    freed: list[int]
    feet: int

    @property
    def free(self) -> list[int]:
        """The indexes of the free chunks of this run, without the one before it."""
        return self.freed[1:] if self.freed[:1] == [-1] else self.freed

    @property
    def sizes(self) -> Sequence[int]:
        return self.fields[1]

    def foot(self, index: int) -> int:
        """Return prev_size behind the free chunk at this index."""
        return self.fields[0][index + (self.sizes[index] // GRAIN) if index >= 0 else 0]

    def size_at(self, chunk: int) -> int:
        return self.sizes[(chunk - self.start) // GRAIN] & ~FLAGS


class Scanner:
    """Reads the chunks of a region run by run: ever more at once, little behind a large chunk."""

    def __init__(self, target: Target, layout: Layout, residency: Residency | None) -> None:
        self._target = target
        self._smallest = layout.min_size
        self._residency = residency
        self._window = SMALLEST_READ

    def run(self, address: int, stop: int) -> Run:
        """Return the chunks that begin in one read from `address` on, below `stop`."""
        end = min((address & -BLOCK) + BLOCK, stop, address + self._window)
        if missing(self._residency, address, end)[1]:
            # Reading brings swapped pages back: only those where a header lies.
            end = min(end, align_up(address + 1, self._target.page))
        run = self._scan(address, end)
        skipped = run.end - end > SMALLEST_READ
        self._window = SMALLEST_READ if skipped else min(2 * self._window, BLOCK)
        return run

    def _scan(self, address: int, end: int) -> Run:
        """Return the chunks that begin in [address, end).

        This is the inner loop: one word a chunk.
        """
        word = self._target.word
        data = self._target.bulk_words(address, max((end - address) // word, 2))
        step = GRAIN // word
        fields = tuple(data[number::step] for number in range(FIELDS))
        before, sizes = fields[:2]
        smallest, count, index, previous, feet = self._smallest, len(sizes), 0, -1, 0
        words: list[int] = []
        freed: list[int] = []
        append = words.append
        while index < count:
            size = sizes[index]
            if size < smallest:
                break
            append(size)
            if not size & PREV_INUSE:
                freed.append(previous)
                feet += before[index]
            previous = index
            index += size >> 3
        following = address + index * GRAIN
        return Run(address, following, fields, words, freed, feet)


def each_chunk(
    target: Target, layout: Layout, start: int, stop: int
) -> Iterator[tuple[int, int, bool]]:
    """Yield the chunks of a region that a walk went over: address, size, in use by the tags.

    MemoryFault where memory can't be read.
    """
    scanner = Scanner(target, layout, target.residency)
    address = start
    words: list[int] = []
    while address < stop:
        run = scanner.run(address, stop)
        if not run.words:
            break
        words = words[-1:] + run.words  # the next run tells the last one's state
        sizes = [word & ~FLAGS for word in words]
        in_use = [bool(word & PREV_INUSE) for word in words[1:]]
        address = run.end
        yield from zip(accumulate(sizes, initial=address - sum(sizes)), sizes, in_use)
    for word in words[-1:]:
        size = word & ~FLAGS
        yield address - size, size, bool(target.read_word(address + target.word) & PREV_INUSE)
