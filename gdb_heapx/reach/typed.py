"""What chunks are called: all of them, or single ones without a look at all others."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HeapxError, StoppedError
from ..held.costs import is_short
from ..recognise.classify import classify, classify_one
from ..recognise.heaps import HeldHeaps, surroundings_of
from ..recognise.kinds import UNREAD, Code, Key, Recognised, Type
from ..recognise.names import type_of
from ..recognise.recognisers import recognise

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..snapshots.opened import Opened

LARGE = 1 << 16  # bytes of a chunk that compiled code looks at, where there is some


class Types(NamedTuple):
    """The number of each chunk's type, by its rank, the types' names, and the ranks of streams'
    buffers.
    """

    kinds: array[int]
    names: list[str]
    streams: list[int]


def types_of(held: Held) -> Types:
    """Return what all chunks are called."""
    around = surroundings_of(held)
    kinds = classify(held, around)
    names = [type_of(group.key, around).name for group in kinds.groups]
    return Types(kinds.kinds, names, list(kinds.ranks_of(Code.STREAM)))


class ChunkTypes:
    """What chunks are, one by one, as `types_of` says it of all."""

    def __init__(self, held: Held) -> None:
        self.held, self._heaps = held, HeldHeaps(held)
        self._around = surroundings_of(held)
        self._types: dict[Key, Type] = {}

    def name(self, chunk: HeldChunk) -> str:
        return self.of(chunk)[1].name

    def of(self, chunk: HeldChunk) -> tuple[Recognised, Type]:
        """Return what a chunk is, and what is said of that."""
        found = self._large(chunk) if chunk.usable > LARGE else self._small(chunk)
        if found.key not in self._types:
            self._types[found.key] = type_of(found.key, self._around)
        return found, self._types[found.key]

    def _small(self, chunk: HeldChunk) -> Recognised:
        self.held.lots.bring(chunk.region)
        contents = self._heaps.contents(chunk)
        if contents is None:
            return UNREAD
        self._around.learn(contents.words)
        return recognise(contents, self._around)

    def _large(self, chunk: HeldChunk) -> Recognised:
        around = surroundings_of(self.held, self._around.heaps.bodies)
        return classify_one(self.held, around, chunk)


def types_if_short(opened: Opened, hold: Callable[[], Held], already: bool) -> ChunkTypes | None:
    """Return what the chunks in use of a target are, once it is held; None where that is refused,
    or long, if they aren't held already.
    """
    with suppress(HeapxError, StoppedError):
        return ChunkTypes(hold()) if already or is_short(opened) else None
    return None
