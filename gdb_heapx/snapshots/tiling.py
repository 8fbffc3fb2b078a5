"""The address space, cut: what spans don't cover is whose the mapping is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Container, Iterable, Iterator
from typing import TYPE_CHECKING

from ..target.amounts import Amount, amount_of
from ..target.mappings import Mapping, Mappings
from .regions import (
    AlikeRegions,
    Owner,
    Region,
    Regions,
    Span,
    of_mapping,
    of_whole,
    owner_of,
    unmapped,
)

if TYPE_CHECKING:
    from ..target.space import Residency, Space


class OverlapError(Exception):
    """Two owners claim the same byte: a bug in heapx."""


def tile(space: Space, spans: Iterable[Span], programs: Container[str] = ()) -> Regions:
    """Return regions that fill every mapping; OverlapError where two spans overlap.

    What no span covers belongs to whom the mapping belongs to: `programs` are the names of files
    that aren't data. Where the mappings aren't known, the spans are all there is.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    mappings = Mappings.of(space.mappings).in_order
    if not mappings:  # a remote process: only what is malloc's is known
        amounts = (amount_of(None, span.start, span.end) for span in ordered)
        return Regions.of(map(Region, ordered, map(unmapped, ordered), amounts))
    for left, right in zip(ordered, ordered[1:]):
        if left.end > right.start:
            raise OverlapError(f"{left} and {right}")
    owners = [owner_of(kind, programs) for kind in mappings.kinds]
    cut = dict(_cut(mappings, ordered, owners))
    single = [
        Region(part, mapping, _amount(mapping, part, space.residency))
        for at, mapping in ((at, mappings[at]) for at in sorted(cut))
        for part in cut[at]
    ]
    return Regions(single, mappings, dict(_whole(mappings, owners, cut)), cut)


def _cut(
    mappings: Mappings, spans: list[Span], owners: list[Owner]
) -> Iterator[tuple[int, list[Span]]]:
    """Yield the parts of each mapping that spans divide, or what a core leaves out; with its
    number.
    """
    for at in mappings.places(lambda kind: bool(kind.left_out)):
        yield at, _parts(mappings[at], owners[mappings.numbers[at]], [], 0)
    at = first = 0
    while first < len(spans):
        at = bisect_right(mappings.ends, spans[first].start, at)
        if at == len(mappings):
            return
        if mappings.starts[at] >= spans[first].end:
            first += 1
            continue
        yield at, _parts(mappings[at], owners[mappings.numbers[at]], spans, first)
        while first < len(spans) and spans[first].end <= mappings.ends[at]:
            first += 1
        at += 1


def _whole(
    mappings: Mappings, owners: list[Owner], cut: Collection[int]
) -> Iterator[tuple[int, AlikeRegions]]:
    """Yield what mappings without parts have together, by the number of their kind."""
    numbers, left = mappings.numbers, [*mappings.counts]
    for at in cut:
        left[numbers[at]] -= 1
    firsts: dict[int, Mapping] = {}
    for at, number in enumerate(numbers):
        if number not in firsts and at not in cut:
            firsts[number] = mappings[at]
    for number, first in firsts.items():
        amount = of_whole(first.size, first.usage)
        region = Region(Span(first.start, first.end, owners[number]), first, amount)
        yield number, AlikeRegions((region,), amount.times(left[number]), left[number])


def _parts(mapping: Mapping, owner: Owner, spans: list[Span], first: int) -> list[Span]:
    """Return the spans within a mapping, and its owner's parts between them."""
    parts, at = list[Span](), mapping.start
    for index in range(first, len(spans)):
        span = spans[index]
        if span.start >= mapping.end:
            break
        start, end = max(span.start, mapping.start), min(span.end, mapping.end)
        if at < start:
            parts += _rest(mapping, owner, at, start)
        parts.append(span._replace(start=start, end=end))
        at = end
    if at < mapping.end:
        parts += _rest(mapping, owner, at, mapping.end)
    return parts


def _rest(mapping: Mapping, owner: Owner, start: int, end: int) -> Iterator[Span]:
    """Yield what of a mapping no span covers, its owner's and what a core leaves out of it."""
    held = max(mapping.end - mapping.left_out, start)
    if start < min(held, end):
        yield Span(start, min(held, end), owner)
    if held < end:
        yield Span(held, end, Owner.ABSENT)


def _amount(mapping: Mapping, part: Span, residency: Residency | None) -> Amount:
    """Return what of a region is in memory: as the kernel says where it is a whole mapping."""
    return of_mapping(mapping, part) or amount_of(residency, part.start, part.end)
