"""Two looks compared: all that changed, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..records import dataclass
from .arenas import ArenaChange, HeapChange, arena_changes, heap_changes
from .lists import BinChange, bin_changes
from .look import Look
from .outside import HolderChange, outside_changes
from .owners import OwnerChange, owner_changes
from .parts import Equation, equation
from .relation import Relation, by_address, relation
from .sizes import SizeChange, size_changes
from .types import TypeChange, type_changes


@dataclass(frozen=True)
class Comparison:
    """What changed from `old` to `new`, each kind the largest changes first.

    `sizes` and `types` are None where one look doesn't tell them.
    """

    old: Look
    new: Look

    @cached_property
    def relation(self) -> Relation:
        return relation(self.old, self.new)

    @cached_property
    def equation(self) -> Equation:
        return equation(self.old, self.new)

    @cached_property
    def owners(self) -> Sequence[OwnerChange]:
        return owner_changes(self.old, self.new)

    @cached_property
    def arenas(self) -> Sequence[ArenaChange]:
        return arena_changes(self.old, self.new, by_address(self.relation))

    @cached_property
    def heaps(self) -> Sequence[HeapChange]:
        return heap_changes(self.old, self.new, by_address(self.relation))

    @cached_property
    def bins(self) -> Sequence[BinChange]:
        return bin_changes(self.old, self.new, by_address(self.relation))

    @cached_property
    def sizes(self) -> Sequence[SizeChange] | None:
        return size_changes(self.old, self.new)

    @cached_property
    def types(self) -> Sequence[TypeChange] | None:
        return type_changes(self.old, self.new)

    @cached_property
    def outside(self) -> Sequence[HolderChange]:
        return outside_changes(self.old, self.new)
