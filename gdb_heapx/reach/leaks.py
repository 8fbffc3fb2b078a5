"""The chunks in use by how they are reached from the roots; and heads of what nothing refers to."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..held.root import RootKind
from ..records import dataclass
from .compiled import flood_of
from .explain import Explained, explain
from .states import TOLD, Degree
from .sums import Hanging, Sampled, Together

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.space import Words


class Leak(NamedTuple):
    """Chunks of one degree and kind, by its number: how many, with their bytes and what of these is
    in memory. Of heads also what hangs from them; `sample` is the header of one: of heads that
    which most hangs from.
    """

    degree: Degree
    kind: int
    own: Together
    hanging: Together
    sample: int


@dataclass(frozen=True)
class Leaks:
    """How all chunks in use are reached: by degree, which add up to all, and by degree and kind;
    and what of the lost ones would be `explained` in the ways that roots were looked at.
    """

    degrees: Mapping[Degree, Together]
    leaks: Sequence[Leak]
    explained: Sequence[Explained] = ()

    def of(self, *degrees: Degree) -> Iterator[Leak]:
        return (leak for leak in self.leaks if leak.degree in degrees)


def find_leaks(held: Held, kinds: array[int] | None = None, number: int = 1) -> Leaks:
    """Return how the chunks are reached; `kinds` has what kind each is of, by its rank, and there
    are so many. StoppedError where that is stopped.
    """
    whole = sum(held.index.ends) - sum(held.index.starts)
    held.space.pace.begin("following pointers", whole)
    flood = flood_of(held, kinds, number)
    firm, red = root_words(held)
    flood.follow([firm], Degree.REACHABLE, inner=False)
    flood.follow_inside(Degree.INTERIOR)
    flood.follow([red], Degree.RED_ZONE, inner=True)
    left = []  # nobody looks there
    for address in held.roots.left:
        chunk = held.index.at(address)
        if chunk is not None and flood.leave(chunk):
            left.append(chunk.rank)
    hanging, sums = flood.part(), flood.sums()
    leaks = [leak for degree in TOLD for leak in _leaks(degree, sums[degree], hanging)]
    degrees = {degree: _sum(group.sum for group in sums[degree]) for degree in TOLD}
    return Leaks(degrees, leaks, tuple(explain(held, bytes(flood.states), left)))


def root_words(held: Held) -> tuple[Words, Words]:
    """Return the words of roots that lead to chunks: of all but what lies below a stack pointer,
    and of that.
    """
    firm, red, done = array("Q"), array("Q"), 0
    at, to = held.pointers.at, held.pointers.to
    for root in held.roots.spans:
        if root.kind is RootKind.RED_ZONE:
            first, last = bisect_left(at, root.start), bisect_left(at, root.end)
            firm.extend(to[done:first])
            red.extend(to[first:last])
            done = last
    firm.extend(to[done:])
    for register in held.roots.registers:
        firm.extend(register.words)
    return firm, red


def _leaks(degree: Degree, groups: Sequence[Sampled], hanging: Sequence[Hanging]) -> Iterator[Leak]:
    for kind, group in enumerate(groups):
        if not group.sum.chunks:
            continue
        if degree is Degree.HEAD:
            yield Leak(degree, kind, group.sum, hanging[kind].sum.less(group.sum), hanging[kind].at)
        else:
            yield Leak(degree, kind, group.sum, Together(), group.sample)


def _sum(sums: Iterator[Together]) -> Together:
    whole = Together()
    for each in sums:
        whole.take(each)
    return whole
