"""heapx trim: what malloc_trim would give back, and calling it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..cli.arguments import ARENA, PAD, Arg
from ..cli.command import Needs, Session, command
from ..errors import HeapxError
from ..heap.trim import Trim
from ..report.model import ALWAYS, DATA_ONLY, Column, Kind, Report, Row, Table, Value, total
from ..snapshots.figures import ArenaFigures, select_arenas
from ..snapshots.malloc import Scope
from ..snapshots.take import Snapshot
from ._columns import LIBC
from ._notes import usual_notes

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


NOW = Arg("--now", "call malloc_trim in the process, and compare")


def _trim_columns() -> Iterator[Column]:
    for name, (title, rank) in TRIM_PARTS.items():
        gone = name == "already_returned"
        yield Column(name, Kind.BYTES, rank if gone else DATA_ONLY, title)
        yield Column(f"{name}_resident", Kind.BYTES, DATA_ONLY if gone else rank, title)


TRIM_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("returned", Kind.BYTES),
    Column("measured", Kind.BYTES, DATA_ONLY),
    *_trim_columns(),
    LIBC,
)


def trim_row(arena: ArenaFigures) -> Row:
    """Return one arena's row; all unknown where not all of its chunks could be walked over."""
    row: dict[str, Value] = {"arena": arena.index, "measured": None, "libc": arena.libc}
    trim: Trim | None = arena.trim
    row["returned"] = trim.returned if trim else None
    for name in TRIM_PARTS:
        part = getattr(trim, name) if trim else None
        row[name] = part.bytes if part else None
        row[f"{name}_resident"] = part.resident if part else None
    return row


@command("heapx trim", ARENA, PAD, NOW, needs=Needs.SESSION)
def trim(
    snapshot: Snapshot, session: Session, scope: Scope, arena: int | None, now: bool
) -> Report:
    """Tell what malloc_trim would give back, to the page, without calling it.

    returned is what RSS would fall by: whole pages inside free chunks of every arena, and the main
    arena's top. gone before: such pages that aren't in memory any more. The rest is kept: the tops
    of the other arenas, the caches of the threads, parts of pages, and chunks too small for one.

    --now is the only option of heapx that changes the process: it calls malloc_trim there, in one
    thread while the others stand still, and shows what it returned beside what was predicted. It
    refuses where a thread stands inside malloc. It trims all arenas, whichever are shown.

    Examples:

        heapx trim            what it would return; nothing is called
        heapx trim --pad 64M  the same, leaving 64 MiB at top
        heapx trim --now      call it, and compare
    """
    chosen = select_arenas(snapshot.arenas(), arena)
    if now:
        return _trim_now(snapshot, session, scope, chosen)
    rows = [trim_row(each) for each in chosen]
    columns = TRIM_COLUMNS if snapshot.target.no_residency is None else _virtual(TRIM_COLUMNS)
    table = Table("trim", columns, rows, total(columns, rows))
    returned = (table.total or {}).get("returned")
    where = "" if arena is None else " here. It trims every arena: without ARENA all are shown"
    verdict = (
        f"malloc_trim({scope.pad}) would return {returned:,} bytes of RAM{where}."
        if isinstance(returned, int)
        else "What malloc_trim would return is unknown."
    )
    return Report(
        (table,),
        snapshot.problems,
        notes=(verdict, *usual_notes(snapshot)),
        next_steps=(("heapx why", "what keeps the rest, and what to do"),),
    )


def _virtual(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return columns that show bytes of address space, where residency is unknown."""
    ranks = {c.name.replace("_resident", ""): c.rank for c in columns if c.rank != DATA_ONLY}
    return tuple(replace(c, rank=ranks.get(c.name, DATA_ONLY)) for c in columns)


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
    result = session.malloc_trim(scope.pad)
    after = session.take(Scope(walk=False, swap_in=scope.swap_in))
    left = {arena.address: arena.presence["system"].resident for arena in after.arenas()}
    rows: list[Row] = []
    for arena in chosen:
        before, rest = arena.presence["system"].resident, left.get(arena.address)
        fell = None if before is None or rest is None else before - rest
        rows.append({**trim_row(arena), "measured": fell})
    columns = tuple(replace(c, rank=ALWAYS) if c.name == "measured" else c for c in TRIM_COLUMNS)
    table = Table("trim", columns, rows, total(columns, rows))
    rss = snapshot.target.rss, after.target.rss
    called = f"Called malloc_trim({scope.pad}) in {snapshot.target.name}: it returned {result}."
    fall = () if None in rss else (f"RSS was {rss[0]:,} bytes and is {rss[1]:,}.",)
    return Report((table,), snapshot.problems, (called, *fall))
