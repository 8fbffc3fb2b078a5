"""An address space: its bytes, and the mappings that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Memory(Protocol):
    """Bytes of the target by address."""

    def read(self, address: int, size: int) -> memoryview:
        """Return `size` bytes at `address`; raise MemoryFault where they can't all be read."""


class Usage(NamedTuple):
    """What the kernel says of one mapping (smaps), in bytes.

    `apart` is "hugetlb" or "device" for what Rss doesn't count; `locked` tells of mlock.
    """

    resident: int
    proportional: int
    swapped: int
    shared: int
    huge: int
    hugetlb: int
    locked: bool
    apart: str | None


@dataclass(frozen=True)
class Mapping:
    """One mapping of the address space; `inode` is 0 where no file is behind it.

    `usage` is None where the kernel's figures aren't known, as in a core.
    """

    start: int
    end: int
    permissions: str
    inode: int
    name: str
    offset: int = 0
    usage: Usage | None = None

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def anonymous(self) -> bool:
        """Whether it is private memory without a file, where malloc may have put chunks."""
        return not self.inode and self.permissions.startswith("rw") and self.permissions[-1] == "p"
