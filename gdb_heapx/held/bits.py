"""Bits of words, many at once: in Python that costs least by the digits of a number."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Sequence

WORD_BITS = 64
ONE = ord("1")

if sys.version_info >= (3, 10):
    ones = int.bit_count
else:

    def ones(bits: int) -> int:
        """Return how many bits are set."""
        return bin(bits).count("1")


def set_bits(words: Iterable[int]) -> list[int]:
    """Return which bits of some words are set, in order."""
    found = array("Q", words)
    if sys.byteorder == "big":
        found.byteswap()
    bits = int.from_bytes(found.tobytes(), "little")
    return [digit.start() for digit in re.finditer("1", bin(bits)[:1:-1])]


def words_of(bits: Sequence[int]) -> array[int]:
    """Return words in which these bits are set."""
    digits = bytearray(b"0") * ((bits[-1] // WORD_BITS + 1) * WORD_BITS)
    for bit in bits:
        digits[~bit] = ONE
    found = array("Q", int(digits, 2).to_bytes(len(digits) // 8, "little"))
    if sys.byteorder == "big":
        found.byteswap()
    return found
