"""heapx trim: what malloc_trim would give back, and calling it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..cli.arg import Arg
from ..cli.arguments import ARENA, PAD
from ..cli.command import Needs, command
from ..errors import HeapxError
from ..heap.states import Search
from ..report.model import Notes, Report, Steps
from ..report.notes import note
from ..report.schema import ALWAYS, DATA_ONLY, Column, Kind, Schema, Value, within
from ._columns import LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..cli.session import Session
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

# By part: its heading, and its rank where the terminal is narrow. Text shows what is resident.
TRIM_PARTS = {
    "returned_below_top": ("below top", 5),
    "returned_top": ("top", 5),
    "already_returned": ("gone before", 4),
    "kept_top": ("kept: top", 1),
    "kept_tcache": ("kept: tcache", 2),
    "kept_partial_page": ("kept: part page", 2),
    "kept_small_bins": ("kept: small", 1),
    "kept_locked": ("kept: locked", 1),
    "kept_foreign_brk": ("kept: brk moved", 1),
}
NEXT = (("heapx why", "what keeps the rest, and what to do"),)
NOW = Arg("--now", "call malloc_trim in the process, and compare")


class _Trimmed(NamedTuple):
    """An arena, and what its memory fell by in a real malloc_trim; None without one."""

    arena: ArenaFigures
    measured: int | None = None


def _predicted(*path: str) -> Callable[[_Trimmed], Value]:
    """Return what tells a figure of a trim; None where that, or the whole trim, isn't known."""
    getters = [attrgetter(name) for name in ("arena.trim", *path)]

    def predicted(it: _Trimmed) -> Value:
        found: Any = it
        for get in getters:
            found = None if found is None else get(found)
        return cast(Value, found)

    return predicted


def _trim_columns() -> Iterator[Column]:
    for name, (title, rank) in TRIM_PARTS.items():
        gone = name == "already_returned"
        ranks = (rank, DATA_ONLY) if gone else (DATA_ONLY, rank)
        yield Column(name, Kind.BYTES, ranks[0], title, of=_predicted(name, "bytes"))
        resident = _predicted(name, "resident")
        yield Column(f"{name}_resident", Kind.BYTES, ranks[1], title, of=resident)


TRIM = Schema(
    "trim",
    (
        Column("arena", Kind.INDEX, of="arena.index"),
        Column("returned", Kind.BYTES, of=_predicted("returned")),
        Column(
            "returned_private", Kind.BYTES, DATA_ONLY, "private", of=_predicted("returned_private")
        ),
        Column("measured", Kind.BYTES, DATA_ONLY),
        *_trim_columns(),
        *within("arena", LIBC),
    ),
    adds=(),
)


@command(
    "heapx trim",
    ARENA,
    PAD,
    NOW,
    needs=Needs.SESSION,
    tables=(TRIM,),
    search=Search.NONE,
    outcomes=True,
)
def trim(
    snapshot: Snapshot, session: Session, scope: Scope, arena: int | None, now: bool
) -> Report:
    """Tell what malloc_trim would give back, to the page, without calling it.

    returned is what RSS would fall by: whole pages inside free chunks of every arena, and the main
    arena's top. Where pages are shared since a fork, private is what leaves RAM by it: the rest
    stays there until the other processes have given it back, too. gone before: such pages that
    aren't in memory any more. The rest is kept: the tops of the other arenas, the caches of the
    threads, parts of pages, and chunks too small for one.

    --now changes the process, as only heapx growth does, too: it calls malloc_trim there, in one
    thread while the others stand still, and shows what it returned beside what was predicted. It
    refuses where a thread stands inside malloc. It trims all arenas, whichever are shown.

    Examples:

        heapx trim            what it would return; nothing is called
        heapx trim --pad 64M  the same, leaving 64 MiB at top
        heapx trim --now      call it, and compare
    """
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    if now:
        return _trim_now(snapshot, session, scope, chosen)
    table = _shown(snapshot, chosen).of([_Trimmed(each) for each in chosen])
    verdict = note(
        "trim_returns",
        pad=scope.pad,
        size=(table.total or {}).get("returned"),
        private=(table.total or {}).get("returned_private"),
        every=arena is None,
    )
    notes = Notes((verdict, *usual_notes(snapshot)))
    return Report((table, notes, Steps(NEXT)), snapshot.problems)


def _shown(snapshot: Snapshot, chosen: tuple[ArenaFigures, ...]) -> Schema:
    """Return the table; where residency is unknown, it shows bytes of address space, and where
    pages that would go are shared, what is private of them.
    """
    if snapshot.target.no_residency is None:
        trims = [arena.trim for arena in chosen if arena.trim is not None]
        shared = any(trim.returned != trim.returned_private for trim in trims)
        return TRIM.but("returned_private", rank=ALWAYS) if shared else TRIM
    ranks = {c.name.replace("_resident", ""): c.rank for c in TRIM.columns if c.rank != DATA_ONLY}
    columns = (replace(c, rank=ranks.get(c.name, DATA_ONLY)) for c in TRIM.columns)
    return replace(TRIM, columns=tuple(columns))


def _trim_now(
    snapshot: Snapshot, session: Session, scope: Scope, chosen: tuple[ArenaFigures, ...]
) -> Report:
    """Call malloc_trim, and report what was predicted beside what the kernel shows afterwards."""
    if not snapshot.target.live:
        raise HeapxError("a core can't be trimmed", "malloc_trim needs a living process.")
    damage = [problem for problem in snapshot.problems if problem.damage]
    if damage:
        raise HeapxError(
            f"the heap is damaged: {damage[0].statement}",
            "malloc_trim would crash the process, or make it worse.",
        )
    locked = [arena.index for arena in snapshot.arenas() if arena.locked]
    if locked:
        raise HeapxError(
            f"a thread holds the lock of arena {locked[0]}: malloc_trim would wait for it forever",
            "Let the process run on, and try again.",
        )
    result = session.malloc_trim(scope)
    after = session.take(replace(scope, walk=False, pad=0, search=Search.NONE))
    left = {arena.address: arena.amount.resident for arena in after.arenas()}
    trimmed: list[_Trimmed] = []
    for arena in chosen:
        before, rest = arena.amount.resident, left.get(arena.address)
        fell = None if before is None or rest is None else before - rest
        trimmed.append(_Trimmed(arena, fell))
    table = _shown(snapshot, chosen).but("measured", rank=ALWAYS).of(trimmed)
    rss, pss = (snapshot.target.rss, after.target.rss), (snapshot.target.pss, after.target.pss)
    called = note("trimmed", target=snapshot.target.name, pad=scope.pad, result=result)
    told = [called]
    if None not in rss:
        told.append(note("rss_fell", before=rss[0], after=rss[1]))
        if snapshot.returnable != snapshot.returnable_private:
            told.append(note("pss_fell", before=pss[0], after=pss[1]))
    return Report((Notes(tuple(told), leads=True), table), snapshot.problems)
