"""What is said of chunks whose words are of the same kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .recognisers import Recogniser

UNKNOWN = -1  # noted where each chunk of a pattern must be looked at


class Verdict(NamedTuple):
    """What is noted of chunks of a pattern if they are neither text nor nodes; UNKNOWN where each
    must be looked at, by those who are `asked`. The others tell whether their first word may be
    text, and whether these may be links of a list, and of a tree.
    """

    note: int
    text: bool
    listed: bool
    tree: bool
    asked: tuple[Recogniser, ...]


class Batch(NamedTuple):
    """Chunks of a region that are looked at together: the words of all, and where they lie; where
    among them the memory of each begins, the pattern of each, and what is said of these.
    """

    region: int
    address: int
    words: list[int]
    lows: list[int]
    patterns: list[bytes]
    verdicts: dict[bytes, Verdict]

    def of(self, wanted: Callable[[Verdict], bool]) -> list[int]:
        """Return which chunks have a pattern of which this is so."""
        chosen = {pattern for pattern, verdict in self.verdicts.items() if wanted(verdict)}
        if not chosen:
            return []
        return [at for at, pattern in enumerate(self.patterns) if pattern in chosen]
