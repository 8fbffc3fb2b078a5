"""What chunks are together: how many, of how many bytes, and what of these is in memory."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from ..held.index import HeldChunk
    from ..target.amounts import Amount


@dataclass
class Together:
    """Chunks together: how many, their bytes, and what of these is in RAM and in swap."""

    chunks: int = 0
    bytes: int = 0
    resident: int = 0
    swapped: int = 0

    def add(self, amount: Amount) -> None:
        self.chunks += 1
        self.bytes += amount.bytes
        self.resident += amount.resident or 0
        self.swapped += amount.swapped or 0

    def take(self, other: Together) -> None:
        """Add the chunks of another sum."""
        self.chunks += other.chunks
        self.bytes += other.bytes
        self.resident += other.resident
        self.swapped += other.swapped

    def less(self, other: Together) -> Together:
        """Return this sum without another one that is part of it."""
        return Together(
            self.chunks - other.chunks,
            self.bytes - other.bytes,
            self.resident - other.resident,
            self.swapped - other.swapped,
        )


@dataclass
class Sampled:
    """Chunks of one degree and kind: what they are together, and the header of the first one."""

    sum: Together = field(default_factory=Together)
    sample: int = 0

    def add(self, chunk: HeldChunk, amount: Amount) -> None:
        """Add a chunk."""
        self.sample = self.sample or chunk.address
        self.sum.add(amount)

    def take(self, number: int, size: int, first: int) -> None:
        """Add so many chunks of a size, all in RAM, of which the first lies there."""
        self.sample = min(self.sample or first, first)
        self.sum.take(Together(number, number * size, number * size))


@dataclass
class Hanging:
    """The heads of one kind with all that hangs from them; `at` is the one with `most` bytes."""

    sum: Together = field(default_factory=Together)
    most: int = 0
    at: int = 0
