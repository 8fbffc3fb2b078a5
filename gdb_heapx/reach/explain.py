"""How much of what is lost would be reached by pointers that aren't words as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..held.bits import ones
from ..held.hidden import SEEDED, Hidden, Way
from .otherwise import flood_otherwise
from .states import DEGREE, PENDING, Degree
from .sums import Together

if TYPE_CHECKING:
    from ..held.held import Held

LOST = (Degree.HEAD, Degree.HANGS)


class Explained(NamedTuple):
    """What would be reached in a way: how many heads, and all that is reached, with these."""

    way: Way
    heads: int
    sum: Together


def explain(held: Held, states: bytes, left: Iterable[int]) -> Iterator[Explained]:
    """Yield for each way in which roots were looked at what would be reached so, from them and from
    all that is reached. `states` are those of all chunks, of which nobody looks at those that are
    `left`, by rank. StoppedError where that is stopped.
    """
    for hidden in held.pointers.hidden:
        if not any(state & DEGREE in LOST for state in set(states)):
            yield Explained(hidden.way, 0, Together())
            continue
        flood = flood_otherwise(held, hidden.way, begin(states, hidden, left))
        found = flood.states.translate(bytes(s & DEGREE == Degree.EXPLAINED for s in range(256)))
        heads = states.translate(bytes(s & DEGREE == Degree.HEAD for s in range(256)))
        both = int.from_bytes(found, "little") & int.from_bytes(heads, "little")
        yield Explained(hidden.way, ones(both), flood.sums()[Degree.EXPLAINED][0].sum)


def begin(states: bytes, hidden: Hidden, left: Iterable[int]) -> bytes:
    """Return the states that a flood begins with: of what is to be looked at with PENDING."""
    degrees = states.translate(bytes(state & DEGREE for state in range(256)))
    both = int.from_bytes(degrees, "little") | int.from_bytes(hidden.seeds, "little")
    begun = bytearray(both.to_bytes(len(states), "little").translate(_BEGIN))
    for rank in left:
        begun[rank] &= DEGREE
    return bytes(begun)


def _begun(state: int) -> int:
    degree = state & DEGREE
    if degree not in LOST:
        return degree | PENDING
    return Degree.EXPLAINED | PENDING if state & SEEDED else degree


_BEGIN = bytes(map(_begun, range(256)))
