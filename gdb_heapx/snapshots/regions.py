"""The address space cut into regions that have one owner each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from ..target.amounts import Amount, amount_of, sum_of
from ..target.mappings import ADDRESSES, DELETED, Mapping, Usage

if TYPE_CHECKING:
    from ..target.space import Residency, Space

VARIABLES = "static variables (.bss)"


class Owner(Enum):
    """What a byte of memory is for, in the order of the ledger."""

    __hash__ = object.__hash__  # Enum's is a function in Python: each mapping asks it

    MMAPPED = "mmapped chunks"
    RESERVED = "reserved by heaps"
    SBRK = "sbrk of others"
    STACKS = "thread stacks"
    RUNTIME = "runtime memory"
    FILES = "program and library files"
    DATA = "data files"
    ANONYMOUS = "other anonymous memory"
    SHARED = "shared memory"
    KERNEL = "the kernel's own"
    UNKNOWN = "unknown"
    VOID = "reserved address space"
    ABSENT = "not in the core, or zeros"
    HEAP = "heap"  # an arena's; the ledger divides it by State
    HUGETLB = "huge pages (not in RSS)"
    DEVICE = "devices (not in RSS)"


EMPTY_IF_UNUSED = ("---", "-w-")  # permissions: nothing was touched, or it isn't in a core
APART = (Owner.HUGETLB, Owner.DEVICE)
# Address space with nothing behind it, or, in a core, likely so.
EMPTY = (Owner.RESERVED, Owner.VOID, Owner.ABSENT)


class OverlapError(Exception):
    """Two owners claim the same byte: a bug in heapx."""


class Span(NamedTuple):
    """A range that somebody is known to own.

    `arena` (its index), `libc` and `state` (its malloc_state's address) where it is an arena's.
    `name` says whose it is where the owner's kind doesn't: a runtime.
    """

    start: int
    end: int
    owner: Owner
    arena: int | None = None
    libc: str | None = None
    state: int | None = None
    name: str | None = None


class Region(NamedTuple):
    """A part of one mapping with its owner, and what of it is in memory."""

    span: Span
    mapping: Mapping
    amount: Amount


class AlikeRegions(NamedTuple):
    """Regions, and what of all of them is in memory."""

    regions: Sequence[Region]
    amount: Amount


def tile(space: Space, spans: Iterable[Span], programs: Container[str] = ()) -> tuple[Region, ...]:
    """Return regions that fill every mapping; OverlapError where two spans overlap.

    What no span covers belongs to whom the mapping belongs to: `programs` are the names of files
    that aren't data. Where the mappings aren't known, the spans are all there is.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    if not space.mappings:  # a remote process: only what is malloc's is known
        return tuple(
            Region(span, unmapped(span), amount_of(None, span.start, span.end)) for span in ordered
        )
    for left, right in zip(ordered, ordered[1:]):
        if left.end > right.start:
            raise OverlapError(f"{left} and {right}")
    ordered.append(Span(ADDRESSES, ADDRESSES, Owner.UNKNOWN))  # behind all of them
    regions: list[Region] = []
    wholes: dict[tuple[Any, ...], tuple[Owner, Amount]] = {}
    first = 0
    for mapping in sorted(space.mappings, key=attrgetter("start")):
        start, end, usage = mapping.start, mapping.end, mapping.usage
        kind = mapping[2:5], usage, end - start  # mappings by the thousand are alike
        whole = wholes.get(kind)
        if whole is None:
            whole = owner_of(mapping, programs), _of_whole(end - start, usage)
            wholes[kind] = whole
        owner, amount = whole
        while ordered[first].end <= start:
            first += 1
        if end <= ordered[first].start and not mapping.left_out:
            regions.append(Region(Span(start, end, owner), mapping, amount))
            continue
        for part in _parts(mapping, owner, ordered, first):
            regions.append(Region(part, mapping, _amount(mapping, part, space.residency)))
    return tuple(regions)


def alike(regions: Iterable[Region]) -> list[AlikeRegions]:
    """Return the regions that have one owner, and mappings of one name, permissions and file,
    together.
    """
    found: dict[tuple[Any, ...], list[Region]] = defaultdict(list)
    for region in regions:
        found[region.span[2:] + region.mapping[2:5]].append(region)
    return [AlikeRegions(each, sum_of(region.amount for region in each)) for each in found.values()]


def unmapped(span: Span) -> Mapping:
    """Return a mapping for what is malloc's where none is known."""
    return Mapping(span.start, span.end, "rw-p", 0, "")


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


def of_mapping(mapping: Mapping, part: Span) -> Amount | None:
    """Return what of a region is in memory where a mapping tells; None where only pages do."""
    usage, size = mapping.usage, part.end - part.start
    if usage is None or usage.apart or size == mapping.end - mapping.start:
        return _of_whole(size, usage)
    return None


def _of_whole(size: int, usage: Usage | None) -> Amount:
    """Return what the kernel says of so many bytes."""
    if usage is None:
        return Amount(size, None, None)
    if usage.apart:
        return Amount(size, 0, 0)
    return Amount(size, usage.resident, usage.swapped, usage.shared)


# vdso, vvar, vvar_vclock, vsyscall; rings of aio, io_uring, perf
_KERNEL = re.compile(r"\[(v|uprobes|sigpage)|/\[aio\]|anon_inode:")
_SHARED = re.compile(r"/(dev/shm/|dev/zero|memfd:|SYSV)|\[anon_shmem")


def owner_of(mapping: Mapping, programs: Container[str] = ()) -> Owner:
    """Return the owner of what no span covers in a mapping."""
    name, usage = mapping.name, mapping.usage
    apart, held = usage and usage.apart, usage and (usage.resident or usage.swapped)
    owner = _kind(name, mapping.inode, mapping.permissions, apart, bool(held))
    return Owner.FILES if owner is Owner.DATA and name.removesuffix(DELETED) in programs else owner


def _kind(name: str, inode: int, permissions: str, apart: str | None, held: bool) -> Owner:
    """Return the same without knowing the names of programs; `held` tells of memory in use.

    Where nobody may access a mapping, something is in memory only if it was put there when somebody
    might.
    """
    if name and _KERNEL.match(name):
        return Owner.KERNEL
    if apart:
        return Owner.HUGETLB if apart == "hugetlb" else Owner.DEVICE
    if name.startswith("[stack"):
        return Owner.STACKS
    if name and _SHARED.match(name):
        return Owner.SHARED
    if inode:
        return Owner.FILES if "x" in permissions else Owner.DATA
    if permissions.endswith("s"):
        return Owner.SHARED
    return Owner.VOID if permissions.startswith(EMPTY_IF_UNUSED) and not held else Owner.ANONYMOUS
