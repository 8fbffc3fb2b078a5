"""Why memory stays: other processes share it since a fork, or it is of the parent's threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..heap.states import State
from ..locate.runtimes import how_to_trim as how_to_call
from ..report.model import Finding, Worth, counted, size_text
from ..snapshots.forked import inherited_arenas, inherited_stacks
from .order import SMALLEST, Part
from .sums import SHOWN, Case, all_free, each_arena, free_at

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures

MUCH = 10  # percent; what less of it is shared isn't worth a sentence


def would_return(case: Case) -> str:
    """Say what malloc_trim(0) would do to the memory that it would give back."""
    private = _private(case)
    if private is None:
        return "malloc_trim(0) would give this back now."
    some = f"only {size_text(private)}" if private else "nothing"
    return (
        f"malloc_trim(0) would take {size_text(case.returnable or 0)} from RSS now, but {some} of "
        "it is private: the rest stays in RAM until all processes that share it have trimmed, too."
    )


def how_to_trim(case: Case) -> str:
    """Say where to call malloc_trim(0), and at which price."""
    price = "It locks each arena in turn, and memory that is used again is faulted in again."
    call, place, more = how_to_call(case.snapshot.runtimes)
    price = " ".join(filter(None, (more, price)))
    if _private(case) is None:
        return f"heapx trim --now, or {call}{place} at a quiet moment. {price}"
    parent = case.snapshot.target.parent
    where = f"the parent, process {parent.pid}," if parent else "the parent"
    return (
        f"{call} in {where} before it forks. Its children then begin without this memory. "
        f"Now it takes heapx trim --now in each process that shares it. {price}"
    )


def worth(case: Case) -> Worth | None:
    """Return what of it leaves RAM: what is private, where that is told; None if that is little."""
    private = _private(case)
    size = case.returnable if private is None else private
    return Worth(size, exact=True) if size and (private is None or size >= SMALLEST) else None


def of_it(case: Case, arena: ArenaFigures) -> str:
    """Say what of an arena's returnable memory is private, where that is told at all."""
    private = arena.trim.returned_private if arena.trim else None
    told = private is not None and _private(case) is not None
    return f", {size_text(private or 0)} of it private" if told else ""


def _private(case: Case) -> int | None:
    """Return what of the returnable memory is private, None where most of it is, or unknown."""
    whole, private = case.returnable, case.snapshot.returnable_private
    if whole is None or private is None or 100 * (whole - private) < MUCH * whole:
        return None
    return private if private < whole else None


def parents_arenas(case: Case) -> Iterator[Finding]:
    """What is free in arenas whose threads are the parent's."""
    arenas, parent = inherited_arenas(case.snapshot), case.snapshot.target.parent
    free = (State.BINNED, State.FAST, State.TOP)
    amounts = [(case.of(arena, *free), arena) for arena in arenas if not arena.main]
    if parent is None or not amounts:
        return
    whose = "their" if len(amounts) > 1 else "its"
    yield Finding(
        "parents_arenas",
        sum(amount for amount, _ in amounts),
        f"{counted(len(amounts), 'arena')} came with the fork: {whose} threads stayed in "
        f"{parent.name}, and what is free there waits for new threads of this one.",
        each_arena(case, amounts, free_at),
        "In the parent: malloc_trim(0) before it forks, or fork before its threads start. "
        "MALLOC_ARENA_MAX bounds the arenas of both.",
        about=all_free(case, (arena for _, arena in amounts)),
    )


def parents_stacks(case: Case) -> Iterator[Finding]:
    """What is in memory of the stacks of threads that are the parent's."""
    stacks, parent = inherited_stacks(case.snapshot), case.snapshot.target.parent
    if parent is None or not stacks:
        return
    sizes = sorted(((each.amount.in_ram, each.stack) for each in stacks), reverse=True)
    yield Finding(
        "parents_stacks",
        sum(size for size, _ in sizes),
        f"{counted(len(stacks), 'stack')} came with the fork: nptl keeps them for new threads of "
        f"this one, their own stayed in {parent.name}.",
        tuple(f"stack at {stack.start:#x}: {size_text(size)}" for size, stack in sizes[:SHOWN]),
        "In the parent: fork before its threads start. Here nothing gives them back, but new "
        "threads use them.",
        about={(Part.OUTSIDE, 0): sum(size for size, _ in sizes)},
    )
