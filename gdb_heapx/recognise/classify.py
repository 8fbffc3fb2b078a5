"""Every chunk in use, recognised: each gets a key, and those with the same one are added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Union

from .by_python import Recognising
from .compiled import CompiledRecognising
from .counted import Kinds
from .kinds import Code, Recognised
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

ROUNDS = 8  # types of types
FIRST = 8  # words of a chunk, among which its type is
Counting = Union[Recognising, CompiledRecognising]


def classify(
    held: Held, around: Surroundings, regions: Iterable[int] | None = None, sizes: bool = False
) -> Kinds:
    """Return what each chunk in use is, of some regions or of all; with `sizes`, chunks of each
    size apart. StoppedError where it is stopped.
    """
    compiled = held.table is not None
    way: Counting = (CompiledRecognising if compiled else Recognising)(held, around)
    return classified_by(way, held, around, regions, sizes)


def classified_by(
    way: Counting,
    held: Held,
    around: Surroundings,
    regions: Iterable[int] | None = None,
    sizes: bool = False,
) -> Kinds:
    """Return the same, counted in one way; again, if there are type objects among the chunks."""
    chosen = list(range(len(held.index.starts)) if regions is None else regions)
    way.prepare(chosen)
    for _ in range(ROUNDS):
        found = way.count(chosen, sizes)
        if not around.add_types(_types(way, around, found)):
            break
    return found


def classify_one(held: Held, around: Surroundings, chunk: HeldChunk) -> Recognised:
    """Return what one chunk is, without a look at others."""
    compiled = held.table is not None
    way: Counting = (CompiledRecognising if compiled else Recognising)(held, around, only=chunk)
    way.prepare([chunk.region])
    word = held.space.word
    first = held.store.read(chunk.user, min(chunk.usable // word, FIRST) * word)
    around.learn(held.space.as_words(first))
    found = way.count([chunk.region], sizes=False)
    return Recognised(found.groups[0].key, found.sums[0].instances)


def _types(way: Counting, around: Surroundings, found: Kinds) -> Iterator[int]:
    """Yield the type objects among CPython's objects that are chunks."""
    for number, group in enumerate(found.groups):
        key = group.key
        known = around.type_object(key.value) if key.code is Code.PYTHON and key.value else None
        if known is not None and known.meta:
            for user in way.users(found, number):
                yield user + key.offset
