"""What is reached by the words of chunks, from some words on: the definition of reach.c."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..glibc.layout import FLAGS
from ..held.bits import ones
from ..held.index import CELL, CELL_WORDS, DIRECTORY, RANKS, HeldChunk
from ..held.store import COPIED
from .states import DEGREE, DEGREES, INSIDE, PENDING, Degree
from .sums import Hanging, Sampled, Together

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.space import Words

LINKS = 4  # words of a chunk's memory where malloc keeps links while it is free
STEPS = 1 << 14  # chunks that are looked through before anybody is asked whether to go on
PIECE = 1 << 16  # chunks that are added up at once
BELOW = [(1 << bit) - 1 for bit in range(CELL)]  # the bits of a cell before each


class Flood:
    """Marks chunks that are reached from words, and from what these reach.

    `states` has a byte for each chunk in use, by its rank; `kinds` what kind each is of, None where
    all are of one, and `number` how many kinds there are. Every method asks the pace whether to go
    on, and fails with StoppedError where not.
    """

    def __init__(self, held: Held, kinds: array[int] | None = None, number: int = 1) -> None:
        self.states = bytearray(held.index.chunks)
        self._held, self._kinds, self._number = held, kinds, number
        self._index = index = held.index
        self._low, self._high = (index.starts[0], max(index.ends)) if index.starts else (0, 0)
        self._stack = array("Q")  # where the memory of chunks begins
        self._lots = held.lots
        self._look_anew()
        self._pending = 0  # chunks that are marked, and not at hand
        self._word, self._page = held.space.word, held.space.page
        self._grain = index.grains.size
        self._wanted = bytes(256)  # by its state, whether a chunk is marked now
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
        for rank in _having(self.states, INSIDE):
            self._push(self._index.ranked(rank))
        self._drain()

    def part(self) -> list[Hanging]:
        """Part what is unreached into heads and what hangs from them; return that by kinds.

        From each chunk that no earlier one reaches a flood starts; of these starts a head is what
        no later one reaches. So of chunks that reach each other one is the head.
        """
        hanging = [Hanging() for _ in range(self._number)]
        self._begin(Degree.UNREACHED, Degree.UNREACHED, Degree.REACHED, True)
        for rank in _having(self.states, Degree.UNREACHED):
            self._start(self._index.ranked(rank), Degree.START, Degree.REACHED)
        self._begin(Degree.START, Degree.REACHED, Degree.HANGS, True)
        rank = len(self.states)
        while (rank := self.states.rfind(Degree.START, 0, rank)) >= 0:
            self._marked = Together()
            chunk = self._index.ranked(rank)
            self._start(chunk, Degree.HEAD, Degree.HANGS)
            self._end_head(hanging, chunk)
        return hanging

    def sums(self) -> list[list[Sampled]]:
        """Return all chunks by degree and kind."""
        groups = [[Sampled() for _ in range(self._number)] for _ in range(DEGREES)]
        index, whole = self._index, self._held.whole_regions()
        for region, first in enumerate(index.firsts):
            if not region % STEPS:
                self._held.space.pace.check(0)
            if whole[region]:
                self._add_alike(groups, first, index.sizes_of(region))
            else:
                for chunk in index.each_of(region):
                    self._group(groups, chunk.rank).add(chunk, self._held.amount(chunk))
        return groups

    def _add_alike(self, groups: list[list[Sampled]], first: int, sizes: array[int]) -> None:
        """Add chunks with these sizes, all of them in RAM, from a rank on: those that are alike at
        once.
        """
        for done in range(0, len(sizes), PIECE):
            start, stop = first + done, first + min(done + PIECE, len(sizes))
            kinds = self._kinds[start:stop] if self._kinds else bytes(stop - start)
            alike = list(zip(self.states[start:stop], kinds, sizes[done : done + PIECE]))
            at = dict(zip(reversed(alike), range(stop - 1, start - 1, -1)))
            for (state, kind, size), number in Counter(alike).items():
                group, rank = groups[state & DEGREE][kind], at[state, kind, size]
                group.take(number, size, self._index.ranked(rank).address)

    def _group(self, groups: list[list[Sampled]], rank: int) -> Sampled:
        return groups[self.states[rank] & DEGREE][self._kinds[rank] if self._kinds else 0]

    _marked: Together | None = None  # of what a head has reached

    def _begin(self, source: Degree, also: Degree, mark: Degree, inner: bool) -> None:
        self._wanted = bytes(state & DEGREE in (source, also) for state in range(256))
        self._mark, self._inner = int(mark), inner
        self._marked = None

    def _start(self, chunk: HeldChunk, mark: Degree, rest: Degree) -> None:
        self._mark = int(mark)
        self._push(chunk)
        self._mark = int(rest)
        self._drain()

    def _end_head(self, hanging: list[Hanging], chunk: HeldChunk) -> None:
        of, marked = hanging[self._kinds[chunk.rank] if self._kinds else 0], self._marked
        assert marked is not None
        of.sum.take(marked)
        if marked.bytes > of.most:
            of.most, of.at = marked.bytes, chunk.address

    def _push(self, chunk: HeldChunk) -> None:
        self.states[chunk.rank] = self._mark
        if self._lots.has(chunk.region):
            self._stack.append(chunk.user)
        else:
            self._wait(chunk.rank)
        if self._marked is not None:
            self._marked.add(self._held.amount(chunk))

    def _drain(self) -> None:
        """Look through all chunks that were marked."""
        self._drain_stack()
        while self._pending:
            if self._look_into_large():
                continue
            self._lots.bring_next()
            self._look_anew()
            for region in self._lots.regions:
                self._resume(region)
            self._drain_stack()

    def _look_into_large(self) -> bool:
        """Look through large chunks that are PENDING; return whether there are any."""
        found = [chunk for chunk in self._held.large() if self.states[chunk.rank] & PENDING]
        for chunk in found:
            self.states[chunk.rank] &= ~PENDING
            self._pending -= 1
            for _ in self._lots.pieces(chunk.region):
                self._look_anew()
                self._look_into(chunk)
                self._drain_stack()
        return bool(found)

    def _look_into(self, chunk: HeldChunk) -> None:
        """Look through what is at hand of a chunk."""
        self._look_through(chunk)

    def _look_anew(self) -> None:
        """Take over what is at hand by now."""
        self._near, held = NOWHERE, self._held
        self._words = held.space.as_words(held.store.view)

    def _wait(self, rank: int) -> None:
        """Keep a chunk that isn't at hand for later."""
        self.states[rank] |= PENDING
        self._pending += 1

    def _resume(self, region: int) -> None:
        """Put the chunks of a region that wait onto the stack, if they are at hand."""
        if not self._lots.has(region):
            return
        firsts = self._index.firsts
        end = firsts[region + 1] if region + 1 < len(firsts) else len(self.states)
        for rank in range(firsts[region], end):
            if self.states[rank] & PENDING:
                self.states[rank] &= ~PENDING
                self._pending -= 1
                self._stack.append(self._index.ranked(rank).user)

    def _drain_stack(self) -> None:
        """Look through chunks on the stack, many in the order of addresses: memory is read faster
        so.
        """
        stack, pace, steps = self._stack, self._held.space.pace, 0
        words, word, page = self._words, self._word, self._page
        while stack:
            taken = sorted(stack[-STEPS:])
            del stack[-STEPS:]
            steps += len(taken)
            if steps >= STEPS:
                pace.check(taken[0])
                steps = 0
            for user in taken:
                near = self._near_to(user)
                first = (near.offset + user) // word
                size = words[first - 1] & ~FLAGS
                if near.single or size > page:
                    self._look_through(self._index.at(user))
                else:
                    self._visit(words[first : first + size // word - 1], LINKS)

    def _look_through(self, chunk: HeldChunk | None) -> None:
        """Look through the memory of a chunk, but for pages that were not copied."""
        assert chunk is not None
        store, word, page, links = self._held.store, self._word, self._page, LINKS
        offset = store.offset(chunk.user)
        end = offset + chunk.usable
        for at in range(offset - offset % page, end, page):
            if store.pages[at // page] & COPIED:
                words = self._words[max(at, offset) // word : min(at + page, end) // word]
                self._visit(words, links)
            links = 0

    def _near_to(self, address: int) -> _Near:
        """Return the region that has an address; it is asked for again and again."""
        near = self._near
        if not near.start <= address < near.end:
            self._near = near = self._region(address)
        return near

    def _region(self, address: int) -> _Near:
        index, region = self._index, self._index.region_at(address)
        if region < 0:
            return NOWHERE
        start, end = index.starts[region], index.ends[region]
        offset = self._held.store.offset(start) - start
        place = index.places[region] * CELL_WORDS
        users, first = start + index.grains.header, index.firsts[region]
        single, present = index.singles[region], self._lots.has(region)
        return _Near(start, end, users, place, first, offset, single, present)

    def _visit(self, words: Words, links: int = 0) -> None:
        """Push the chunks that some words lead to. The first ones may be `links` that malloc left
        there: these lead to headers, which begin with the last word of the chunk before.

        Most words that lead to a chunk lead to its beginning: those are told here, in one cell.
        This is the inner loop.
        """
        low, high = self._low, self._high
        hits = [word for word in words if low <= word < high]
        others, cells, states, grain = False, self._index.cells, self.states, self._grain
        wanted, mark = self._wanted, self._mark
        start, end, users, place, first, _, single, present = self._near
        for word in hits:
            if not start <= word < end:
                start, end, users, place, first, _, single, present = self._near_to(word)
                if word >= end:  # in no region
                    continue
            offset = word - users
            if offset % grain or offset < 0 or single:
                others = True
                continue
            number = offset // grain
            cell, bit = place + number // CELL * CELL_WORDS, number % CELL
            bits = cells[cell]
            if not bits >> bit & 1:
                others = True
                continue
            rank = first + (cells[cell + DIRECTORY] & RANKS) + ones(bits & BELOW[bit])
            if wanted[states[rank]]:
                states[rank] = mark
                if present:
                    self._stack.append(word)
                else:
                    self._wait(rank)
                if self._marked is not None:
                    self._count(word)
        if others:
            self._visit_others(words, links)

    def _visit_others(self, words: Words, links: int) -> None:
        """Push the chunks whose inside words lead to, and such with a mapping of their own."""
        at, states = self._index.at, self.states
        for number, word in enumerate(words):
            if not self._low <= word < self._high:
                continue
            chunk = at(word)
            if chunk is None or (number < links and self._ends_at(chunk, word)):
                continue
            state = states[chunk.rank]
            if not self._wanted[state]:
                continue
            if chunk.user == word or self._inner:
                self._push(chunk)
            else:
                states[chunk.rank] = state | INSIDE

    def _ends_at(self, chunk: HeldChunk, address: int) -> bool:
        """Tell whether the header behind a chunk begins at an address."""
        index = self._index
        return not index.singles[chunk.region] and address == chunk.address + chunk.bytes

    def _count(self, user: int) -> None:
        chunk = self._index.at(user)
        if chunk is not None and self._marked is not None:
            self._marked.add(self._held.amount(chunk))


class _Near(NamedTuple):
    """A region: where the memory of its first chunk begins, where its cells are, the rank of that
    chunk; what turns an address into a place in the copy; `single` is the header of the only chunk.
    All 0 where there is none.
    """

    start: int
    end: int
    users: int
    place: int
    first: int
    offset: int
    single: int
    present: bool


NOWHERE = _Near(0, 0, 0, 0, 0, 0, 0, False)


def _having(states: bytearray, state: int) -> Iterator[int]:
    """Yield the ranks of the chunks that have a state, as it is by then."""
    rank = -1
    while (rank := states.find(state, rank + 1)) >= 0:
        yield rank
