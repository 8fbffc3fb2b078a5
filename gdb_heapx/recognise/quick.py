"""Chunks recognised in Python, many at once.

Most are told by the kinds of their words, which are few for chunks that are alike: what is said of
one pattern is said of all. Only where more than the kinds matters, a chunk is looked at by itself:
where a word means something, or leads to code, where it may be text, or a node.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import compress
from operator import eq
from typing import TYPE_CHECKING

from ..held.bits import set_bits
from ..held.columns import Columns
from ..held.index import CELL, CELL_WORDS, ENDS, STARTS, HeldChunk
from ..held.store import STATE
from ..target.pages import IN_RAM, SWAPPED
from .counted import SAMPLES, Alike, KeySum, Kinds
from .glance import Glance
from .kinds import UNRECOGNISED, Code, Key, Meaning, Recognised
from .patterns import LISTED, TEXT, TREE, UNKNOWN, Batch, Verdict
from .pythons import begins_table
from .recognisers import (
    BY_CONTENTS,
    DATA,
    INTO_CODE,
    LEADING,
    LINKS,
    NUMBER,
    OTHER,
    RECOGNISERS,
    SIGNED,
    Recogniser,
    kind_of,
    signed,
)
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held

MEANS = INTO_CODE + 1  # the kind of a word that means something
CELLS = 1024  # that are looked at at once
CACHED = 1 << 16  # words, and patterns
LONGEST = 64  # words of a pattern that is kept
SIZE_BITS = 40  # of what is noted of a chunk: its size in words; above them, what it is
# By two bytes that are next to each other, as a number: whether they may be of text.
PLAIN = {9, 10, 13, *range(0x20, 0x7F)}
BYTES = [byte in PLAIN or byte >= 0x80 for byte in range(256)]
LATIN = [byte in PLAIN or byte >= 0xA0 for byte in range(256)]
TEXTUAL = bytes(LATIN) + bytes([True]) * 0x500
TEXTUAL += b"".join(bytes(BYTES) if BYTES[high] else bytes(256) for high in range(6, 256))

ALL_IN_RAM = bytes(state for state in range(256) if state & STATE in IN_RAM)

One = Callable[[HeldChunk, "tuple[Recogniser, ...]", Kinds], Recognised]


class Quick:
    """Chunks of heaps that are recognised, and counted."""

    def __init__(
        self, held: Held, around: Surroundings, kinds: Kinds, sizes: bool, one: One
    ) -> None:
        self._held, self._around, self._kinds = held, around, kinds
        self._sizes, self._one = sizes, one
        self._word, grains = held.space.word, held.index.grains
        self._step, self._header, self._tail = (each // self._word for each in grains)
        spans = [*zip(held.index.starts, held.index.ends)]
        spans += ((part.start, part.end) for part in around.parts.all)
        self._glance = Glance(self._word, spans, self._kind_of)
        self._forget()

    def _forget(self) -> None:
        self._far: dict[int, int] = {}
        self._verdicts: dict[bytes, Verdict] = {}
        self._numbers: dict[Recognised, int] = {}
        self._found: list[Recognised] = []

    def can(self, region: int) -> bool:
        """Tell whether the chunks of a region can be recognised this way."""
        single = self._held.index.singles[region]
        return not single and not self._held.store.swapped and self._around.little

    def count(self, region: int) -> None:
        """Count the chunks of a heap."""
        index, pace = self._held.index, self._held.space.pace
        cells = (index.ends[region] - index.starts[region]) // index.grains.size // CELL + 1
        rank, starts = index.firsts[region], list[int]()
        for first in range(0, cells, CELLS):
            pace.check(index.starts[region])
            last = min(first + CELLS, cells)
            starts += self._grains(region, STARTS, first, last)
            ends = self._grains(region, ENDS, first, last)
            if ends:
                self._take(region, rank, starts[: len(ends)], ends)
            rank += len(ends)
            del starts[: len(ends)]
            pace.walked((last - first) * CELL * index.grains.size)

    def _grains(self, region: int, which: int, first: int, last: int) -> list[int]:
        """Return where chunks begin, or end, in some cells of a region: the grains' numbers."""
        cells = self._held.index.cells_of(region)[first * CELL_WORDS : last * CELL_WORDS]
        return set_bits(cells[which::CELL_WORDS], first * CELL)

    def _take(self, region: int, rank: int, starts: list[int], ends: list[int]) -> None:
        """Recognise the chunks of a region that begin and end at these grains."""
        if max(len(self._far), len(self._verdicts), len(self._found)) > CACHED:
            self._forget()
        if len(starts) > 1 and ends[0] - starts[0] > CELLS * CELL:  # it began far before
            self._take(region, rank, starts[:1], ends[:1])
            rank, starts, ends = rank + 1, starts[1:], ends[1:]
        if ends[0] - starts[0] > CELLS * CELL:
            chunk = self._chunk(region, rank, starts[0], ends[0])
            noted = [self._noted(chunk, RECOGNISERS)]
        else:
            noted = self._recognised(region, rank, starts, ends)
        self._add(region, rank, noted, starts, ends)

    def _recognised(self, region: int, rank: int, starts: list[int], ends: list[int]) -> list[int]:
        """Return what the chunks are, each by a number, and its size."""
        base = starts[0] * self._step
        size = (ends[-1] + 1) * self._step + self._tail - base
        address, bytes_ = self._held.index.starts[region] + base * self._word, size * self._word
        view = self._held.store.read(address, bytes_)
        words, kinds = self._held.space.as_words(view), self._kinds_of(view, region)
        first, behind = self._header - base, self._step + self._tail - base
        lows = [start * self._step + first for start in starts]
        patterns = [kinds[low : end * self._step + behind] for low, end in zip(lows, ends)]
        known = self._verdicts.get
        verdicts = {each: known(each) or self._verdict(each) for each in set(patterns)}
        notes = {pattern: verdict.note for pattern, verdict in verdicts.items()}
        doubts = {pattern: verdict.doubts for pattern, verdict in verdicts.items()}
        noted = [*map(notes.__getitem__, patterns)]
        heads, doubtful = [*map(words.__getitem__, lows)], bytes(map(doubts.__getitem__, patterns))
        batch = Batch(region, address, words, lows, heads, doubtful)
        for at in self._doubtful(batch, rank):
            asked = RECOGNISERS if self._around.heap_types else verdicts[patterns[at]].asked
            chunk = self._chunk(region, rank + at, starts[at], ends[at])
            noted[at] = self._noted(chunk, asked)
        return noted

    def _kinds_of(self, view: memoryview, region: int) -> bytes:
        """Return the kind of each word of a region's memory."""
        words, columns = self._held.space.as_words(view), Columns(self._held.space, bytes(view))
        bounds = self._bounds(self._held.index.stretch_of(region))
        return self._glance.kinds(words, columns, *bounds)

    def _doubtful(self, batch: Batch, rank: int) -> list[int]:
        """Return which chunks must be looked at, each by itself; the first one has that rank."""
        words, lows, heads, types = batch.words, batch.lows, batch.heads, self._around.heap_types
        found, maybe_text = {*batch.of(UNKNOWN)}, batch.of(TEXT)
        found.update(
            at
            for at in maybe_text
            if TEXTUAL[heads[at] & 0xFFFF] and TEXTUAL[heads[at] >> 16 & 0xFFFF]
        )
        found.update(at for at in maybe_text if begins_table(words[lows[at] + 1]))
        found.update(self._leading_back(batch))
        found.update(at for at in batch.of(TREE) if heads[at] & 0xFFFFFFFF <= 1)
        bodies = self._around.heaps.bodies.marks[rank : rank + len(lows)]
        found.update(compress(range(len(lows)), bodies))
        if types:
            fields = ((at, words[low + 1 : low + 6]) for at, low in enumerate(lows))
            found.update(at for at, each in fields if not types.isdisjoint(each))
        return sorted(found)

    def _leading_back(self, batch: Batch) -> Iterator[int]:
        """Yield which chunks have another as the one after them that has them as the one before."""
        word, alone, region = self._word, self._held.lots.passes, batch.region
        near = range(region, region + 1) if alone else self._held.index.stretch_of(region)
        low, high = self._bounds(near)  # of what is at hand
        whole = high - low - (high - low) % word
        words = self._held.space.as_words(self._held.store.read(low, whole))
        heads, last, move = batch.heads, low + whole - word, low - word
        listed, shift = batch.of(LISTED), word.bit_length() - 1
        inside = [at for at in listed if low <= heads[at] < last]
        befores = map(words.__getitem__, [heads[at] - move >> shift for at in inside])
        yield from compress(inside, map(eq, befores, self._users(batch, inside)))
        if len(inside) < len(listed):
            outside, far = sorted({*listed}.difference(inside)), self._around.heaps.word_at
            before = (far(heads[at] + word) for at in outside)
            yield from compress(outside, map(eq, before, self._users(batch, outside)))

    def _users(self, batch: Batch, chosen: list[int]) -> list[int]:
        """Return where the memory of some chunks begins."""
        word, lows, address = self._word, batch.lows, batch.address
        return [address + lows[at] * word for at in chosen]

    def _bounds(self, regions: range) -> tuple[int, int]:
        return self._held.index.starts[regions[0]], self._held.index.ends[regions[-1]]

    def _kind_of(self, word: int) -> int:
        """Return the kind of a word that may lead somewhere, or mean something."""
        kind = self._far.get(word)
        return self._ask(word) if kind is None else kind

    def _ask(self, word: int) -> int:
        kind = kind_of(word, self._around)
        if kind == DATA and self._around.meaning(word) not in (Meaning.NOTHING, Meaning.SECOND):
            kind = MEANS
        if len(self._far) < CACHED:
            self._far[word] = kind
        return kind

    def _verdict(self, pattern: bytes) -> Verdict:
        """Return what is said of chunks whose words are of these kinds."""
        found = self._judge(pattern)
        if len(pattern) <= LONGEST:
            self._verdicts[pattern] = found
        return found

    def _judge(self, pattern: bytes) -> Verdict:
        into_code = pattern[0] == INTO_CODE or pattern[2:4] == bytes((INTO_CODE, INTO_CODE))
        if MEANS in pattern or into_code:
            return Verdict(0, UNKNOWN, RECOGNISERS)
        only = not pattern.strip(LEADING) and not pattern.translate(None, LEADING)
        if pattern[0] == DATA and not only:  # maybe a symbol
            return Verdict(0, UNKNOWN, BY_CONTENTS)
        if not only:
            told = signed(pattern[:SIGNED], len(pattern) * self._word) or UNRECOGNISED
        else:
            told = Recognised(Key(Code.POINTERS if any(pattern) else Code.ZEROS), 0)
        note = self._note(told, len(pattern) + self._header - self._tail)
        return Verdict(note, _doubts(pattern), BY_CONTENTS)

    def _note(self, found: Recognised, size: int) -> int:
        """Return what is noted of chunks that are this, of a size in words."""
        number = self._numbers.get(found)
        if number is None:
            number = self._numbers[found] = len(self._found)
            self._found.append(found)
        return number << SIZE_BITS | size

    def _noted(self, chunk: HeldChunk, asked: tuple[Recogniser, ...]) -> int:
        return self._note(self._one(chunk, asked, self._kinds), chunk.bytes // self._word)

    def _chunk(self, region: int, rank: int, start: int, end: int) -> HeldChunk:
        size, header, tail = self._held.index.grains
        address, length = self._held.index.starts[region] + start * size, (end + 1 - start) * size
        return HeldChunk(rank, address, length, address + header, length - header + tail, region)

    def _add(
        self, region: int, rank: int, noted: list[int], starts: list[int], ends: list[int]
    ) -> None:
        """Count chunks by what was noted of them."""
        libc, word, numbers = self._held.parts[region].libc, self._word, {}
        memory = self._memory(region, noted, starts, ends)
        for each, chunks in Counter(noted).items():
            found, size = self._found[each >> SIZE_BITS], (each & (1 << SIZE_BITS) - 1) * word
            alike = Alike(found.key, libc, size if self._sizes else 0)
            all_in_ram = chunks * size, 0
            resident, swapped = all_in_ram if memory is None else memory.get(each, (0, 0))
            sums = (chunks, chunks * size, found.instances * chunks, resident, swapped)
            numbers[each] = self._kinds.add(alike, KeySum(*sums))
        column = [*map(numbers.__getitem__, noted)]
        self._kinds.kinds[rank : rank + len(noted)] = array("I", column)
        self._sample(region, column, starts)

    def _sample(self, region: int, column: list[int], starts: list[int]) -> None:
        """Add samples to the groups that these chunks are in, as far as they lack some."""
        index, sums = self._held.index, self._kinds.sums
        for number in {each for each in set(column) if len(sums[each].samples) < SAMPLES}:
            at, found = -1, [*sums[number].samples]
            for _ in range(min(column.count(number), SAMPLES - len(found))):
                at = column.index(number, at + 1)
                begin = index.starts[region] + starts[at] * index.grains.size
                found.append(begin + index.grains.header)
            sums[number] = replace(sums[number], samples=tuple(found))

    def _memory(
        self, region: int, noted: list[int], starts: list[int], ends: list[int]
    ) -> dict[int, tuple[int, int]] | None:
        """Return what of the chunks that are noted as the same is in memory, and in swap; None
        where all is in memory.
        """
        held, begin, size = (
            self._held,
            self._held.index.starts[region],
            self._held.index.grains.size,
        )
        if not held.residency_known:
            return {}
        page, store = held.space.page, held.store
        first = begin + starts[0] * size
        low, high = store.offset(first), store.offset(begin + (ends[-1] + 1) * size - 1)
        states = bytes(store.pages[low // page : high // page + 1])
        if not states.translate(None, ALL_IN_RAM):
            return None
        sums, to_page = dict[int, tuple[int, int]](), low // page * page - low + first
        for each, start, end in zip(noted, starts, ends):
            at, behind = begin + start * size, begin + (end + 1) * size
            place = (at - to_page) // page
            if place == (behind - 1 - to_page) // page:
                state, length = states[place] & STATE, behind - at
                own = length * (state in IN_RAM), length * (state == SWAPPED)
            else:
                amount = store.amount(at, behind)
                own = amount.resident or 0, amount.swapped or 0
            known = sums.get(each, (0, 0))
            sums[each] = known[0] + own[0], known[1] + own[1]
        return sums


def _doubts(pattern: bytes) -> int:
    """Return what chunks of a pattern may be besides."""
    doubts = TEXT if pattern[0] in (NUMBER, OTHER) else 0
    if pattern[1] in LINKS:
        doubts |= LISTED if pattern[0] in LINKS else 0
        doubts |= TREE if len(pattern) > 4 else 0
    return doubts
