"""Every chunk in use, recognised: each gets a key, and those with the same one are added up.

The Python is the definition: classify.c does the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Union

from .compiled import CompiledRecognising
from .contents import WINDOW
from .counted import MOST_KNOWN, Alike, Kinds
from .heaps import HeldHeaps
from .kinds import UNREAD, Code
from .recognisers import HAS_OTHERS, Contents, others_in, recognise
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

ROUNDS = 8  # types of types


def classify(
    held: Held, around: Surroundings, regions: Iterable[int] | None = None, sizes: bool = False
) -> Kinds:
    """Return what each chunk in use is, of some regions or of all; with `sizes`, chunks of each
    size apart. StoppedError where it is stopped.
    """
    chosen = list(range(len(held.index.starts)) if regions is None else regions)
    counting = (
        Recognising(held, around) if held.functions is None else CompiledRecognising(held, around)
    )
    around.know(counting.gather(chosen))
    for _ in range(ROUNDS):
        found = counting.count(chosen, sizes)
        if not around.add_types(_types(counting, around, found)):
            break
    return found


def _types(
    counting: Recognising | CompiledRecognising, around: Surroundings, found: Kinds
) -> Iterator[int]:
    """Yield the type objects among CPython's objects that are chunks."""
    for number, group in enumerate(found.groups):
        key = group.key
        known = around.type_object(key.value) if key.code is Code.PYTHON and key.value else None
        if known is not None and known.meta:
            for user in counting.users(found, number):
                yield user + key.offset


class Recognising:
    """Chunks that are recognised one by one."""

    def __init__(self, held: Held, around: Surroundings) -> None:
        self._held, self._around = held, around
        self._heaps = HeldHeaps(held)
        self._word = held.space.word

    def gather(self, regions: Sequence[int]) -> dict[int, bool]:
        """Return the words in chunks that lead to data of files, and of each whether a chunk begins
        with it; as many as there is room for.
        """
        found: dict[int, bool] = {}
        for chunk in self._chunks(regions, "looking where chunks lead to"):
            contents = self._contents(chunk)
            for at, word in enumerate(contents.words if contents else ()):
                part = None if word % self._word else self._around.parts.at(word)
                if part is None or part.code:
                    continue
                if word in found or len(found) < MOST_KNOWN:
                    found[word] = found.get(word, False) or not at
        return found

    def count(self, regions: Sequence[int], sizes: bool) -> Kinds:
        """Return what the chunks are, by the words that mean something by now."""
        kinds = Kinds()
        kinds.make_room(self._held.index.chunks)
        for chunk in self._chunks(regions, "recognising chunks"):
            contents = self._contents(chunk)
            found = recognise(contents, self._around) if contents else UNREAD
            libc = self._held.parts[chunk.region].libc
            group = Alike(found.key, libc, chunk.bytes if sizes else 0)
            amount = self._held.amount(chunk)
            memory = amount.resident or 0, amount.swapped or 0  # 0 where nobody knows
            kinds.add(chunk, group, found.instances, memory)
            if contents and found.key.code in HAS_OTHERS:
                others = others_in(contents, found.key, self._around)
                kinds.inside.update((libc, vtable) for vtable in others)
        return kinds

    def users(self, kinds: Kinds, number: int) -> Iterator[int]:
        """Yield where the memory of each chunk of a group begins."""
        for chunk in self._held.index.each():
            if kinds.kinds[chunk.rank] == number:
                yield chunk.user

    def _chunks(self, regions: Sequence[int], what: str) -> Iterator[HeldChunk]:
        pace, index = self._held.target.space.pace, self._held.index
        pace.begin(what, sum(index.ends[at] - index.starts[at] for at in regions))
        for region in regions:
            for chunk in index.each_of(region):
                pace.check(chunk.address)
                pace.walked(chunk.bytes)
                yield chunk

    def _contents(self, chunk: HeldChunk) -> Contents | None:
        """Return what a chunk has, None where it isn't all at hand."""
        data = self._heaps.memory(chunk)
        if data is None:
            return None
        words = self._held.space.as_words(memoryview(data)).tolist()
        return Contents(chunk.user, words, data[:WINDOW])


Counting = Union[Recognising, CompiledRecognising]
