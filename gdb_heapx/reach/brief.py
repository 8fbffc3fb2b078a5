"""What is in use, in brief: its largest types, who holds most of it, and what nobody refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..recognise.classify import classify
from ..recognise.heaps import surroundings_of
from ..recognise.kinds import Code
from ..recognise.names import FIRST_WORDS
from ..recognise.types import types_in
from .doubts import doubts_of
from .holders import find_holders

if TYPE_CHECKING:
    from ..held.held import Held

TYPES = 2
SHARE = 10  # a type with less than one part in so many is not told


class Brief(NamedTuple):
    """The largest types that were recognised, with their bytes; who holds most, and how much, None
    where nobody does, and whether that is held by it `alone`; and the bytes that nothing refers to:
    it is `certain` where all was looked at that could.
    """

    types: tuple[tuple[str, int], ...]
    holder: tuple[str, int] | None
    alone: bool
    unreferenced: int
    certain: bool


def in_brief(held: Held) -> Brief:
    """Return what is in use, in brief; StoppedError where that is stopped."""
    around = surroundings_of(held)
    kinds = classify(held, around)
    every = list(types_in(kinds, around))
    told = [t for t in every if t.titled.how not in (None, FIRST_WORDS)]
    told = sorted(told, key=lambda typed: -typed.sum.bytes)[:TYPES]
    large = [t for t in told if SHARE * t.sum.bytes >= sum(each.sum.bytes for each in every)]
    types = tuple((typed.titled.name, typed.sum.bytes) for typed in large)
    streams = list(kinds.ranks_of(Code.STREAM))
    found = find_holders(held, kinds.kinds, len(kinds.groups), streams)
    most = next((hold for hold in found.holds if hold.bytes), None)
    holder, alone = None, most is not None and not most.nearest.bytes
    if most is not None:
        name, lwp = most.holder.name, most.holder.lwp
        name = held.target.probe.demangled(name) or name
        holder = name if lwp is None else f"thread {lwp}'s {name}", most.bytes
    return Brief(types, holder, alone, found.unreachable.bytes, not doubts_of(held))
