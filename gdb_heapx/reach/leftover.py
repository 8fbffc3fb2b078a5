"""What malloc has left in chunks: links of the lists that they were in while they were free."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

LINKS = 4  # words of a chunk's memory where malloc keeps links while it is free


def but_links(sought: Collection[int], words: Sequence[int], counts: Sequence[int]) -> set[int]:
    """Return which of the sought words are among the memory of chunks with so many words each, but
    not among the LINKS of any.
    """
    begins, found = [0, *accumulate(counts)], set[int]()
    for place in [place for place, word in enumerate(words) if word in sought]:
        if place - begins[bisect_right(begins, place) - 1] >= LINKS:
            found.add(words[place])
    return found
