"""What a forked process has of its parent's threads, which it hasn't: their arenas and stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..target.amounts import Amount, sum_of
from .regions import Owner

if TYPE_CHECKING:
    from ..locate.nptl import Stack
    from .figures import ArenaFigures
    from .take import Snapshot


class KeptStack(NamedTuple):
    """A stack that no thread of the process uses, and what of it is in memory."""

    stack: Stack
    amount: Amount


def inherited_arenas(snapshot: Snapshot) -> tuple[ArenaFigures, ...]:
    """Return the arenas whose threads are the parent's.

    A fork leaves all arenas but that of its own thread without one (arena.c,
    __malloc_fork_unlock_child). That they have shared pages, and that the parent has memory there,
    tells them from those whose threads have ended since.
    """
    parent = snapshot.target.parent
    if parent is None:
        return ()
    idle = (arena for arena in snapshot.arenas() if arena.threads == 0 and arena.amount.shared)
    return tuple(arena for arena in idle if parent.has(arena.address))


def inherited_stacks(snapshot: Snapshot) -> tuple[KeptStack, ...]:
    """Return the stacks whose threads are the parent's.

    A fork puts them among those kept for threads to come, and writes to struct pthread (nptl,
    reclaim_stacks). They are told from those of threads that have ended since as arenas are; one
    that has no more than that page in memory isn't.
    """
    parent, found = snapshot.target.parent, list[KeptStack]()
    regions = [region for region in snapshot.regions if region.span.owner is Owner.STACKS]
    for stack in snapshot.stacks if parent is not None else ():
        parts = [r.amount for r in regions if stack.start <= r.span.start < stack.end]
        amount = sum_of(parts)
        if not stack.lwp and amount.shared and parent is not None and parent.has(stack.end - 1):
            found.append(KeptStack(stack, amount))
    return tuple(found)
