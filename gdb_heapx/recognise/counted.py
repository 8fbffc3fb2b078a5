"""All chunks in use by what they are: how many there are of each key, and which one each has."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from typing import NamedTuple

from ..records import dataclass
from .kinds import Code, Key

MOST_KEYS = 1 << 15  # that tell more than what kind of thing it is
MOST_KNOWN = 1 << 17  # words that lead to data of files
SAMPLES = 3
NOWHERE = (1 << 32) - 1  # the number of a chunk that was not looked at


class Alike(NamedTuple):
    """What is counted together: a key, of a libc's chunks; `size` is that of each chunk, in bytes,
    0 where it doesn't matter.
    """

    key: Key
    libc: int
    size: int = 0

    @property
    def coarse(self) -> Alike:
        """What it is counted with where there is no room for it: what is of the same kind."""
        return Alike(Key(self.key.code), self.libc)


@dataclass(frozen=True)
class KeySum:
    """Chunks that are alike, with their bytes, and what of these is in memory and in swap; the
    objects in them; and where the memory of the first ones begins.
    """

    chunks: int = 0
    bytes: int = 0
    instances: int = 0
    resident: int = 0
    swapped: int = 0
    samples: tuple[int, ...] = ()

    def plus(self, other: KeySum) -> KeySum:
        """Return both together."""
        return KeySum(
            self.chunks + other.chunks,
            self.bytes + other.bytes,
            self.instances + other.instances,
            self.resident + other.resident,
            self.swapped + other.swapped,
            (*self.samples, *other.samples)[:SAMPLES],
        )


def _kinds() -> array[int]:
    return array("I")


@dataclass
class Kinds:
    """What all chunks are: `kinds` has the number of each one's group, by its rank. `inside` are
    objects by libc and vtable that lie in chunks which are of another class.

    `most` is how many groups there may be. Behind them, one for each code.
    """

    groups: list[Alike] = field(default_factory=list)
    sums: list[KeySum] = field(default_factory=list)
    kinds: array[int] = field(default_factory=_kinds)
    inside: Counter[tuple[int, int]] = field(default_factory=Counter)
    most: int = MOST_KEYS

    def __post_init__(self) -> None:
        self._numbers: dict[Alike, int] = {}

    def make_room(self, chunks: int) -> None:
        """Get room for so many chunks; those that nobody has recognised have NOWHERE."""
        self.kinds = array("I", [NOWHERE]) * chunks

    def add(self, alike: Alike, more: KeySum) -> int:
        """Count chunks that are alike, which come behind all that were counted; return the number
        of their group.
        """
        number = self._number(alike)
        self.sums[number] = self.sums[number].plus(more)
        return number

    def ranks_of(self, code: Code) -> Iterator[int]:
        """Yield the ranks of the chunks that are of one kind, of which there are few."""
        width, all_kinds = self.kinds.itemsize, self.kinds.tobytes()
        for number, group in enumerate(self.groups):
            wanted, at = array("I", [number]).tobytes(), -1
            while group.key.code == code and (at := all_kinds.find(wanted, at + 1)) >= 0:
                if at % width == 0:
                    yield at // width

    def _number(self, group: Alike) -> int:
        number = self._numbers.get(group)
        if number is None:
            if len(self.groups) >= self.most and group != group.coarse:
                return self._number(group.coarse)
            number = self._numbers[group] = len(self.groups)
            self.groups.append(group)
            self.sums.append(KeySum())
        return number
