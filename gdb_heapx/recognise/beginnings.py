"""Where words may begin a container of libstdc++, told by little, before anything is looked up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING

from ..errors import MemoryFault
from ..glibc.layout import FLAGS, IS_MMAPPED
from ..held.columns import Columns, top_byte
from ..held.spots import BLOCK_BITS, BLOCKS, LARGEST, ROUNDED, may_call

if TYPE_CHECKING:
    from ..held.held import Held

AT_ONCE = 1 << 17  # words
LARGEST_BITS = LARGEST.bit_length() - 1
BLOCK_BYTE = 3  # of a word, by whose bits blocks with code are told


class Beginnings:
    """Tells where in memory that is at hand."""

    def __init__(self, held: Held) -> None:
        self._held, self._index, self._word = held, held.index, held.space.word
        coded = (block for block, has in enumerate(held.blocks) if has)
        self._coded = {block << BLOCK_BITS >> 8 * BLOCK_BYTE & 0xFF for block in coded}
        self._low, self._high = (
            (held.index.starts[0], max(held.index.ends)) if held.index.starts else (0, 0)
        )

    def within(self, start: int, end: int) -> Iterator[int]:
        """Yield where words of [start, end) may begin a container: a pointer into a heap, and a
        number, or two further ones, or code twice.
        """
        word, low, high, grain = self._word, self._low, self._high, self._index.grains.size
        blocks, space, step = self._held.blocks, self._held.space, AT_ONCE * self._word
        for at in range(start, end, step):
            size = (min(at + step + 3 * word, end) - at) // word * word
            data = bytes(self._held.store.read(at, size)) + bytes(word)
            words, columns = space.as_words(memoryview(data)), Columns(space, data)
            likely = columns.as_bytes(self._likely(columns))
            for place in compress(range(min(size // word - 2, AT_ONCE)), likely):
                first, second, third = words[place], words[place + 1], words[place + 2]
                if not low <= first < high or first % grain:
                    continue
                ordered = first <= second <= third < first + LARGEST
                coded = blocks[(third >> BLOCK_BITS) % BLOCKS]  # most words are not
                calls = coded and may_call(blocks, words[place : place + 4])
                sized = (ordered or second < LARGEST) and self._may_fill(first, second, third)
                if calls or sized:
                    yield at + place * word

    def _may_fill(self, address: int, second: int, third: int) -> bool:
        """Tell whether a chunk that begins there may have as much as two words say, by the size
        before it: most nodes of lists, and pointers to chunks one behind the other, don't.
        """
        try:
            size = self._size_before(address)
        except MemoryFault:
            return False
        if not size or size & IS_MMAPPED:  # not at hand, or to be rounded up to pages
            return True
        usable = (size & ~FLAGS) - self._word
        string = third < usable <= third + ROUNDED
        table = 0 <= usable - second * self._word < ROUNDED
        return string or table or address <= second <= third <= address + usable

    def _likely(self, columns: Columns) -> int:
        """Flag the words that may begin a container, by what one byte of each word tells: all that
        do, and few others.
        """
        low, last, large = self._low, self._high - 1, LARGEST_BITS // 8
        top = top_byte(last)
        leads = columns.having(top, range(low >> 8 * top, (last >> 8 * top) + 1))
        if self._word <= large:
            return leads
        near = range(low >> LARGEST_BITS, (last + LARGEST >> LARGEST_BITS) + 1)
        follows = columns.having(large, {each & 0xFF for each in near})
        small = columns.having(large, (0,))
        coded = columns.having(BLOCK_BYTE, self._coded)
        second, third, fourth = 8, 16, 24  # shifts: of the words behind each
        ordered = follows >> second & follows >> third
        return leads & (small >> second | ordered | coded >> third & coded >> fourth)

    def _size_before(self, address: int) -> int:
        """Return the size word of a chunk whose memory begins there."""
        data = self._held.store.read(address - self._word, self._word)
        return int.from_bytes(data, self._held.space.byteorder)
