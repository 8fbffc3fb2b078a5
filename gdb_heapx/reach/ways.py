"""The shortest way from a root to a chunk, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .nearest import NOWHERE, RANKS, nearest_of

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..target.space import Words

ROOT = 1  # what is noted where a word of a root leads to a chunk


def way_to(held: Held, goal: HeldChunk, roots: Iterable[Words]) -> list[HeldChunk]:
    """Return the chunks on the shortest way to one, which is the last; [] where none leads there.

    Roots are words in groups: it begins in the first group from which there is one. StoppedError
    where it is stopped.
    """
    held.space.pace.begin("following pointers")
    search = nearest_of(held, goal)
    for words in roots:
        search.take(ROOT, words)
        search.follow()
        if search.origin(goal.rank) != NOWHERE:
            break
    else:
        return []
    way = [goal]
    while (origin := search.origin(way[-1].rank)) != ROOT:
        way.append(held.index.ranked(origin - RANKS))
    return way[::-1]
