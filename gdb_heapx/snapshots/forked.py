"""What a forked process has of its parent's threads, which it hasn't: their arenas and stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..target.amounts import Amount, sum_of
from .regions import Owner

if TYPE_CHECKING:
    from ..locate.stacks import Stack
    from .figures import ArenaFigures
    from .take import Snapshot


class KeptStack(NamedTuple):
    """A stack that no thread of the process uses, and what of it is in memory."""

    stack: Stack
    amount: Amount


def inherited_arenas(snapshot: Snapshot) -> tuple[ArenaFigures, ...]:
    """Return the arenas without a thread whose threads the fork has left in the parent.

    A fork leaves all arenas but that of its own thread without one (arena.c,
    __malloc_fork_unlock_child).
    """
    parent, theirs = snapshot.target.parent, {thread.arena for thread in snapshot.left}
    idle = (each for each in snapshot.arenas() if each.threads == 0 and each.address in theirs)
    return tuple(arena for arena in idle if parent is not None and parent.has(arena.address))


def inherited_stacks(snapshot: Snapshot) -> tuple[KeptStack, ...]:
    """Return the stacks of the threads that the fork has left in the parent."""
    parent, found = snapshot.target.parent, list[KeptStack]()
    regions = snapshot.regions.owned_by(Owner.STACKS)
    for stack in snapshot.stacks:
        left = any(stack.start <= thread.block < stack.end for thread in snapshot.left)
        if left and parent is not None and parent.has(stack.end - 1):
            parts = (r.amount for r in regions if stack.start <= r.span.start < stack.end)
            found.append(KeptStack(stack, sum_of(parts)))
    return tuple(found)
