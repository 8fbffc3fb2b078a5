"""Words told by their bytes, many at once: in Python that costs least column by column.

Flags are a number that has a byte for each word, 0 or 1, that of the first word the lowest: what
the word behind each one has is `flags >> 8`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress

from ..target.space import Space
from .bits import DENSE

_NONZERO = b"\0" + b"\1" * 255


class Columns:
    """Words of a target. Their bytes are numbered, 0 is the lowest one."""

    def __init__(self, space: Space, data: bytes) -> None:
        self._data, self._word, self._length = data, space.word, len(data) // space.word
        self._little = space.byteorder == "little"
        self._columns: dict[int, bytes] = {}
        self.all = int.from_bytes(b"\1" * self._length, "little")  # flags

    def having(self, byte: int, values: Iterable[int]) -> int:
        """Flag the words of which this byte is one of some values."""
        wanted = frozenset(values)
        table = bytes(value in wanted for value in range(256))
        return int.from_bytes(self._column(byte).translate(table), "little")

    def from_on(self, byte: int) -> int:
        """Flag the words of which this byte or a higher one isn't 0."""
        either = 0
        for each in range(byte, self._word):
            either |= int.from_bytes(self._column(each), "little")
        return int.from_bytes(self.as_bytes(either).translate(_NONZERO), "little")

    def _column(self, byte: int) -> bytes:
        found = self._columns.get(byte)
        if found is None:
            place = byte if self._little else self._word - 1 - byte
            found = self._columns[byte] = self._data[place :: self._word]
        return found

    def as_bytes(self, flags: int) -> bytes:
        """Return a byte for each word."""
        return flags.to_bytes(self._length, "little")

    def flagged(self, flags: int) -> Iterable[int]:
        """Return which words are flagged, in order."""
        found = self.as_bytes(flags)
        if found.count(1) * DENSE > len(found):
            return compress(range(len(found)), found)
        return (flag.start() for flag in re.finditer(b"\1", found))


def top_byte(value: int) -> int:
    """Return the number of the highest byte that isn't 0."""
    return max(value.bit_length() - 1, 0) // 8


def words_within(space: Space, data: bytes, low: int, high: int) -> list[int]:
    """Return those words of a target that are of [low, high), in order: most others are told by one
    of their bytes.
    """
    columns, words, last = Columns(space, data), space.as_words(memoryview(data)), high - 1
    top = top_byte(max(last, 0))
    likely = columns.having(top, range(low >> 8 * top, (last >> 8 * top) + 1))
    return [word for word in compress(words, columns.as_bytes(likely)) if low <= word < high]
