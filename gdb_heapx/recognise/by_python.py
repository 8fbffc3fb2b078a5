"""Every chunk in use, recognised in Python: the definition of what classify.c does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .counted import Alike, KeySum, Kinds
from .heaps import HeldHeaps
from .kinds import UNREAD, Recognised
from .quick import Quick
from .recognisers import HAS_OTHERS, RECOGNISERS, Recogniser, others_in, recognise
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk


class Recognising:
    """Chunks that are recognised in Python: all, if `quick` many at once; or `only` one."""

    def __init__(
        self,
        held: Held,
        around: Surroundings,
        quick: bool = True,
        only: HeldChunk | None = None,
    ) -> None:
        self._held, self._around, self._quick, self._only = held, around, quick, only
        self._heaps = HeldHeaps(held, around.heaps.bodies)

    def prepare(self, regions: Sequence[int]) -> None:
        """Do nothing: what a word means is asked when it is met."""

    def count(self, regions: Sequence[int], sizes: bool) -> Kinds:
        """Return what the chunks of some regions are; those of heaps many at once."""
        held, kinds = self._held, Kinds()
        kinds.make_room(held.index.chunks)
        pace, index = held.space.pace, held.index
        pace.begin("recognising chunks", sum(index.ends[at] - index.starts[at] for at in regions))
        if self._only is not None:
            self._held.lots.bring(self._only.region)
            self._add(self._only, kinds, sizes)
            return kinds
        quickly = Quick(held, self._around, kinds, sizes, self._one)
        for region in regions:
            self._held.lots.bring(region)
            if self._quick and quickly.can(region):
                quickly.count(region)
                continue
            for chunk in index.each_of(region):
                pace.check(chunk.address)
                pace.walked(chunk.bytes)
                self._add(chunk, kinds, sizes)
        return kinds

    def _add(self, chunk: HeldChunk, kinds: Kinds, sizes: bool) -> None:
        libc = self._held.parts[chunk.region].libc
        found = self._one(chunk, RECOGNISERS, kinds)
        amount = self._held.amount(chunk)
        memory = amount.resident or 0, amount.swapped or 0  # 0 where nobody knows
        one = KeySum(1, chunk.bytes, found.instances, *memory, (chunk.user,))
        alike = Alike(found.key, libc, chunk.bytes if sizes else 0)
        kinds.kinds[chunk.rank] = kinds.add(alike, one)

    def _one(self, chunk: HeldChunk, asked: tuple[Recogniser, ...], kinds: Kinds) -> Recognised:
        """Return what a chunk is by those recognisers; count what lies inside it."""
        contents = self._heaps.contents(chunk)
        if contents is None:
            return UNREAD
        found = recognise(contents, self._around, asked)
        if found.key.code in HAS_OTHERS:
            libc = self._held.parts[chunk.region].libc
            others = others_in(contents, found.key, self._around)
            kinds.inside.update((libc, vtable) for vtable in others)
        return found

    def users(self, kinds: Kinds, number: int) -> Iterator[int]:
        """Yield where the memory of each chunk of a group begins."""
        for chunk in self._held.index.each():
            if kinds.kinds[chunk.rank] == number:
                yield chunk.user
