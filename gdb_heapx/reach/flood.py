"""What is reached by the words of chunks, from some words on: the definition of reach.c."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from ..glibc.layout import FLAGS
from ..held.columns import words_within
from ..held.index import HeldChunk
from ..held.store import COPIED
from .adding import sums_of
from .leftover import LINKS, but_links
from .marks import BEGINS, MarkedStretch, Marks
from .states import DEGREE, INSIDE, PENDING, Degree
from .sums import Hanging, Sampled, Together

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.space import Words

FEW = 8  # chunks: fewer are looked through one by one
STEPS = 1 << 14  # chunks that are looked through at once, and before anybody is asked to go on


class Flood:
    """Marks chunks that are reached from words, and from what these reach.

    `states` has a byte for each chunk in use, by its rank; `kinds` what kind each is of, None where
    all are of one, and `number` how many kinds there are. Every method asks the pace whether to go
    on, and fails with StoppedError where not.
    """

    def __init__(self, held: Held, kinds: array[int] | None = None, number: int = 1) -> None:
        self._held, self._kinds, self._number = held, kinds, number
        self._index, self._lots = held.index, held.lots
        self._marks = Marks(held.index)
        self._low, self._high = (
            (held.index.starts[0], max(held.index.ends)) if held.index.starts else (0, 0)
        )
        self._stack = array("Q")  # where the memory of chunks begins
        self._look_anew()
        self._steps = 0  # chunks that were looked through since the pace was asked
        self._pending = 0  # chunks that are marked, and not at hand
        self._word, self._page = held.space.word, held.space.page
        self._wanted = bytes(256)  # by its mark, whether a chunk is marked now
        self._mark, self._inner = 0, False

    @property
    def states(self) -> bytearray:
        return self._marks.states()

    def follow(self, words: Iterable[Words], mark: Degree, inner: bool) -> None:
        """Mark what these words reach and wasn't reached before; with `inner` by pointers to the
        inside of a chunk, too.
        """
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, inner)
        for each in words:
            self._visit(each.tolist())
            self._drain()

    def follow_inside(self, mark: Degree) -> None:
        """Mark the chunks that pointers lead into, which nothing else has reached, and all that
        these reach.
        """
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, True)
        for place in self._marks.having(INSIDE):
            self._push(place, self._marks.user(place))
        self._drain()

    def leave(self, chunk: HeldChunk) -> bool:
        """Mark a chunk as reachable that nothing has reached, but nothing that it leads to; return
        whether it is one.
        """
        place, marks = self._marks.place(chunk.user), self._marks.all
        if marks[place] & DEGREE:
            return False
        marks[place] = BEGINS | Degree.REACHABLE
        return True

    def part(self) -> list[Hanging]:
        """Part what is unreached into heads and what hangs from them; return that by kinds.

        From each chunk that no earlier one reaches a flood starts; of these starts a head is what
        no later one reaches. So of chunks that reach each other one is the head.
        """
        hanging = [Hanging() for _ in range(self._number)]
        self._begin(Degree.UNREACHED, Degree.UNREACHED, Degree.REACHED, True)
        for place in self._marks.having(Degree.UNREACHED):
            self._start(place, self._marks.user(place), Degree.START, Degree.REACHED)
        self._begin(Degree.START, Degree.REACHED, Degree.HANGS, True)
        whole = self._held.whole_regions()
        self._whole = [all(whole[each.start : each.stop]) for each in self._index.stretches()]
        start, place = bytes([BEGINS | Degree.START]), len(self._marks.all)
        while (place := self._marks.all.rfind(start, 0, place)) >= 0:
            self._marked = Together()
            user = self._marks.user(place)
            self._start(place, user, Degree.HEAD, Degree.HANGS)
            self._end_head(hanging, user)
        return hanging

    def sums(self) -> list[list[Sampled]]:
        """Return all chunks by degree and kind."""
        return sums_of(self._held, self.states, self._kinds, self._number)

    _marked: Together | None = None  # of what a head has reached
    _whole: Sequence[bool] = ()  # of each stretch, whether all its pages are in RAM

    def _begin(self, source: Degree, also: Degree, mark: Degree, inner: bool) -> None:
        degrees = (source, also)
        self._wanted = bytes(
            bool(mark & BEGINS) and mark & DEGREE in degrees for mark in range(256)
        )
        self._mark, self._inner = int(mark), inner
        self._marked = None

    def _start(self, place: int, user: int, mark: Degree, rest: Degree) -> None:
        self._mark = int(mark)
        self._push(place, user)
        self._mark = int(rest)
        self._drain()

    def _end_head(self, hanging: list[Hanging], user: int) -> None:
        chunk, marked = self._index.begin_at(user), self._marked
        assert chunk is not None
        assert marked is not None
        of = hanging[self._kinds[chunk.rank] if self._kinds else 0]
        of.sum.take(marked)
        if marked.bytes > of.most:
            of.most, of.at = marked.bytes, chunk.address

    def _push(self, place: int, user: int) -> None:
        self._marks.all[place] = BEGINS | self._mark
        self._stack.append(user)

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
        places = {self._marks.place(chunk.user): chunk for chunk in self._held.large()}
        found = [place for place in places if self._marks.all[place] & PENDING]
        for place in found:
            self._wait_no_more(place)
            self._count(places[place])
            for _ in self._lots.pieces(places[place].region):
                self._look_anew()
                self._look_into(places[place])
                self._drain_stack()
        return bool(found)

    def _look_into(self, chunk: HeldChunk) -> None:
        """Look through what is at hand of a chunk."""
        self._look_through(chunk)

    def _look_anew(self) -> None:
        """Take over what is at hand by now."""
        self._words = self._held.space.as_words(self._held.store.view)

    def _resume(self, region: int) -> None:
        """Put the chunks of a region that wait onto the stack, if they are at hand."""
        if self._lots.has(region):
            for place in self._marks.waiting(region):
                self._wait_no_more(place)
                self._stack.append(self._marks.user(place))

    def _wait_no_more(self, place: int) -> None:
        self._marks.all[place] &= ~PENDING
        self._pending -= 1

    def _at_hand(self, users: list[int]) -> list[int]:
        """Return those of some chunks that are at hand; the others are kept for later."""
        if not self._lots.passes:
            return users
        near = []
        for user in users:
            if self._lots.has(self._index.region_at(user)):
                near.append(user)
            else:
                self._marks.all[self._marks.place(user)] |= PENDING
                self._pending += 1
        return near

    def _drain_stack(self) -> None:
        """Look through chunks on the stack, many in the order of addresses: memory is read faster
        so.
        """
        stack = self._stack
        few = 0 if self._lots.passes else FEW
        while stack:
            if len(stack) < few:
                taken = [stack.pop()]
                self._look_into_one(taken[0])
            else:
                taken = sorted(stack[-STEPS:])
                del stack[-STEPS:]
                for stretch, users in self._marks.parted(self._at_hand(taken)):
                    if stretch.single:
                        self._look_into_one(users[0])
                    else:
                        self._look_into_all(stretch, users)
            self._steps += len(taken)
            if self._steps >= STEPS:
                self._held.space.pace.check(taken[0])
                self._steps = 0

    def _look_into_one(self, user: int) -> None:
        """Look through a chunk; its pages one by one if it is large."""
        stretch, store, word = self._marks.near(user), self._held.store, self._word
        if not stretch.single:
            place = (store.offset(stretch.start) - stretch.start + user) // word
            size = (self._words[place - 1] & ~FLAGS) - word
            if size <= self._page:
                if self._marked is not None:
                    self._count_all(stretch, [user], [size])
                self._visit(self._words[place : place + size // word].tolist(), [size])
                return
        chunk = self._index.begin_at(user)
        assert chunk is not None
        self._count(chunk)
        self._look_through(chunk)

    def _look_into_all(self, stretch: MarkedStretch, users: list[int]) -> None:
        """Look through chunks of a stretch, in order."""
        store, words, word, page = self._held.store, self._words, self._word, self._page
        move, shift = store.offset(stretch.start) - stretch.start, word.bit_length() - 1
        places = [user + move for user in users]
        sizes = [(words[(place >> shift) - 1] & ~FLAGS) - word for place in places]
        if max(sizes) > page:
            for user in compress(users, map(page.__lt__, sizes)):
                self._look_into_one(user)
            places = [*compress(places, map(page.__ge__, sizes))]
            sizes = [*filter(page.__ge__, sizes)]
        if self._marked is not None:
            self._count_all(stretch, [place - move for place in places], sizes)
        memory = store.memory
        data = b"".join([memory[place : place + size] for place, size in zip(places, sizes)])
        hits = words_within(self._held.space, data, self._low, self._high)
        self._visit_hits(hits, self._held.space.as_words(memoryview(data)), sizes)

    def _look_through(self, chunk: HeldChunk) -> None:
        """Look through the memory of a chunk, but for pages that were not copied."""
        store, word, page = self._held.store, self._word, self._page
        offset = store.offset(chunk.user)
        end = offset + chunk.usable
        behind = min(offset + LINKS * word, end)  # these, which may lie in two pages
        for at in range(offset - offset % page, end, page):
            if store.pages[at // page] & COPIED:
                low, high = max(at, offset), min(at + page, end)
                if low < behind:
                    links = self._words[low // word : min(behind, high) // word].tolist()
                    self._visit(links, [len(links) * word])
                self._visit(self._words[max(low, behind) // word : high // word].tolist())

    def _visit(self, words: Sequence[int], sizes: Sequence[int] = ()) -> None:
        """Push the chunks that some words lead to. Where they are the memory of chunks of these
        sizes, the first ones of each may be LINKS that malloc left there: these lead to headers,
        which begin with the last word of the chunk before.
        """
        low, high = self._low, self._high
        self._visit_hits([word for word in words if low <= word < high], words, sizes)

    def _visit_hits(self, hits: list[int], words: Sequence[int], sizes: Sequence[int]) -> None:
        """Push the chunks that hits lead to: those of the words that may lead to any."""
        others = list[int]()
        for stretch, led in self._marks.parted(hits):
            others += led if stretch.single else self._visit_begins(stretch, led)
        if others:
            self._visit_others(dict.fromkeys(others), words, sizes)

    def _visit_begins(self, stretch: MarkedStretch, hits: Iterable[int]) -> list[int]:
        """Push the chunks of a stretch to whose beginning words lead, as most do; return the words
        that lead elsewhere. This is the inner loop.
        """
        marks, wanted, mark = self._marks.all, self._wanted, BEGINS | self._mark
        origin, shift = stretch.origin, self._marks.shift
        odd, others, found = (1 << shift) - 1, list[int](), list[int]()
        for word in hits:
            place = word - origin >> shift
            before = marks[place]
            if wanted[before]:
                if word - origin & odd:
                    others.append(word)
                else:
                    marks[place] = mark
                    found.append(word)
            elif not before:
                others.append(word)
        self._stack.fromlist(found)
        return others

    def _visit_others(self, led: Iterable[int], words: Sequence[int], sizes: Sequence[int]) -> None:
        """Push the chunks whose inside words lead to, and such with a mapping of their own."""
        marks, ends = self._marks, dict[int, HeldChunk]()
        for word in led:
            chunk = self._index.at(word)
            if chunk is not None and self._wanted[marks.all[marks.place(chunk.user)]]:
                if sizes and self._ends_at(chunk, word):
                    ends[word] = chunk
                else:
                    self._reach(chunk, chunk.user == word)
        if ends:
            for word in but_links(ends, words, [size // self._word for size in sizes]):
                self._reach(ends[word], False)

    def _reach(self, chunk: HeldChunk, begins: bool) -> None:
        """Push a chunk that a word leads to, if that wasn't done."""
        place, marks = self._marks.place(chunk.user), self._marks.all
        if not self._wanted[marks[place]]:
            return
        if begins or self._inner:
            self._push(place, chunk.user)
        else:
            marks[place] |= INSIDE

    def _ends_at(self, chunk: HeldChunk, address: int) -> bool:
        """Tell whether the header behind a chunk begins at an address."""
        index = self._index
        return not index.singles[chunk.region] and address == chunk.address + chunk.bytes

    def _count(self, chunk: HeldChunk) -> None:
        if self._marked is not None:
            self._marked.add(self._held.amount(chunk))

    def _count_all(
        self, stretch: MarkedStretch, users: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Count chunks of a stretch, by the bytes of their memory."""
        assert self._marked is not None
        if self._whole[stretch.number]:
            size = sum(sizes) + len(sizes) * self._word
            self._marked.take(Together(len(sizes), size, size))
            return
        header = self._index.grains.header
        for user, size in zip(users, sizes):
            start = user - header
            self._marked.add(self._held.store.amount(start, start + size + self._word))
