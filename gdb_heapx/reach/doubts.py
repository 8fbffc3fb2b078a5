"""What a verdict that nothing refers to a chunk leaves open: what was not looked at, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..held.root import Missed, RootKind

if TYPE_CHECKING:
    from ..held.held import Held

HANDED_OUT = "a chunk that it is just given, or gives back, may seem unreferenced"


def doubts_of(held: Held) -> tuple[Missed, ...]:
    """Return what may refer to chunks, and could not be looked at."""
    return tuple(each for each in _all(held) if not each.taken_whole)


def hidden_by(held: Held) -> tuple[Missed, ...]:
    """Return what counts as a root, though only part of it may be one."""
    if not held.target.space.mappings:  # no other memory is known that it could count as
        return ()
    return tuple(each for each in _all(held) if each.taken_whole)


def _all(held: Held) -> Iterator[Missed]:
    yield from held.roots.missed
    yield from held.pointers.missed
    if held.store.swapped:
        yield Missed(RootKind.MAPPING, "chunks that are in swap", held.store.swapped)
    if held.store.unreadable:
        yield Missed(RootKind.MAPPING, "chunks that can't be read", held.store.unreadable)
    for lwp, function in held.inside.items():
        why = f"thread {lwp} is inside {function}: {HANDED_OUT}"
        yield Missed(RootKind.REGISTER, why)
