"""The kinds of many words at once: most are told by what some of their bytes are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..held.columns import Columns, top_byte
from ..target.space import Words
from .recognisers import HEAP, NUMBER, OTHER, ZERO


class Glance:
    """Tells the kinds of words, of which pointers lead into `spans`; `ask` tells what kind one is
    that may lead there.
    """

    def __init__(
        self, word: int, spans: Iterable[tuple[int, int]], ask: Callable[[int], int]
    ) -> None:
        spans = [*spans]
        self._ask, self._small = ask, NUMBER if word == 8 else OTHER
        self._floor = min((1 << 32, *(start for start, _ in spans)))
        self._ceiling = max((1 << 32 if word == 8 else 1, *(end for _, end in spans)))
        self._top = top_byte(self._ceiling - 1)
        shift = 8 * self._top
        self._tops = {top for a, b in spans for top in range(a >> shift, (b - 1 >> shift) + 1)}
        if self._ceiling == 1 << 32:  # below that may be numbers anywhere
            self._tops = {*range(256)}

    def kinds(self, words: Words, columns: Columns, low: int, high: int) -> bytes:
        """Return the kind of each word; those that lead to [low, high) are of a heap."""
        floor, ceiling, small, ask = self._floor, self._ceiling, self._small, self._ask
        sure, told = self.sure(columns, low, high)
        kinds = bytearray(columns.as_bytes(told))
        for at in columns.flagged(columns.all & ~sure):
            word = words[at]
            kinds[at] = (
                HEAP
                if low <= word < high
                else ZERO
                if not word
                else small
                if word < floor
                else OTHER
                if word >= ceiling
                else ask(word)
            )
        return bytes(kinds)

    def sure(self, columns: Columns, low: int, high: int) -> tuple[int, int]:
        """Flag the words whose kinds their bytes tell; and return these kinds."""
        beyond, nonzero = columns.from_on(self._top + 1), columns.from_on(0)
        large = columns.from_on(top_byte(self._floor))
        numbers = nonzero & ~large
        others = large & (beyond | ~columns.having(self._top, self._tops))
        heap = self._inside(columns, low, high - 1) & ~beyond
        told = HEAP * heap | self._small * numbers | OTHER * others
        return heap | numbers | others | columns.all & ~nonzero, told

    def _inside(self, columns: Columns, low: int, last: int) -> int:
        """Flag words that lie in [low, last]: all of them but such as share two bytes with one of
        these, where they differ. Bytes above the highest one that addresses have don't count.
        """
        at = top_byte(low ^ last)  # the first one where they do
        if not at:
            return 0
        flags = columns.all
        for byte in range(at + 1, self._top + 1):
            flags &= columns.having(byte, (_byte(low, byte),))
        first, final = _byte(low, at), _byte(last, at)
        behind = columns.having(at - 1, range(_byte(low, at - 1) + 1, 256))
        before = columns.having(at - 1, range(_byte(last, at - 1)))
        low_edge = columns.having(at, (first,)) & behind
        high_edge = columns.having(at, (final,)) & before
        return flags & (columns.having(at, range(first + 1, final)) | low_edge | high_edge)


def _byte(value: int, number: int) -> int:
    return value >> 8 * number & 0xFF
