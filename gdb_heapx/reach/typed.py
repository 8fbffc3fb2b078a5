"""What chunks are called: all of them, or single ones without a look at all others."""

from __future__ import annotations

from array import array

from ..held.held import Held
from ..held.index import HeldChunk
from ..recognise.classify import classify
from ..recognise.heaps import HeldHeaps, surroundings_of
from ..recognise.kinds import UNREAD
from ..recognise.names import type_of
from ..recognise.recognisers import recognise

LARGE = 1 << 20  # bytes of a chunk that compiled code looks at, where it has a mapping of its own


def types_of(held: Held) -> tuple[array[int], list[str]]:
    """Return the number of each chunk's type, by its rank, and the types' names."""
    around = surroundings_of(held)
    kinds = classify(held, around)
    return kinds.kinds, [type_of(group.key, around).name for group in kinds.groups]


class ChunkNames:
    """What chunks are called, one by one. What only a container tells of its body isn't known."""

    def __init__(self, held: Held) -> None:
        self._held, self._heaps = held, HeldHeaps(held)
        self._around = surroundings_of(held)
        self._names: dict[object, str] = {}

    def name(self, chunk: HeldChunk) -> str:
        if chunk.usable > LARGE and self._held.index.singles[chunk.region]:
            return self._of_region(chunk)
        self._held.lots.bring(chunk.region)
        contents = self._heaps.contents(chunk)
        if contents is not None:
            self._around.learn(contents.words)
        key = (recognise(contents, self._around) if contents else UNREAD).key
        if key not in self._names:
            self._names[key] = type_of(key, self._around).name
        return self._names[key]

    def _of_region(self, chunk: HeldChunk) -> str:
        around = surroundings_of(self._held)
        kinds = classify(self._held, around, [chunk.region])
        return type_of(kinds.groups[kinds.kinds[chunk.rank]].key, around).name
