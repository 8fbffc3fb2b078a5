"""Roots: the memory and registers from which a program reaches what malloc gave it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple, TypeVar

from ..records import dataclass
from ..target.mappings import merged


class RootKind(Enum):
    """What a root is; of what could be two the one that stands first here."""

    __hash__ = object.__hash__  # Enum's is a function in Python

    KEY = "values of pthread keys"
    TLS = "thread-local variables"
    RED_ZONE = "below a stack pointer"
    STACK = "stacks"
    REGISTER = "registers"
    GLOBAL = "variables"
    MAPPING = "other memory"
    SHARED = "shared memory"
    KERNEL = "kept by the kernel"


# What says where a word is, by the kind of its root.
PLACES = {
    RootKind.KEY: "key",
    RootKind.TLS: "tls",
    RootKind.RED_ZONE: "stack",  # as what is on it
    RootKind.STACK: "stack",
    RootKind.REGISTER: "register",
    RootKind.GLOBAL: "global",
    RootKind.MAPPING: "mapping",
    RootKind.SHARED: "shared",
    RootKind.KERNEL: "kernel",
}


class Root(NamedTuple):
    """Memory [start, end) whose aligned words are roots.

    `lwp` is the thread's that it belongs to, `image` the index in Target.objects of the file; None
    without. `name` says more: a mapping's name, or what of a thread it is.
    """

    kind: RootKind
    start: int
    end: int
    lwp: int | None = None
    image: int | None = None
    name: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start


class Register(NamedTuple):
    """What leads to chunks without being memory that is looked at: a register's words; as TLS, the
    address of a DTV, which is a chunk; what the kernel keeps for the process, whose LWP is its pid.
    """

    lwp: int
    name: str
    words: tuple[int, ...]
    kind: RootKind = RootKind.REGISTER


class Missed(NamedTuple):
    """What could not be looked at as it should be: how much, and why; None where nobody can tell.

    Where it was `taken_whole`, more counts as a root than is one, which may hide what nobody refers
    to; else what only it refers to seems unreferenced.
    """

    kind: RootKind
    why: str
    bytes: int | None = None
    taken_whole: bool = False


class LocalBlock(NamedTuple):
    """Where a thread has a file's thread-local variables: the file's index, None if unknown."""

    start: int
    end: int
    lwp: int
    image: int | None


@dataclass(frozen=True)
class Roots:
    """All roots: spans in the order of their addresses, which don't overlap, and registers.

    `blocks`, in order, too, are where thread-local variables lie, in spans or in chunks. `left` are
    addresses in chunks that threads which have ended left with their stacks: no leaks, but what
    these refer to may be one.
    """

    spans: tuple[Root, ...]
    registers: tuple[Register, ...]
    missed: tuple[Missed, ...]
    blocks: tuple[LocalBlock, ...] = ()
    left: tuple[int, ...] = ()

    def at(self, address: int) -> Root | None:
        """Return the span that has an address, None without."""
        return _having(self.spans, self._starts, address)

    def block_at(self, address: int) -> LocalBlock | None:
        """Return the thread-local variables that an address lies among, None without."""
        return _having(self.blocks, self._block_starts, address)

    @cached_property
    def _starts(self) -> array[int]:
        return array("Q", (root.start for root in self.spans))

    @cached_property
    def _block_starts(self) -> array[int]:
        return array("Q", (block.start for block in self.blocks))


Range = TypeVar("Range", Root, LocalBlock)


def _having(ranges: Sequence[Range], starts: array[int], address: int) -> Range | None:
    index = bisect_right(starts, address) - 1
    found = ranges[index] if index >= 0 else None
    return found if found and address < found.end else None


def _start(root: Root) -> int:
    return root.start


def arranged(layers: Iterable[Iterable[Root]], holes: Iterable[tuple[int, int]]) -> list[Root]:
    """Return roots in the order of their addresses: each layer without what `holes` and the layers
    before it have, so that none overlap.
    """
    taken = merged((start, end) for start, end in holes if start < end)
    found: list[Root] = []
    for layer in layers:
        parts = list(_apart(less(sorted(layer, key=_start), taken)))
        found += parts
        taken = merged([*taken, *((part.start, part.end) for part in parts)])
    return sorted(found, key=_start)


def less(roots: Iterable[Root], taken: list[tuple[int, int]]) -> Iterator[Root]:
    """Yield what of the roots lies in none of the spans, which are in order and apart."""
    for root in roots:
        at, index = root.start, max(bisect_right(taken, (root.start, root.start)) - 1, 0)
        while index < len(taken) and taken[index][0] < root.end:
            start, end = taken[index]
            if at < start:
                yield root._replace(start=at, end=start)
            at, index = max(at, end), index + 1
        if at < root.end:
            yield root if at == root.start else root._replace(start=at)


def _apart(ordered: Iterable[Root]) -> Iterator[Root]:
    """Yield the roots of one layer without what one before them has."""
    last = 0
    for root in ordered:
        start = max(root.start, last)
        if start < root.end:
            yield root._replace(start=start)
            last = root.end
