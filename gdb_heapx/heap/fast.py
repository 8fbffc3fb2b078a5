"""Fast chunks that are told by their links: added up by size, and the proof that these are all.

Their addresses must be where the heads of the fastbins, and their links, lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import NamedTuple

from ..glibc.layout import FD, SIZE, Layout
from ..records import dataclass
from ..target.space import Residency, Space
from .arenas import Arena
from .folds import MODULUS, WORDS
from .holes import missing
from .places import Overlay
from .runs import Run
from .told import GRAIN, Linked, Told


class Looks(NamedTuple):
    """Chunks of one size that look fast: how many, and how many of them are a list's end; the sums
    of their addresses and links, and of the squares of those, less each other; the bytes of them
    that are absent, swapped, and shared (Space.missing).
    """

    chunks: int = 0
    ends: int = 0
    addresses: int = 0
    links: int = 0
    squares: int = 0
    absent: int = 0
    swapped: int = 0
    shared: int = 0

    def plus(self, other: Looks) -> Looks:
        return Looks(*(a + b for a, b in zip(self, other)))

    def cut(self) -> Looks:
        """Return the same, with the sums modulo what they are taken modulo."""
        addresses, links = self.addresses % WORDS, self.links % WORDS
        squares = self.squares % MODULUS
        return self._replace(addresses=addresses, links=links, squares=squares)

    def hang_in(self, head: int) -> bool:
        """Whether these chunks, and no other ones, are what a list has that begins at `head`.

        Each is then where the head or one link leads, and one link leads nowhere.
        """
        if not head or not self.chunks:
            return not head and not self.chunks
        sums = not (self.addresses - self.links - head) % WORDS
        return self.ends == 1 and sums and not (self.squares - head * head) % MODULUS


@dataclass
class LooksFast:
    """The chunks of a heap that look fast, by size."""

    told: Told | None
    residency: Residency | None
    sizes: dict[int, Looks] = field(default_factory=dict)

    def add(self, run: Run) -> None:
        for size, linked in run.told.items():
            self.sizes[size] = self.sizes.get(size, Looks()).plus(self._of(run, size, linked))

    def _of(self, run: Run, size: int, linked: Linked) -> Looks:
        """Return what chunks of one size are together."""
        start, (chunks, links) = run.start, linked
        number, indexes = len(chunks), sum(chunks)
        addresses = number * start + GRAIN * indexes
        # The sum of (start + GRAIN * i) ** 2, multiplied out: small numbers are added up fast.
        squares = start * (addresses + GRAIN * indexes) + GRAIN**2 * sum([i * i for i in chunks])
        sums = number, links.count(0), addresses, sum(links), squares - sum([a * a for a in links])
        some = run.addresses_of(chunks) if any(missing(self.residency, start, run.end)) else []
        lost = [missing(self.residency, chunk, chunk + size) for chunk in some]
        return Looks(*sums, *map(sum, zip((0, 0, 0), *lost)))

    def close(self, end: int) -> None:
        pass


def joined(heaps: Iterable[Mapping[int, Looks]]) -> dict[int, Looks]:
    """Return what all heaps of an arena have together."""
    found: dict[int, Looks] = {}
    for heap in heaps:
        for size, looks in heap.items():
            found[size] = found.get(size, Looks()).plus(looks)
    return found


def unproven(heads: Mapping[int, int], found: Mapping[int, Looks]) -> set[int]:
    """Return the sizes whose chunks that look fast aren't those of the fastbin; `heads` are the
    first chunks of the fastbins by size.
    """
    return {size for size, head in heads.items() if not found.get(size, Looks()).hang_in(head)}


def told_of(layout: Layout, arena: Arena, heads: Mapping[int, int]) -> Told | None:
    """Return how the fast chunks of an arena are told, None where their links aren't mangled."""
    if not layout.safe_linking or not heads or not arena.heaps:
        return None
    low, high = min(h.first for h in arena.heaps), max(h.end for h in arena.heaps)
    return Told(frozenset(heads), low, high, layout)


def is_fast(space: Space, overlay: Overlay, chunk: int) -> bool:
    """Tell whether a chunk in use, by its tags, is in a fastbin."""
    if chunk in overlay.fast or overlay.told is None:
        return chunk in overlay.fast
    words = space.words(chunk, FD + 1)
    return bool(overlay.told.among(chunk, {words[SIZE]: [0]}, words[FD:], ()))
