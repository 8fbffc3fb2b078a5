"""Which chunks are taken together: those of one type and one size, or of one of both."""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MemoryFault
from ..recognise.classify import classify
from ..recognise.heaps import surroundings_of
from ..recognise.names import type_of
from ..records import dataclass

if TYPE_CHECKING:
    from ..held.held import Held

SHOWN = 24  # bytes of a chunk's memory


class Named(NamedTuple):
    """What chunks that are taken together have in common; None where that is no matter."""

    type: str | None
    size: int | None
    libc: str


@dataclass(frozen=True)
class Grouped:
    """What kind each chunk is of, by its rank, and what is said of each kind."""

    held: Held
    numbers: array[int]
    names: list[Named]

    def contents(self, chunk: int) -> str:
        """Return how the memory of a chunk begins: text, or bytes."""
        user = chunk + self.held.index.grains.header
        found = self.held.index.at(user)
        with suppress(MemoryFault):
            if found is not None:
                self.held.lots.bring(found.region)
                size = min(found.usable, SHOWN)
                return _shown(bytes(self.held.space.memory.read(user, size)))
        return ""


def grouped(held: Held, by: str | None) -> Grouped:
    """Return the chunks by type and size, or by one of these."""
    around = surroundings_of(held)
    kinds = classify(held, around, sizes=by != "type")
    found: dict[Named, int] = {}
    renamed = array("I")
    for group in kinds.groups:
        told = type_of(group.key, around)
        name = told.name if told else None
        named = Named(None if by == "size" else name, group.size or None, held.libcs[group.libc])
        renamed.append(found.setdefault(named, len(found)))
    numbers = kinds.kinds
    if len(found) < len(renamed):
        numbers = array("I", map(renamed.__getitem__, numbers))
    return Grouped(held, numbers, list(found))


def _shown(data: bytes) -> str:
    text = data.partition(b"\0")[0]
    if len(text) >= 4 and text.isascii() and text.decode().isprintable():
        return f'"{text.decode()}"'
    return data[:16].hex(" ", 8)
