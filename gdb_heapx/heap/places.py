"""Sets of chunks by address, small enough to have them all at hand."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import chain, groupby
from typing import NamedTuple

from ..records import dataclass
from .told import Told

BUCKET = 20  # chunks are kept by 2 ** BUCKET bytes of address space
_WITHIN = (1 << BUCKET) - 1  # what is kept of an address
NOWHERE: frozenset[int] = frozenset()


@dataclass
class Places:
    """A set of chunks' addresses: four bytes each. It is filled first, and then asked."""

    _buckets: dict[int, array[int]] = field(default_factory=dict)
    _sorted: set[int] = field(default_factory=set)
    _near: tuple[int, frozenset[int]] = (-1, frozenset())  # the bucket that was asked last

    def __contains__(self, chunk: int) -> bool:
        return chunk in self.bucket(chunk >> BUCKET)

    def bucket(self, number: int) -> frozenset[int]:
        """Return the chunks whose addresses, shifted by BUCKET, are this number."""
        if self._near[0] != number:
            self._near = number, self.between(number << BUCKET, number + 1 << BUCKET)
        return self._near[1]

    def add(self, chunk: int) -> None:
        bucket = self._buckets.get(chunk >> BUCKET)
        if bucket is None:
            bucket = self._buckets[chunk >> BUCKET] = array("I")
        bucket.append(chunk & _WITHIN)

    def update(self, chunks: Sequence[int]) -> None:
        """Add each of these chunks."""
        if chunks and max(chunks) >> BUCKET == min(chunks) >> BUCKET:  # most of a thread's
            self.add_bucket(chunks[0] >> BUCKET, [chunk & _WITHIN for chunk in chunks])
            return
        for number, near in groupby(sorted(chunks), BUCKET.__rrshift__):
            bucket = self._buckets.setdefault(number, array("I"))
            bucket.extend([chunk & _WITHIN for chunk in near])

    def add_bucket(self, number: int, offsets: Iterable[int]) -> None:
        """Add chunks of one bucket, by where they lie in it."""
        self._buckets.setdefault(number, array("I")).extend(array("I", offsets))

    def joined(self, chunks: Iterable[int]) -> Places:
        """Return a set that has these chunks as well."""
        both = Places({number: bucket[:] for number, bucket in self._buckets.items()})
        for chunk in chunks:
            both.add(chunk)
        return both

    def between(self, start: int, end: int) -> frozenset[int]:
        """Return the chunks in [start, end)."""
        return frozenset(chain.from_iterable(self._parts(start, end)))

    def upwards(self, start: int, end: int) -> array[int]:
        """Return the chunks in [start, end) in the order of their addresses: eight bytes each."""
        found = array("Q")
        for part in self._parts(start, end):
            found.extend(part)
        return found

    def _parts(self, start: int, end: int) -> Iterator[Iterable[int]]:
        """Yield the chunks in [start, end) bucket by bucket, in order."""
        for base, _ in self.buckets(start, end):
            bucket = self._in_order(base >> BUCKET)
            first, last = (bisect_left(bucket, at - base) for at in (max(start, base), end))
            yield map(base.__add__, bucket[first:last])

    def buckets(self, start: int, end: int) -> Iterator[tuple[int, array[int]]]:
        """Yield the buckets of [start, end) that have any, in order: where each begins, and where
        in it chunks lie, in no order, and some of them twice.
        """
        numbers = range(start >> BUCKET, (end - 1 >> BUCKET) + 1)
        few = len(numbers) < len(self._buckets)
        for number in numbers if few else sorted(self._buckets):
            if number in numbers and number in self._buckets:
                yield number << BUCKET, self._buckets[number]

    def _in_order(self, number: int) -> array[int]:
        if number not in self._sorted:
            self._buckets[number] = array("I", sorted(set(self._buckets[number])))
            self._sorted.add(number)
        return self._buckets[number]


class Overlay(NamedTuple):
    """Chunks that look in use and aren't the program's; the walk meets them where they must lie.

    `fast` are those in fastbins that were followed, `cached` those in tcaches and the tcaches
    themselves. `told` says how other fast chunks are told.
    """

    fast: Places
    cached: Places
    told: Told | None = None

    @classmethod
    def empty(cls) -> Overlay:
        return cls(Places(), Places())
