"""The chunks in use of one type, or of several."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import HeapxError
from ..held.held import Held
from ..recognise.classify import classify
from ..recognise.counted import Kinds
from ..recognise.heaps import surroundings_of
from ..recognise.types import types_in
from ..records import dataclass
from ..target.spelling import spelled

if TYPE_CHECKING:
    from .catalogue import Catalogue


@dataclass(frozen=True)
class OfType:
    """The addresses of all chunks in use whose group has one of these numbers."""

    held: Held
    kinds: Kinds
    numbers: frozenset[int]

    def __contains__(self, address: object) -> bool:
        index = self.held.index
        found = index.at(address + index.grains.header) if isinstance(address, int) else None
        return found is not None and self.kinds.kinds[found.rank] in self.numbers


def addresses_of(catalogue: Catalogue, name: str) -> OfType:
    """Return where chunks are of the type that is called so, or of those that a name with * means;
    HeapxError if there are none.
    """
    held = catalogue.hold(passes=True)  # it stands still in any case
    around = surroundings_of(held)
    kinds = classify(held, around)
    pattern = re.compile(".*".join(map(re.escape, spelled(name).split("*"))))
    wanted = [t for t in types_in(kinds, around) if pattern.fullmatch(t.titled.name)]
    numbers = frozenset(number for each in wanted for number in each.numbers)
    if numbers:
        return OfType(held, kinds, numbers)
    raise HeapxError(f"no chunk in use is of type {name!r}", "See: heapx types")
