"""All chunks in use added up, by how they are reached and by kind."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .states import DEGREE, DEGREES
from .sums import Sampled

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import Index

REGIONS = 1 << 14  # that are added up before anybody is asked whether to go on
PIECE = 1 << 16  # chunks that are added up at once
Groups = list[list[Sampled]]
Ints = Sequence[int]


def sums_of(held: Held, states: bytearray, kinds: array[int] | None, number: int) -> Groups:
    """Return all chunks by degree and kind, of which there are so many; `states` and `kinds` are
    those of each, by its rank; without kinds all are of one.
    """
    groups: Groups = [[Sampled() for _ in range(number)] for _ in range(DEGREES)]
    index, whole = held.index, held.whole_regions()
    for region, first in enumerate(index.firsts):
        if not region % REGIONS:
            held.space.pace.check(0)
        if whole[region]:
            sizes = index.sizes_of(region)
            for done in range(0, len(sizes), PIECE):
                some = slice(first + done, first + min(done + PIECE, len(sizes)))
                of = kinds[some] if kinds else bytes(some.stop - some.start)
                columns = states[some], of, sizes[done : done + PIECE]
                _add_alike(groups, index, some.start, columns)
            continue
        for chunk in index.each_of(region):
            kind = kinds[chunk.rank] if kinds else 0
            groups[states[chunk.rank] & DEGREE][kind].add(chunk, held.amount(chunk))
    return groups


def _add_alike(groups: Groups, index: Index, rank: int, columns: tuple[Ints, Ints, Ints]) -> None:
    """Add chunks, all of them in RAM, from a rank on, by state, kind and size: those that are alike
    at once. Where each group has a sample, it is an earlier chunk.
    """
    found = Counter(zip(*columns))
    if all(groups[state & DEGREE][kind].sample for state, kind, _ in found):
        at = {}
    else:
        alike = [*zip(*columns)]
        at = dict(zip(reversed(alike), range(rank + len(alike) - 1, rank - 1, -1)))
    for (state, kind, size), chunks in found.items():
        group = groups[state & DEGREE][kind]
        first = index.ranked(at[state, kind, size]).address if at else group.sample
        group.take(chunks, size, first)
