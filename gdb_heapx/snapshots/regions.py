"""The address space cut into regions that have one owner each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from ..target.amounts import Amount, sum_of
from ..target.mappings import DELETED, Mapping, Mappings, Usage

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
    """Regions that are alike, and what of all of them is in memory. Where they are whole mappings
    of one kind, the first one stands for all: `number` of them.
    """

    regions: Sequence[Region]
    amount: Amount
    number: int = 1


class Regions:
    """Regions: `single` ones, and `whole` mappings, by the numbers of their kinds. Of these each is
    made when somebody asks for it; those that are `cut` are none of them.
    """

    def __init__(
        self,
        single: Iterable[Region],
        mappings: Mappings,
        whole: dict[int, AlikeRegions],
        cut: Container[int] = (),
    ) -> None:
        self._single, self._mappings, self._whole, self._cut = tuple(single), mappings, whole, cut

    @classmethod
    def of(cls, regions: Iterable[Region]) -> Regions:
        """Return regions as such."""
        return regions if isinstance(regions, Regions) else cls(regions, Mappings.of(()), {})

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, at: int) -> Region:
        return self._all[at]

    def __iter__(self) -> Iterator[Region]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Regions, tuple)) and self._all == (*other,)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _all(self) -> tuple[Region, ...]:
        """All of them; by address, where they fill mappings."""
        if not self._whole:
            return self._single
        every = [*self._single, *self._wholes(self._whole)]
        return tuple(sorted(every, key=lambda region: region.span.start))

    def _wholes(self, whole: dict[int, AlikeRegions]) -> Iterator[Region]:
        for at, number in enumerate(self._mappings.numbers):
            if number in whole and at not in self._cut:
                first, mapping = whole[number].regions[0], self._mappings[at]
                span = first.span._replace(start=mapping.start, end=mapping.end)
                yield Region(span, mapping, first.amount)

    def owned_by(self, *owners: Owner) -> list[Region]:
        """Return those of these owners."""
        found = [region for region in self._single if region.span.owner in owners]
        whole = {n: each for n, each in self._whole.items() if each.regions[0].span.owner in owners}
        return [*found, *self._wholes(whole)] if whole else found

    @cached_property
    def alike(self) -> list[AlikeRegions]:
        """Those together that have one owner, and mappings of one name, permissions and file."""
        found: dict[tuple[Any, ...], list[Region]] = defaultdict(list)
        for region in self._single:
            found[region.span[2:] + region.mapping[2:5]].append(region)
        amounts = (sum_of(region.amount for region in each) for each in found.values())
        return [*map(AlikeRegions, found.values(), amounts), *self._whole.values()]


def unmapped(span: Span) -> Mapping:
    """Return a mapping for what is malloc's where none is known."""
    return Mapping(span.start, span.end, "rw-p", 0, "")


def of_mapping(mapping: Mapping, part: Span) -> Amount | None:
    """Return what of a region is in memory where a mapping tells; None where only pages do."""
    usage, size = mapping.usage, part.end - part.start
    if usage is None or usage.apart or size == mapping.end - mapping.start:
        return of_whole(size, usage)
    return None


def of_whole(size: int, usage: Usage | None) -> Amount:
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
