"""The way from a root to a chunk, link by link; those that are alike are folded."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .places import Site, of_chunk, of_register, of_root
from .referrers import link
from .turns import TURNS, turn_of
from .typed import ChunkTypes
from .ways import way_to

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..held.root import Register, Root
    from ..target.space import Words
    from ..target.target import Local

# Links whose types are told; behind them those count as alike that are as large.
LOOKED_AT = 1 << 14


class Link(NamedTuple):
    """Words that lead on, each from the chunk that the one before leads to: the first one's place,
    what has it (None: no chunk), where it leads, how many there are, and how many words away from
    the chunk that was asked for the first one is. `offset` is None where they differ.
    """

    place: Site
    offset: int | None
    type: str | None
    to: int
    links: int
    depth: int


class _Step(NamedTuple):
    place: Site
    type: str | None
    bytes: int
    to: int
    depth: int

    @property
    def alike(self) -> tuple[object, ...]:
        return (self.place.kind, self.type, self.bytes, self.depth if not self.bytes else 0)


def chain_to(held: Held, goal: HeldChunk, known: Mapping[int, Local]) -> list[Link]:
    """Return the shortest way from a root to a chunk, from the root on; [] without one."""
    way = way_to(held, goal, (_words(held, turn) for turn in TURNS))
    if not way:
        return []
    steps = [_first(held, way[0], len(way), known), *_steps(held, way)]
    return [_folded(list(alike)) for _, alike in groupby(steps, key=lambda step: step.alike)]


def _words(held: Held, turn: int) -> Words:
    """Return the words of the roots of a turn that lead to chunks."""
    found = array("Q")
    for _, first, last in _spans(held, turn):
        found.extend(held.pointers.to[first:last])
    for register in _registers(held, turn):
        found.extend(register.words)
    return found


def _spans(held: Held, turn: int) -> Iterator[tuple[Root, int, int]]:
    at, images = held.pointers.at, held.target.objects
    for root in held.roots.spans:
        path = None if root.image is None else images[root.image].path
        if turn_of(root.kind, path) == turn:
            yield root, bisect_left(at, root.start), bisect_left(at, root.end)


def _registers(held: Held, turn: int) -> list[Register]:
    return [each for each in held.roots.registers if turn_of(each.kind, None) == turn]


def _first(held: Held, chunk: HeldChunk, links: int, known: Mapping[int, Local]) -> _Step:
    """Return the step from a root to the first chunk of the way: of words on stacks one of a
    variable, if there is any.
    """
    for turn in TURNS:
        words = list(_leading(held, turn, chunk))
        named = [at for at, _ in words if at in known and known[at].variable]
        for at, word in words:
            place = of_root(held, at, known)
            if place is not None and (not named or at == named[0]):
                return _Step(place, None, 0, word, links)
        for register in _registers(held, turn):
            for word in register.words:
                if chunk.user <= word < chunk.user + chunk.usable:
                    return _Step(of_register(register), None, 0, word, links)
    raise AssertionError("no root leads to the first chunk of a way")


def _leading(held: Held, turn: int, chunk: HeldChunk) -> Iterator[tuple[int, int]]:
    """Yield the words of roots of a turn that lead to a chunk: where each lies, and the word."""
    at, to = held.pointers.at, held.pointers.to
    for _, first, last in _spans(held, turn):
        for place in range(first, last):
            if chunk.user <= to[place] < chunk.user + chunk.usable:
                yield at[place], to[place]


def _steps(held: Held, way: Sequence[HeldChunk]) -> Iterator[_Step]:
    typed, type_name = ChunkTypes(held), None
    for number, (chunk, following) in enumerate(zip(way, way[1:])):
        lead = link(held, chunk, following)
        type_name = typed.name(chunk) if number < LOOKED_AT else type_name
        place = of_chunk(chunk, lead.at)
        yield _Step(place, type_name, chunk.bytes, lead.word, len(way) - 1 - number)


def _folded(steps: Sequence[_Step]) -> Link:
    first = steps[0]
    offsets = {step.place.offset for step in steps}
    offset = first.place.offset if len(offsets) == 1 else None
    return Link(first.place, offset, first.type, first.to, len(steps), first.depth)
