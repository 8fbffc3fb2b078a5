"""The address space cut into regions that have one owner each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from ..target.amounts import Amount, amount_of
from ..target.mappings import Mapping
from ..target.space import Residency, Space


class Owner(Enum):
    """What a byte of memory is for, in the order of the ledger."""

    MMAPPED = "mmapped chunks"
    RESERVED = "reserved by heaps"
    SBRK = "sbrk of others"
    STACKS = "thread stacks"
    FILES = "program and library files"
    ANONYMOUS = "other anonymous memory"
    SHARED = "shared memory"
    KERNEL = "the kernel's own"
    UNKNOWN = "unknown"
    HEAP = "heap"  # an arena's; the ledger divides it by State
    HUGETLB = "huge pages (not in RSS)"
    DEVICE = "devices (not in RSS)"


APART = (Owner.HUGETLB, Owner.DEVICE)


class OverlapError(Exception):
    """Two owners claim the same byte: a bug in heapx."""


@dataclass(frozen=True, order=True)
class Span:
    """A range that somebody is known to own.

    `arena` (its index), `libc` and `state` (its malloc_state's address) where it is an arena's.
    """

    start: int
    end: int
    owner: Owner
    arena: int | None = None
    libc: str | None = None
    state: int | None = None


@dataclass(frozen=True)
class Region:
    """A part of one mapping with its owner, and what of it is in memory."""

    span: Span
    mapping: Mapping
    amount: Amount


def tile(space: Space, spans: Iterable[Span]) -> tuple[Region, ...]:
    """Return regions that fill every mapping; OverlapError where two spans overlap.

    What no span covers belongs to whom the mapping belongs to. Where the mappings aren't known, the
    spans are all there is.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    if not space.mappings:  # a remote process: only what is malloc's is known
        return tuple(
            Region(
                span,
                Mapping(span.start, span.end, "rw-p", 0, ""),
                amount_of(None, span.start, span.end),
            )
            for span in ordered
        )
    for left, right in zip(ordered, ordered[1:]):
        if left.end > right.start:
            raise OverlapError(f"{left} and {right}")
    regions: list[Region] = []
    first = 0
    for mapping in sorted(space.mappings, key=lambda mapping: mapping.start):
        while first < len(ordered) and ordered[first].end <= mapping.start:
            first += 1
        parts = _parts(mapping, ordered, first)
        regions += (
            Region(part, mapping, _amount(mapping, part, space.residency)) for part in parts
        )
    return tuple(regions)


def _parts(mapping: Mapping, spans: list[Span], first: int) -> list[Span]:
    """Return the spans within a mapping, and its owner's parts between them."""
    owner, parts, at = owner_of(mapping), [], mapping.start
    for index in range(first, len(spans)):
        span = spans[index]
        if span.start >= mapping.end:
            break
        start, end = max(span.start, mapping.start), min(span.end, mapping.end)
        if at < start:
            parts.append(Span(at, start, owner))
        parts.append(replace(span, start=start, end=end))
        at = end
    if at < mapping.end:
        parts.append(Span(at, mapping.end, owner))
    return parts


def _amount(mapping: Mapping, part: Span, residency: Residency | None) -> Amount:
    """Return what of a region is in memory: as the kernel says where it is a whole mapping."""
    usage, size = mapping.usage, part.end - part.start
    if usage is not None and usage.apart:
        return Amount(size, 0, 0)
    if usage is not None and (part.start, part.end) == (mapping.start, mapping.end):
        return Amount(size, usage.resident, usage.swapped)
    return amount_of(residency if usage is not None else None, part.start, part.end)


def owner_of(mapping: Mapping) -> Owner:
    """Return the owner of what no span covers in a mapping."""
    if re.match(r"\[(v|uprobes|sigpage)", mapping.name):  # vdso, vvar, vvar_vclock, vsyscall
        return Owner.KERNEL
    if mapping.usage is not None and mapping.usage.apart:
        return Owner.HUGETLB if mapping.usage.apart == "hugetlb" else Owner.DEVICE
    if mapping.name.startswith("[stack"):
        return Owner.STACKS
    if re.match(r"/(dev/shm/|dev/zero|memfd:|SYSV)|\[anon_shmem", mapping.name):
        return Owner.SHARED
    if mapping.inode:
        return Owner.FILES
    return Owner.SHARED if mapping.permissions.endswith("s") else Owner.ANONYMOUS
