"""What containers of libstdc++ have allocated, by what these say of it.

They are looked for in chunks, in variables, on stacks, and in other memory. There one may be over,
and its memory another's by now: what is claimed must be seen in that, too. bodies.c does the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..held.root import RootKind
from ..held.spots import (
    AROUND,
    BEFORE,
    BEHIND,
    LARGEST,
    fills,
    may_call,
)
from .beginnings import Beginnings
from .finder import MOST_KEPT, MOST_PAIRS, CompiledBodies
from .functors import Functors
from .kinds import FUNCTORS, Code, LedTo, gives_way, is_free
from .tables import HashTable, Window, mark_tables

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

SIZED = 11  # words from a stream's first pointer to its buffer on to that with the size, or more
LOCAL = 16  # bytes that a string has in itself (basic_string.h, _S_local_capacity)
CACHED = 1032  # bytes of a chunk that malloc caches, and gives again as it is
OVER = (RootKind.MAPPING, RootKind.SHARED, RootKind.STACK)  # where words stay of what is over
SURE_FIRST = (RootKind.TLS, RootKind.KEY, *OVER)
LOADS = range(0x3D000000, 0x42C80001)  # of max_load_factor: 1/32 to 100, as floats


def find_bodies(held: Held) -> LedTo:
    """Return what each chunk is for a container that leads to it."""
    finder = Bodies(held) if held.table is None else CompiledBodies(held)
    finder.look_into_chunks()
    for _ in held.lots.each():
        _look_around(finder, held)
    if held.lots.passes:
        finder.note_tables()
        _look_around(finder, held)
        mark_tables(finder, held)
    return LedTo(finder.marks, finder.callers)


def _look_around(finder: Bodies | CompiledBodies, held: Held) -> None:
    """Look for containers in what was kept of chunks, and in roots."""
    finder.look_at(finder.kept, False)
    for root in held.roots.spans:
        if root.kind is RootKind.GLOBAL:
            finder.look_into(root.start, root.end)
    for kind in SURE_FIRST:
        finder.look_at(held.pointers.spots.get(kind, array("Q")), kind in OVER)


class Bodies:
    """What was found so far, in Python."""

    def __init__(self, held: Held) -> None:
        self.marks, self.callers = array("H", bytes(2 * held.index.chunks)), array("Q")
        self.kept = array("Q")  # spots of chunks that lead to what wasn't at hand
        self.tables: list[HashTable] = []  # that are noted instead of being followed
        self._noting = False
        self._held, self._index, self._word = held, held.index, held.space.word
        self._functors, self._pairs = Functors(held), dict[tuple[int, int], tuple[int, int]]()
        self._beginnings = Beginnings(held)

    def look_into_chunks(self) -> None:
        """Look for containers in all chunks."""
        pace, index = self._held.space.pace, self._index
        pace.begin("looking for containers", sum(map(int.__sub__, index.ends, index.starts)))
        for region, (start, end) in enumerate(zip(index.starts, index.ends)):
            pace.check(start)
            self._held.lots.bring(region)
            for address in self._beginnings.within(start, end):
                chunk = index.at(address)
                if chunk is not None and chunk.user <= address:
                    self._look_or_keep(self._around(address, chunk.user, chunk.user + chunk.usable))
            pace.walked(end - start)

    def look_into(self, start: int, end: int) -> None:
        """Look for containers in a variable's memory."""
        for address in self._beginnings.within(start, end):
            self._look(self._around(address, start, end))

    def note_tables(self) -> None:
        """Note hash tables from now on, and don't follow them."""
        self._noting = True

    def look_at(self, spots: Sequence[int], over: bool) -> None:
        """Look for containers in what was kept of roots, which may be over."""
        for at in range(0, len(spots), AROUND):
            self._look(spots[at : at + AROUND], over)

    def _around(self, address: int, start: int, end: int) -> list[int]:
        """Return the words around an address, as of a spot, as far as they lie in [start, end)."""
        word = self._word
        before = min((address - start) // word, BEFORE)
        behind = min((end - address) // word, BEHIND)
        view = self._held.store.read(address - before * word, (before + behind) * word)
        words = self._held.space.as_words(view).tolist()
        return [*[0] * (BEFORE - before), *words, *[0] * (BEHIND - behind)]

    def _look_or_keep(self, around: list[int]) -> None:
        """Look at words of a chunk now, and again with each lot, if they may lead to others."""
        self._look(around)
        if not self._held.lots.passes or len(self.kept) == MOST_KEPT * AROUND:
            return
        if self._leads_away(around[BEFORE:]):
            self.kept.extend(around)

    def _leads_away(self, words: Sequence[int]) -> bool:
        """Tell whether words may be a container that must be looked at with what isn't at hand: a
        string, or one with a table.
        """
        body, (size, third, count) = self._index.begin_at(words[0]), words[1:4]
        if body is None:
            return False
        hashed = words[4] % (1 << 32) in LOADS and count <= self._index.chunks
        if self._held.lots.has(body.region) and (not hashed or self.marks[body.rank]):
            return False
        string = size <= third and LOCAL <= third < LARGEST and self._fills(body, third + 1)
        return string or (0 < size < LARGEST and self._fills(body, size * self._word))

    def _look(self, around: Sequence[int], over: bool = False) -> None:
        """Give what a container has allocated its mark, if words are one's, which may be over."""
        words, marks = around[BEFORE:], self.marks
        body = self._index.begin_at(words[0])
        if body is None:
            return
        rank, seen = body.rank, self._held.lots.has(body.region)
        if seen and self._is_string(body, *words[1:3]):
            if not over or (is_free(marks[rank]) and not self._is_over(body, words[1])):
                marks[rank] = Code.STRING
        elif self._is_buffer(body, words):
            if is_free(marks[rank]) and not (over and body.usable <= CACHED):
                marks[rank] = Code.STREAM
        elif self._is_vector(body, *words[1:3]):
            cut_stream = around[:BEFORE].count(words[0]) > 1  # that writes
            if is_free(marks[rank]) and not cut_stream:
                likely = over and body.usable <= CACHED
                marks[rank] = Code.LIKELY_VECTOR if likely else Code.VECTOR
        elif may_call(self._held.blocks, words):
            self._mark_functor(body, *words[2:4])
        elif seen and self._is_deque(body, words):
            self._mark_deque(body, words)
        else:
            self._mark_hashed(body, words)

    def _mark_functor(self, body: HeldChunk, manager: int, invoker: int) -> None:
        """Mark what a std::function has in a chunk, if it is one. Of several the one counts whose
        function lies first: the order in which they are met doesn't matter.
        """
        pair, rank = (manager, invoker), body.rank
        if pair not in self._pairs:
            if len(self._pairs) == MOST_PAIRS:
                return
            size = self._functors.size(*pair)
            self._pairs[pair] = size, FUNCTORS + len(self.callers)
            self.callers.extend([invoker] if size else [])
        size, number = self._pairs[pair]
        if not size or not is_free(self.marks[rank]) or not self._fills(body, size):
            return
        before = self.marks[rank]
        if not before or invoker < self.callers[before - FUNCTORS]:
            self.marks[rank] = number

    def _fills(self, body: HeldChunk, size: int) -> bool:
        return fills(self._index, self._held.space.page, body, size)

    def _is_string(self, body: HeldChunk, size: int, capacity: int) -> bool:
        if not (size <= capacity and LOCAL <= capacity < LARGEST):
            return False
        fills = self._fills(body, capacity + 1)
        return fills and self._held.store.read(body.user + size, 1)[0] == 0

    def _is_over(self, body: HeldChunk, size: int) -> bool:
        """Tell whether a string may be over whose words lie on a stack: malloc gives what it caches
        again, as it is, and others' memory is hardly text up to the same place.
        """
        text = bytes(self._held.store.read(body.user, size)) if body.usable <= CACHED else b"-"
        return not text or 0 in text

    def _is_vector(self, body: HeldChunk, end: int, limit: int) -> bool:
        ordered = body.user <= end <= limit and limit > body.user
        return ordered and self._fills(body, limit - body.user)

    def _is_buffer(self, body: HeldChunk, words: Sequence[int]) -> bool:
        """Tell whether three words lead into a stream's buffer. Behind them its beginning comes
        again, and its end (struct _IO_FILE, where it writes), or its size (basic_filebuf).
        """
        begin, at, end = words[:3]
        if not begin <= at <= end <= begin + body.usable:
            return False
        sized = zip(words[SIZED:], words[SIZED + 1 :])
        sizes = [size for word, size in sized if word == begin]
        sizes += [words[4] - begin] if words[3] == begin else []
        return any(size > 0 and self._fills(body, size) for size in sizes)

    def _is_deque(self, body: HeldChunk, words: Sequence[int]) -> bool:
        size = words[1] * self._word
        sized = 0 < words[1] < LARGEST and self._fills(body, size)
        iterators = words[2:6], words[6:10]
        return (
            sized
            and all(self._is_iterator(body, size, *each) for each in iterators)
            and words[5] <= words[9]
        )

    def _is_iterator(
        self, body: HeldChunk, size: int, at: int, first: int, last: int, node: int
    ) -> bool:
        """Tell whether an iterator of a deque's leads to a node of its map."""
        inside = 0 <= node - body.user < size and (node - body.user) % self._word == 0
        return inside and first <= at < last and self._word_at(node) == first

    def _mark_deque(self, body: HeldChunk, words: Sequence[int]) -> None:
        if not gives_way(self.marks[body.rank]):
            return
        self.marks[body.rank] = Code.DEQUE_MAP
        for at in range(words[5], words[9] + 1, self._word):
            block = self._index.begin_at(self._word_at(at))
            if block is not None and gives_way(self.marks[block.rank]):
                self.marks[block.rank] = Code.DEQUE_BLOCK

    def _mark_hashed(self, body: HeldChunk, words: Sequence[int]) -> None:
        """Mark the buckets and nodes of an unordered container: there are as many as it says."""
        number, first, count = words[1:4]
        sized = 2 <= number < LARGEST and self._fills(body, number * self._word)
        if not sized or count > self._index.chunks or words[4] % (1 << 32) not in LOADS:
            return
        if not gives_way(self.marks[body.rank]):
            return
        if self._noting:
            room = MOST_KEPT - len(self.tables)
            self.tables += [HashTable(body.user, first, count)][:room]
        elif self.along(first, count, Code.UNRECOGNISED, Window()) == (0, 0):
            self.marks[body.rank] = Code.BUCKETS
            self.along(first, count, Code.HASH_NODE, Window())

    def along(self, at: int, left: int, mark: int, window: Window) -> tuple[int, int]:
        """Go along the nodes of a hash table, as long as they are at hand or in a window; return
        where the next one lies, and how many are left. They get a mark, if it isn't 0.
        """
        while left:
            node = self._index.begin_at(at)
            at_hand = node is not None and self._held.lots.has(node.region)
            if node is None or not (at_hand or window.has(at)):
                break
            if mark and gives_way(self.marks[node.rank]):
                self.marks[node.rank] = mark
            at = self._word_at(at) if at_hand else window.word(at, self._held.space)
            left -= 1
        return at, left

    def _word_at(self, address: int) -> int:
        order = self._held.space.byteorder
        return int.from_bytes(self._held.store.read(address, self._word), order)
