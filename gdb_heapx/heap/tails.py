"""How the chunks of a heap end: what lies behind the last one in use, and what holds it there."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import field
from itertools import islice

from ..glibc.layout import FLAGS, SIZE
from ..records import dataclass
from .runs import Run
from .states import State
from .told import GRAIN

_FAST = 1  # in a trail: the lowest bit of a fast chunk's address


@dataclass
class Tails:
    """The end of a heap's chunks. It looks at each run from its end, as far as a chunk in use.

    A chunk is free here if it is binned, or fast: the free() that trims merges those first. `last`
    is the last chunk in use that the program holds, of `last_size` bytes, None without any. From
    `free` on all are free. `island` is where the adjacent chunks begin that end there, none of them
    free; `gap` is the free space before them, which may be empty. `first` is the first chunk that
    isn't binned.

    Once closed: `chunks` of the island; and the last chunks in use that have all the same size,
    `alike` of them, up to where another one ends, at `other`: None if there is none.
    """

    last: int | None = None
    last_size: int = 0
    free: int | None = None
    island: int = 0
    gap: int = 0
    first: int = 0
    chunks: int = 0
    alike: int = 0
    other: int | None = None
    _end: int = 0  # up to where what begins at `free` is free
    _trail: array[int] = field(default_factory=lambda: array("Q"))
    _sizes: array[int] = field(default_factory=lambda: array("Q"))
    _begins: Run | None = None  # the run in which the island begins
    _mixed: Run | None = None  # the last run whose chunks in use differ in size
    _alike: int = 0  # bytes of each chunk in use behind that

    def add(self, run: Run) -> None:
        if len(run) == 1 and self.free is not None and not run.fast and not run.cached:
            self._add_one(run)
            return
        self._add_island(run)
        self._add_alike(run)
        self._add_trail(run)

    def _add_one(self, run: Run) -> None:
        """Add a single large chunk: there are many such runs."""
        start, end, size = run.start, run.end, run.end - run.start
        if run.free:
            self.free, self._end = self.free if start == self._end else start, end
            return
        if self.free != self._end:
            self.gap, self.island = self.free or 0, self._end
            self._begins, self.chunks = None, 0
        self.chunks += 1
        self.free = self._end = end
        self._count_as_alike(size, 1)
        self.last, self.last_size = start, size
        if self._trail:
            del self._trail[:], self._sizes[:]

    def _add_island(self, run: Run) -> None:
        if self.free is None:
            self.free = self._end = self.island = self.gap = run.start
            self.first = run.start + run.size_at(run.start) * (run.free[:1] == [0])
            self._begins = run
        island = self.island
        for start, end in (*_last_two(_spaces(run)), (run.end, run.end)):
            if start != self._end:
                self._add_used(start)
            self._end = end
        if self.island != island:
            self._begins, self.chunks = run, 0
        elif self._begins is not run:
            self.chunks += len(run.used) - len(run.fast)

    def _add_used(self, end: int) -> None:
        """Go on to `end` from where it isn't free."""
        if self.free != self._end:
            self.gap, self.island = self.free or 0, self._end
        self.free = end

    def _add_alike(self, run: Run) -> None:
        """Compare the sizes of the chunks in use with those behind the last that differ."""
        size, number = _size_in_use(run)
        if number < 0:
            self._mixed, self._alike, self.alike, self.other = run, 0, 0, None
        elif number:
            self._count_as_alike(size, number)

    def _count_as_alike(self, size: int, number: int) -> None:
        if size == self._alike:
            self.alike += number
        else:
            if self._alike:
                self._mixed, self.other = None, (self.last or 0) + self.last_size
            self._alike, self.alike = size, number

    def _add_trail(self, run: Run) -> None:
        trail, sizes = array("Q"), array("Q")
        for address, size, state in _from_the_end(run):
            if state is State.IN_USE:
                self.last, self.last_size = address, size
                del self._trail[:], self._sizes[:]
                break
            trail.append(address | (_FAST if state is State.FAST else 0))
            sizes.append(size)
        if trail:
            self._trail += trail[::-1]
            self._sizes += sizes[::-1]

    def close(self, end: int) -> None:
        """Count what was left to be counted."""
        for address, _, state in _from_the_end(self._begins) if self._begins else ():
            if address < self.island:
                break
            self.chunks += state is not State.FAST
        if self._mixed is not None:
            self._count_alike(self._mixed)
        self._begins = self._mixed = None

    def _count_alike(self, run: Run) -> None:
        for address, size, state in _from_the_end(run):
            if state is State.IN_USE:
                self._alike = self._alike or size
                if size != self._alike:
                    self.other = address + size
                    return
                self.alike += 1

    def set_trail(self, chunks: Iterable[tuple[int, int]]) -> None:
        """Set what `trail` yields: address, its lowest bit set of a fast chunk, and size."""
        for word, size in chunks:
            self._trail.append(word)
            self._sizes.append(size)

    @property
    def trail(self) -> Iterator[tuple[int, int, State]]:
        """The chunks in tcaches (or tcaches themselves) and fastbins behind the last one in use,
        from the end: address, size and state.
        """
        for word, size in zip(reversed(self._trail), reversed(self._sizes)):
            yield word & ~_FAST, size, State.FAST if word & _FAST else State.TCACHE

    def without_last(self) -> None:
        """Take back the last chunk, which was a fencepost; what lies before it isn't known."""
        last, gap, island = self.last or 0, self.gap, self.island
        self.free = gap if island == last else last
        self.last, self.chunks, self.alike = None, 0, 0
        self.island = self.gap = self.free


def _spaces(run: Run) -> Iterator[tuple[int, int]]:
    """Yield what is free of a run from the end, each as far as it goes: start and end."""
    start = end = 0
    for chunk, size in _merged_by_trim(run):
        if chunk + size != start and end:
            yield start, end
        end = end if chunk + size == start else chunk + size
        start = chunk
    if end:
        yield start, end


def _merged_by_trim(run: Run) -> Iterator[tuple[int, int]]:
    """Yield the binned and the fast chunks of a run, the last one first: address and size."""
    if run.fast:
        states = (State.BINNED, State.FAST)
        yield from ((chunk, size) for chunk, size, state in run.backwards() if state in states)
    else:
        for i in reversed(run.free):
            yield run.start + i * GRAIN, run.fields[SIZE][i] & ~FLAGS


def _last_two(spaces: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the first two, the second one first: what lies before them doesn't count."""
    return reversed([*islice(spaces, 2)])


def _from_the_end(run: Run) -> Iterator[tuple[int, int, State]]:
    """Yield those that aren't binned."""
    return (each for each in run.backwards() if each[2] is not State.BINNED)


def _size_in_use(run: Run) -> tuple[int, int]:
    """Return the size and the number of a run's chunks in use; -1 of them where sizes differ."""
    if run.fast or run.cached:
        return _alike(size for _, size, state in run.backwards() if state is State.IN_USE)
    sizes = {word & ~FLAGS for word in run.used_by}
    return (0, -1) if len(sizes) > 1 else (max(sizes, default=0), len(run.used))


def _alike(sizes: Iterator[int]) -> tuple[int, int]:
    """Return the one size of these, and how many there are; -1 where one differs."""
    first, number = 0, 0
    for size in sizes:
        if number and size != first:
            return 0, -1
        first, number = size, number + 1
    return first, number
