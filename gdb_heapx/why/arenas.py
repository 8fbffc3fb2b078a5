"""Why memory stays: it is spread over many arenas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..heap.states import State
from ..report.model import Finding, Worth, counted, size_text
from ..snapshots.forked import inherited_arenas
from .sources import WHEN, assign, source_of
from .sums import Case, all_free, at_ends, each_arena, free_at, free_parts

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures


def many_arenas(case: Case) -> Iterator[Finding]:
    """Many arenas, each with free memory that the threads of the others can't use."""
    for malloc in case.snapshot.mallocs:
        busy = [arena for arena in malloc.arenas if not arena.main and arena.threads != 0]
        others = [(case.reachable(arena) + case.of(arena, State.TOP), arena) for arena in busy]
        free = sum(amount for amount, _ in others)
        limit = malloc.parameters["arena_max"]
        by = source_of(malloc, "arena_max", case.environment) if limit else ""
        in_force = bool(by) and len(malloc.arenas) > malloc.defaults["arena_test"]
        if len(others) < 2 or 4 * max(amount for amount, _ in others) > 3 * free:
            continue
        yield Finding(
            "many_arenas",
            free,
            (f"arena_max is {limit:,}, set by {by}: " if in_force else "")
            + f"{len(malloc.arenas)} arenas, and what is free in one is of no use to the threads "
            "of others.",
            each_arena(
                case,
                others,
                lambda amount, arena: f"{size_text(amount)} free{_attached(arena)}",
            ),
            f"{_fewer(case, told=in_force)}. The price is contention. How much it saves, if "
            "anything, can't be computed.",
            in_force=in_force,
            about=free_parts(case, busy),
        )


def _attached(arena: ArenaFigures) -> str:
    return "" if arena.threads is None else f", {counted(arena.threads, 'thread')} attached"


def idle_arenas(case: Case) -> Iterator[Finding]:
    parents = inherited_arenas(case.snapshot)
    without = [a for a in case.snapshot.arenas() if a.threads == 0 and not a.main]
    idle = [arena for arena in without if arena not in parents]
    amounts = [(case.of(arena, State.BINNED, State.FAST, State.TOP), arena) for arena in idle]
    yield Finding(
        "idle_arenas",
        sum(amount for amount, _ in amounts),
        f"{counted(len(idle), 'arena')} without a thread: what is free there waits for a new one.",
        each_arena(case, amounts, free_at),
        f"Keep worker threads instead of ending them. Or bound the arenas: {_fewer(case)}. "
        "malloc_trim(0) returns the whole pages below their tops. How much fewer arenas save, "
        "if anything, can't be computed.",
        about=all_free(case, idle),
    )


def other_tops(case: Case) -> Iterator[Finding]:
    tops = [(case.kept_top(arena), arena) for arena in case.snapshot.arenas() if not arena.main]
    yield Finding(
        "other_tops",
        sum(amount for amount, _ in tops),
        "malloc_trim never returns the tops of arenas but the main one.",
        each_arena(
            case,
            tops,
            lambda amount, arena: (
                f"top {arena.top_address:#x}, {size_text(amount)}"
                + (" with the fast chunks that merge into it" if amount > arena.top else "")
            ),
        ),
        f"{_small_tops(case)}To bound their number: {_fewer(case)}.",
        Worth(case.retained, likely=sum(amount for amount, _ in tops)),
        about=at_ends(case, tops),
    )


def _fewer(case: Case, told: bool = False) -> str:
    """Say how to bound the number of arenas: by half of what there are. What bounds it now may have
    been told.
    """
    malloc = case.snapshot.mallocs[0]
    limit, number = malloc.parameters["arena_max"], len(malloc.arenas)
    if not limit:
        return f"MALLOC_ARENA_MAX={2 if number > 2 else 1}{WHEN}"
    source = source_of(malloc, "arena_max", case.environment)
    if limit < number:
        return f"MALLOC_ARENA_MAX={limit}{WHEN} ({source} set that when there were more already)"
    fewer = assign(malloc, "arena_max", max(number // 2, 1), case.environment)
    return fewer if told else f"{fewer} (it is {limit} now, by {source})"


def _small_tops(case: Case) -> str:
    """Say how to let free() trim the tops of other arenas; "" where that is set."""
    malloc, wanted = case.snapshot.mallocs[0], {"top_pad": 0, "trim_threshold": 4096}
    changes = [
        assign(malloc, name, value, case.environment)
        for name, value in wanted.items()
        if malloc.parameters[name] > value
    ]
    if not changes:
        return ""
    text = " and ".join(changes).replace(f"{WHEN} and", " and")
    return (
        f"{text}. A free that makes 64 KiB at the end of such an arena then leaves a page of its "
        "top, for more system calls. "
    )
