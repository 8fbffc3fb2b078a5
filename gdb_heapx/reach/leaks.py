"""The chunks in use by how they are reached from the roots; and heads of what nothing refers to."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..held.held import Held
from ..held.root import RootKind
from ..target.space import Words
from .compiled import flood_of
from .flood import Hanging, Sampled, Together
from .states import Degree

# What a row is about: chunks that are reached, by degree, and those that aren't.
REACHED = (Degree.REACHABLE, Degree.INTERIOR, Degree.RED_ZONE)
TOLD = (*REACHED, Degree.HEAD, Degree.HANGS)


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
    """How all chunks in use are reached: by degree, which add up to all, and by degree and kind."""

    degrees: Mapping[Degree, Together]
    leaks: Sequence[Leak]

    def of(self, *degrees: Degree) -> Iterator[Leak]:
        return (leak for leak in self.leaks if leak.degree in degrees)


def find_leaks(held: Held, kinds: array[int] | None = None, number: int = 1) -> Leaks:
    """Return how the chunks are reached; `kinds` has what kind each is of, by its rank, and there
    are so many. StoppedError where that is stopped.
    """
    held.space.pace.begin("following pointers")
    flood = flood_of(held, kinds, number)
    firm, red = root_words(held)
    flood.follow([firm], Degree.REACHABLE, inner=False)
    flood.follow_inside(Degree.INTERIOR)
    flood.follow([red], Degree.RED_ZONE, inner=True)
    hanging, sums = flood.part(), flood.sums()
    leaks = [leak for degree in TOLD for leak in _leaks(degree, sums[degree], hanging)]
    degrees = {degree: _sum(group.sum for group in sums[degree]) for degree in TOLD}
    return Leaks(degrees, leaks)


def root_words(held: Held) -> tuple[Words, Words]:
    """Return the words of roots that lead to chunks: of all but what lies below a stack pointer,
    and of that.
    """
    firm, red, roots = array("Q"), array("Q"), held.roots
    for at, to in zip(held.pointers.at, held.pointers.to):
        root = roots.at(at)
        below = root is not None and root.kind is RootKind.RED_ZONE
        (red if below else firm).append(to)
    for register in roots.registers:
        firm.extend(register.words)
    return firm, red


def _leaks(degree: Degree, groups: Sequence[Sampled], hanging: Sequence[Hanging]) -> Iterator[Leak]:
    for kind, group in enumerate(groups):
        if not group.sum.chunks:
            continue
        if degree is Degree.HEAD:
            yield Leak(degree, kind, group.sum, hanging[kind].sum.less(group.sum), hanging[kind].at)
        else:
            yield Leak(degree, kind, group.sum, Together(), group.samples[0])


def _sum(sums: Iterator[Together]) -> Together:
    whole = Together()
    for each in sums:
        whole.take(each)
    return whole
