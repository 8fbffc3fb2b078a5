"""What is said of chunks whose words are of the same kinds."""

from __future__ import annotations

from itertools import compress
from typing import NamedTuple

from ..target.space import Words
from .recognisers import Recogniser

UNKNOWN, TEXT, LISTED, TREE = (1 << bit for bit in range(4))  # of a verdict's doubts
_WITH = {
    doubt: bytes(bool(doubts & doubt) for doubts in range(256))
    for doubt in (UNKNOWN, TEXT, LISTED, TREE)
}


class Verdict(NamedTuple):
    """What is noted of chunks of a pattern, but for `doubts`: they are UNKNOWN, and each must be
    looked at; or their first word may be TEXT; or these may be links of a list (LISTED), or of a
    TREE. Those that are `asked` tell.
    """

    note: int
    doubts: int
    asked: tuple[Recogniser, ...]


class Batch(NamedTuple):
    """Chunks of a region that are looked at together: the words of all, and where they lie; where
    among them the memory of each begins, its first word, and the doubts that there are about it.
    """

    region: int
    address: int
    words: Words
    lows: list[int]
    heads: list[int]
    doubts: bytes

    def of(self, doubt: int) -> list[int]:
        """Return the chunks about which there is this doubt."""
        return [*compress(range(len(self.lows)), self.doubts.translate(_WITH[doubt]))]
