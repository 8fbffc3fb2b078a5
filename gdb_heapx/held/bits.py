"""Bits of words, many at once: in Python that costs least by the digits of a number."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import compress

WORD_BITS = 64
ONE = ord("1")
AS_NUMBERS = bytes(digit == ONE for digit in range(256))
DENSE = 8  # bits of which one is set: then each is looked at

if sys.version_info >= (3, 10):
    ones = int.bit_count
else:

    def ones(bits: int) -> int:
        """Return how many bits are set."""
        return bin(bits).count("1")


def digits(words: Iterable[int]) -> bytes:
    """Return the bits of some words, from the lowest one on, each as the digit that it is."""
    found = array("Q", words)
    if sys.byteorder == "big":
        found.byteswap()
    lowest_first = bin(int.from_bytes(found.tobytes(), "little") | 1 << len(found) * WORD_BITS)
    return lowest_first[:2:-1].encode()


def set_bits(words: Iterable[int], first: int = 0) -> list[int]:
    """Return which bits of some words are set, in order; the lowest one is the `first`."""
    found = digits(words)
    if found.count(b"1") * DENSE > len(found):
        return [*compress(range(first, first + len(found)), found.translate(AS_NUMBERS))]
    return [first + digit.start() for digit in re.finditer(b"1", found)]


def words_of(bits: Sequence[int]) -> array[int]:
    """Return words in which these bits are set."""
    digits = bytearray(b"0") * ((bits[-1] // WORD_BITS + 1) * WORD_BITS)
    for bit in bits:
        digits[~bit] = ONE
    found = array("Q", int(digits, 2).to_bytes(len(digits) // 8, "little"))
    if sys.byteorder == "big":
        found.byteswap()
    return found
