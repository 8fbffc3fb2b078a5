"""What is reached by the words of chunks, from some words on: the definition of reach.c."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..held.held import Held
from ..held.index import HeldChunk
from ..held.store import COPIED
from ..target.amounts import Amount
from ..target.space import Words
from .states import DEGREE, DEGREES, INSIDE, Degree

SAMPLES = 3
LINKS = 4  # words of a chunk's memory where malloc keeps links while it is free
STEPS = 1 << 16  # chunks that are looked through before anybody is asked whether to go on


@dataclass
class Together:
    """Chunks together: how many, their bytes, and what of these is in RAM and in swap."""

    chunks: int = 0
    bytes: int = 0
    resident: int = 0
    swapped: int = 0

    def add(self, amount: Amount) -> None:
        self.chunks += 1
        self.bytes += amount.bytes
        self.resident += amount.resident or 0
        self.swapped += amount.swapped or 0

    def take(self, other: Together) -> None:
        """Add the chunks of another sum."""
        self.chunks += other.chunks
        self.bytes += other.bytes
        self.resident += other.resident
        self.swapped += other.swapped

    def less(self, other: Together) -> Together:
        """Return this sum without another one that is part of it."""
        return Together(
            self.chunks - other.chunks,
            self.bytes - other.bytes,
            self.resident - other.resident,
            self.swapped - other.swapped,
        )


@dataclass
class Sampled:
    """Chunks of one degree and kind: what they are together, and the headers of some."""

    sum: Together = field(default_factory=Together)
    samples: list[int] = field(default_factory=list)


@dataclass
class Hanging:
    """The heads of one kind with all that hangs from them; `at` is the one with `most` bytes."""

    sum: Together = field(default_factory=Together)
    most: int = 0
    at: int = 0


class Flood:
    """Marks chunks that are reached from words, and from what these reach.

    `states` has a byte for each chunk in use, by its rank; `kinds` what kind each is of, None where
    all are of one, and `number` how many kinds there are. Every method asks the pace whether to go
    on, and fails with StoppedError where not.
    """

    def __init__(self, held: Held, kinds: array[int] | None = None, number: int = 1) -> None:
        self.states = bytearray(held.index.chunks)
        self._held, self._kinds, self._number = held, kinds, number
        self._stack: list[int] = []
        self._words = held.space.as_words(held.store.view)
        self._from: tuple[int, ...] = ()
        self._mark, self._inner = 0, False

    def follow(self, words: Iterable[Words], mark: Degree, inner: bool) -> None:
        """Mark what these words reach and wasn't reached before; with `inner` by pointers to the
        inside of a chunk, too.
        """
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, inner)
        for each in words:
            self._visit(each)
            self._drain()

    def follow_inside(self, mark: Degree) -> None:
        """Mark the chunks that pointers lead into, which nothing else has reached, and all that
        these reach.
        """
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, True)
        for chunk in self._held.index.each():
            if self.states[chunk.rank] == INSIDE:
                self._push(chunk)
        self._drain()

    def part(self) -> list[Hanging]:
        """Part what is unreached into heads and what hangs from them; return that by kinds.

        From each chunk that no earlier one reaches a flood starts; of these starts a head is what
        no later one reaches. So of chunks that reach each other one is the head.
        """
        hanging = [Hanging() for _ in range(self._number)]
        self._begin(Degree.UNREACHED, Degree.UNREACHED, Degree.REACHED, True)
        for chunk in self._held.index.each():
            if not self.states[chunk.rank] & DEGREE:
                self._start(chunk, Degree.START, Degree.REACHED)
        self._begin(Degree.START, Degree.REACHED, Degree.HANGS, True)
        for chunk in self._backwards():
            if self.states[chunk.rank] & DEGREE == Degree.START:
                self._marked = Together()
                self._start(chunk, Degree.HEAD, Degree.HANGS)
                self._end_head(hanging, chunk)
        return hanging

    def sums(self) -> list[list[Sampled]]:
        """Return all chunks by degree and kind."""
        groups = [[Sampled() for _ in range(self._number)] for _ in range(DEGREES)]
        kinds = self._kinds
        for chunk in self._held.index.each():
            kind = kinds[chunk.rank] if kinds else 0
            group = groups[self.states[chunk.rank] & DEGREE][kind]
            if len(group.samples) < SAMPLES:
                group.samples.append(chunk.address)
            group.sum.add(self._held.amount(chunk))
        return groups

    _marked: Together | None = None  # of what a head has reached

    def _begin(self, source: Degree, also: Degree, mark: Degree, inner: bool) -> None:
        self._from, self._mark, self._inner = (source, also), mark, inner
        self._marked = None

    def _start(self, chunk: HeldChunk, mark: Degree, rest: Degree) -> None:
        self._mark = mark
        self._push(chunk)
        self._mark = rest
        self._drain()

    def _end_head(self, hanging: list[Hanging], chunk: HeldChunk) -> None:
        of, marked = hanging[self._kinds[chunk.rank] if self._kinds else 0], self._marked
        assert marked is not None
        of.sum.take(marked)
        if marked.bytes > of.most:
            of.most, of.at = marked.bytes, chunk.address

    def _backwards(self) -> Iterator[HeldChunk]:
        index = self._held.index
        for rank in range(index.chunks - 1, -1, -1):
            if self.states[rank] & DEGREE == Degree.START:
                yield index.ranked(rank)

    def _push(self, chunk: HeldChunk) -> None:
        self.states[chunk.rank] = self._mark
        self._stack.append(chunk.user)
        if self._marked is not None:
            self._marked.add(self._held.amount(chunk))

    def _drain(self) -> None:
        """Look through the chunks of the stack until there is none."""
        stack, at, pace = self._stack, self._held.index.at, self._held.space.pace
        steps = 0
        while stack:
            steps += 1
            if not steps % STEPS:
                pace.check(stack[-1])
            chunk = at(stack.pop())
            assert chunk is not None
            links = LINKS
            for words in self._memory(chunk):
                self._visit(words, links)
                links = 0

    def _memory(self, chunk: HeldChunk) -> Iterator[Words]:
        """Yield the words of a chunk's memory that were copied."""
        held, word = self._held, self._held.space.word
        offset, page = held.store.offset(chunk.user), held.space.page
        end = offset + chunk.usable
        if chunk.usable <= page:
            yield self._words[offset // word : end // word]
            return
        pages = held.store.pages
        for at in range(offset - offset % page, end, page):
            if pages[at // page] & COPIED:
                yield self._words[max(at, offset) // word : min(at + page, end) // word]

    def _ends_at(self, chunk: HeldChunk, address: int) -> bool:
        """Tell whether the header behind a chunk begins at an address."""
        index = self._held.index
        return not index.singles[chunk.region] and address == chunk.address + chunk.bytes

    def _visit(self, words: Words, links: int = 0) -> None:
        """Push the chunks that some words lead to. The first ones may be `links` that malloc left
        there: these lead to headers, which begin with the last word of the chunk before.
        """
        index, states = self._held.index, self.states
        starts, ends = index.starts, index.ends
        if not starts:
            return
        low, high = starts[0], max(ends)
        for number, word in enumerate(words):
            if low <= word < high:
                chunk = index.at(word)
                if chunk is None or (number < links and self._ends_at(chunk, word)):
                    continue
                state = states[chunk.rank]
                if state & DEGREE not in self._from:
                    continue
                if chunk.user == word or self._inner:
                    self._push(chunk)
                else:
                    states[chunk.rank] = state | INSIDE
