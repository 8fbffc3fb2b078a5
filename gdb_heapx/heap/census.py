"""Counts of chunks by their exact size: what is in use, and what is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Census(NamedTuple):
    """Numbers of chunks by chunk size in bytes; each chunk is in one of the two."""

    in_use: Mapping[int, int]
    free: Mapping[int, int]


def census_of(tagged: Census, freed: Iterable[Counter[int]], own: Counter[int]) -> Census | None:
    """Return the census, from the boundary tags and from the lists whose chunks look in use.

    `freed` are those lists (fastbins, tcaches), `own` malloc's chunks for itself. None where they
    name chunks that the walk hasn't met: the heap is damaged.
    """
    cached = sum(freed, Counter[int]())
    in_use = Counter(tagged.in_use)
    in_use.subtract(cached)
    in_use.subtract(own)
    if any(count < 0 for count in in_use.values()):
        return None
    return Census(+in_use, Counter(tagged.free) + cached)


def joined(parts: Iterable[Census]) -> Census:
    """Return several censuses taken together."""
    in_use, free = Counter[int](), Counter[int]()
    for part in parts:
        in_use.update(part.in_use)
        free.update(part.free)
    return Census(in_use, free)


class SizeRow(NamedTuple):
    """The chunks of one size, or from a power of two up to the next: counts and bytes."""

    size: int
    in_use_chunks: int
    in_use: int
    free_chunks: int
    free: int

    @property
    def bytes(self) -> int:
        return self.in_use + self.free


def power_in(size: int) -> int:
    """Return the largest power of two that is in a size."""
    return 1 << size.bit_length() - 1


def by_size(census: Census, group: bool) -> list[SizeRow]:
    """Return the rows of a census, the one with most bytes first; a `group` is a power of two."""
    sums: dict[int, list[int]] = {}
    for column, counts in enumerate(census):
        for size, count in counts.items():
            row = sums.setdefault(power_in(size) if group else size, [0, 0, 0, 0])
            row[2 * column] += count
            row[2 * column + 1] += size * count
    rows = (SizeRow(size, *row) for size, row in sums.items())
    return sorted(rows, key=lambda row: (-row.bytes, row.size))
