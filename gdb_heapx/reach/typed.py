"""What single chunks are, without a look at all others."""

from __future__ import annotations

from ..held.held import Held
from ..held.index import HeldChunk
from ..recognise.contents import WINDOW
from ..recognise.heaps import HeldHeaps
from ..recognise.names import type_of
from ..recognise.recognisers import Contents, recognise
from ..recognise.surroundings import Surroundings

UNREAD = "not read"


class Typed:
    """What chunks are called, one by one. What only a container tells of its body isn't known."""

    def __init__(self, held: Held) -> None:
        self._held, self._heaps = held, HeldHeaps(held)
        self._around = Surroundings(held.target, self._heaps)
        self._names: dict[object, str] = {}

    def name(self, chunk: HeldChunk) -> str:
        data = self._heaps.memory(chunk)
        if data is None:
            return UNREAD
        words = self._held.space.as_words(memoryview(data)).tolist()
        self._around.learn(words)
        key = recognise(Contents(chunk.user, words, data[:WINDOW]), self._around).key
        if key not in self._names:
            self._names[key] = type_of(key, self._around).name
        return self._names[key]
