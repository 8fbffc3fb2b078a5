"""What can go wrong: an error the user can act on, and damage found in the heap."""

from __future__ import annotations

from dataclasses import dataclass, replace


class HeapxError(Exception):
    """Something the user can act on: one statement, then what to do about it."""

    status = 3

    def __init__(self, statement: str, *remedies: str) -> None:
        super().__init__(statement, *remedies)
        self.statement = statement
        self.remedies = remedies

    def __str__(self) -> str:
        return "\n".join((self.statement, *(f"  {remedy}" for remedy in self.remedies)))


class UsageError(HeapxError):
    """The command line is wrong."""

    status = 2


class MemoryFault(HeapxError):  # noqa: N818
    """Memory of the target that can't be read; carries the address."""

    def __init__(self, address: int, size: int = 0) -> None:
        super().__init__(f"cannot read {size or 1} bytes at {address:#x}")
        self.address = address


@dataclass(frozen=True)
class Problem:
    """Something in the heap that isn't as glibc leaves it.

    `arena` is an index in ring order and `thread` an LWP, None where none is concerned. `in_motion`
    means that a thread was changing this very place, so it isn't damage.
    """

    code: str
    statement: str
    address: int | None = None
    arena: int | None = None
    thread: int | None = None
    in_motion: bool = False

    def moving(self) -> Problem:
        """Return the same problem, marked as in motion."""
        return replace(self, in_motion=True)
