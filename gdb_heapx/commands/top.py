"""heapx top: each arena's top, what free() would return of it, and what pins the rest."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import NAMES, Search, State
from ..report.model import Notes, Report, Steps
from ..report.schema import ALWAYS, DATA_ONLY, Column, Kind, Schema, Value, within
from ._columns import IN_MEMORY, LIBC, threads_of
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..heap.pins import Pin
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount
    from ..why.thresholds import FreeTrim


class _Top(NamedTuple):
    arena: ArenaFigures
    top: Amount
    trim: FreeTrim


def _of_pin(figure: str | Callable[[Pin], Value]) -> Callable[[_Top], Value]:
    """Return what tells a figure of the last chunks below a top; None where there are none."""
    get: Callable[[Pin], Value] = attrgetter(figure) if isinstance(figure, str) else figure
    return lambda it: None if it.arena.last is None else get(it.arena.last)


def _held(figure: str) -> Callable[[_Top], Value]:
    """Return what tells what they hold: nothing where it is known that there are none."""
    of_pin, of_top = _of_pin(f"held.{figure}"), attrgetter(f"top.{figure}")

    def held(it: _Top) -> Value:
        none = it.arena.last is None and (it.arena.whatif is not None or not it.arena.top)
        return 0 if none and of_top(it) is not None else of_pin(it)

    return held


def _without(path: str) -> Callable[[_Top], Value]:
    get = attrgetter(f"tcaches.{path}")
    return lambda it: get(it.arena.whatif) if it.arena.whatif else None


TOPS = Schema(
    "top",
    (
        *within(
            "arena",
            Column("arena", Kind.INDEX, of="index"),
            Column("address", Kind.ADDRESS, rank=2, of="top_address"),
            Column("size", Kind.BYTES, of="top"),
        ),
        *within("top", *IN_MEMORY),
        Column("last_in_use", Kind.ADDRESS, DATA_ONLY, of="arena.last_in_use"),
        Column("pin", Kind.ADDRESS, of=_of_pin("address")),
        Column("pin_size", Kind.BYTES, DATA_ONLY, exact=True, of=_of_pin("size")),
        Column("pin_chunks", Kind.COUNT, DATA_ONLY, of=_of_pin("chunks")),
        Column(
            "pin_state",
            Kind.TEXT,
            title="state",
            absent="-",
            of=_of_pin(lambda pin: NAMES[pin.state]),
        ),
        Column("pin_threads", Kind.TEXT, DATA_ONLY, absent="-", of=_of_pin(threads_of)),
        Column("held", Kind.BYTES, DATA_ONLY, "holds", of=_held("bytes")),
        Column("held_resident", Kind.BYTES, title="holds", of=_held("resident")),
        Column("held_swapped", Kind.BYTES, DATA_ONLY, of=_held("swapped")),
        Column("without_tcaches", Kind.BYTES, DATA_ONLY, of=_without("by_free.resident")),
        Column("without_tcaches_trim", Kind.BYTES, DATA_ONLY, of=_without("by_trim.resident")),
        Column("free_would_trim", Kind.BYTES, title="trims", of="trim.bytes"),
        Column("reason", Kind.TEXT, of="trim.reason"),
        *within("arena", LIBC),
    ),
    adds=(),
)


@command("heapx top", ARENA, NO_WALK, tables=(TOPS,), search=Search.NONE, outcomes=True)
def top(snapshot: Snapshot, arena: int | None) -> Report:
    """Show each arena's top, what free() would return of it, and what pins the rest.

    free() returns memory from the end of an arena only, when what it frees, merged, has 64 KiB or
    more, and top then has at least trim_threshold. "trims" is what that free would return now.
    "pin" is the last chunk below top that is neither binned nor top: the free memory below it
    stays, as long as it is in use, or in a thread's tcache, or in a fastbin, as "state" says.
    Several that lie side by side count as one, and the first one is named. "holds" is by how much
    RSS would fall in free() without it; what is below the next such chunk stays.

    Examples:

        heapx top            which chunk keeps each arena from shrinking
        heapx top 0 --bytes  the main arena's, exactly
    """
    from ..snapshots.figures import select_arenas
    from ..why.thresholds import free_would_trim, thresholds

    chosen = select_arenas(snapshot.arenas(), arena)
    found = [
        _Top(each, each.amounts[State.TOP], free_would_trim(snapshot.target, malloc, each))
        for malloc in snapshot.mallocs
        for each in malloc.arenas
        if each in chosen
    ]
    # Where every chunk was seen, None means that there is no such chunk.
    none = "?" if any(each.whatif is None and each.top for each in chosen) else "none"
    table = TOPS.but("pin", absent=none).but("reason", flows=len(snapshot.mallocs) > 1)
    if snapshot.target.no_residency is not None:
        table = table.but("held_resident", rank=DATA_ONLY).but("held", rank=ALWAYS)
    environment = snapshot.target.environment
    limits = [thresholds(malloc, environment) for malloc in snapshot.mallocs]
    once = [each for i, each in enumerate(limits) if each not in limits[:i]]
    notes = Notes((*once, *usual_notes(snapshot)))
    return Report((table.of(found), notes, Steps(_largest_pin(chosen))), snapshot.problems)


def _largest_pin(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return the line that shows the chunk which holds most below its top."""
    last = [arena.last for arena in arenas if arena.last]
    pins = [(pin.held.in_ram, pin.address) for pin in last if pin.held.in_ram]
    if not pins:
        return ()
    return ((f"heapx chunk {max(pins)[1]:#x}", "the chunk that keeps most below a top"),)
