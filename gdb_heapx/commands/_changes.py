"""The report on what has changed between two looks, for a command and for the shell's watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..heap.states import NAMES
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, NONE_KNOWN, Column, Kind, Schema, Table, Value, within
from ._columns import LIBC

if TYPE_CHECKING:
    from ..compare.comparing import Comparison
    from ..compare.look import Look
    from ..compare.parts import Equation
    from ..saved.saved import Saved

RESIDENT = Column("resident_change", Kind.BYTES, title="resident", signed=True)
VIRTUAL = Column("virtual_change", Kind.BYTES, title="virtual", signed=True)
CHANGE = (
    *within("change.amount", replace(RESIDENT, of="resident"), replace(VIRTUAL, of="bytes")),
    *within(
        "change.amount",
        Column("swapped_change", Kind.BYTES, 6, title="swapped", signed=True, of="swapped"),
    ),
)


def _of(look: str, what: str) -> Callable[[Any], int | None]:
    """Return what tells an amount before or now: 0 where there was, or is, no such thing."""

    def told(row: Any) -> int | None:
        amount = row.change.old if look == "old" else row.change.new
        if amount is None:
            return 0
        found: int | None = amount.resident if what == "resident" else amount.bytes
        return found

    return told


WAS_AND_IS = (
    Column("old_resident", Kind.BYTES, 2, title="was", of=_of("old", "resident")),
    Column("new_resident", Kind.BYTES, 2, title="is", of=_of("new", "resident")),
    Column("old_virtual", Kind.BYTES, DATA_ONLY, of=_of("old", "bytes")),
    Column("new_virtual", Kind.BYTES, DATA_ONLY, of=_of("new", "bytes")),
)
IN_USE = Column("in_use_change", Kind.BYTES, title="in use", signed=True, of="in_use")
FREE = Column("free_change", Kind.BYTES, title="free", signed=True, of="free")
CHUNKS = Column("chunks_change", Kind.COUNT, title="chunks", signed=True, of="chunks")

OWNERS = Schema("compare", (Column("owner", Kind.TEXT, of="name"), *CHANGE, *WAS_AND_IS))
ARENAS = Schema(
    "compare_arenas",
    (
        Column("arena", Kind.INDEX, absent="mmapped", of="number"),
        Column("old_arena", Kind.INDEX, DATA_ONLY, of="was"),
        Column("address", Kind.ADDRESS, 5, absent=""),
        *CHANGE,
        IN_USE,
        *within(
            "free.amount",
            replace(FREE, of="bytes", rank=3),
            Column(
                "free_resident_change",
                Kind.BYTES,
                title="free resident",
                signed=True,
                of="resident",
            ),
        ),
        *WAS_AND_IS,
        LIBC,
    ),
    adds=(),
)
HEAPS = Schema(
    "compare_heaps",
    (
        Column("arena", Kind.INDEX),
        Column("address", Kind.ADDRESS),
        Column("was", Kind.BOOL, title="was there"),
        Column("is", Kind.BOOL, title="is there", of="here"),
        *CHANGE,
        IN_USE,
        FREE,
        *WAS_AND_IS,
        LIBC,
    ),
    adds=(),
)
BINS = Schema(
    "compare_bins",
    (
        Column("arena", Kind.INDEX, absent="tcaches"),
        Column("kind", Kind.TEXT, of=lambda row: NAMES[row.kind]),
        Column("bin", Kind.INDEX, of="number"),
        Column("min_size", Kind.BYTES, exact=True),
        CHUNKS,
        *CHANGE,
        *WAS_AND_IS,
        LIBC,
    ),
    adds=("chunks_change",),
)
SIZES = Schema(
    "compare_sizes",
    (
        Column("size", Kind.BYTES, title="chunk size", exact=True),
        replace(CHUNKS, name="in_use_chunks_change", title="in use #", of="in_use_chunks"),
        IN_USE,
        replace(CHUNKS, name="free_chunks_change", title="free #", of="free_chunks"),
        FREE,
    ),
    adds=("in_use_chunks_change", "free_chunks_change"),
)
TYPES = Schema(
    "compare_types",
    (
        Column("type", Kind.TEXT, shrinks=True),
        Column("how", Kind.TEXT, rank=3, absent="-"),
        CHUNKS,
        *CHANGE,
        *WAS_AND_IS,
    ),
    adds=("chunks_change",),
)
KINDS = {
    "owner": OWNERS,
    "arena": ARENAS,
    "heap": HEAPS,
    "bin": BINS,
    "size": SIZES,
    "type": TYPES,
}
ROWS: dict[str, Callable[[Comparison], Sequence[Any] | None]] = {
    "owner": lambda changes: changes.owners,
    "arena": lambda changes: changes.arenas,
    "heap": lambda changes: changes.heaps,
    "bin": lambda changes: changes.bins,
    "size": lambda changes: changes.sizes,
    "type": lambda changes: changes.types,
}
WORDS = {**{kind: kind for kind in KINDS}, "size": "size of chunk"}
SHOWN = 5  # rows of a table beside the first
NEXT = {
    "in use": (("heapx leaks", "what of it nothing refers to; also: holders, types"),),
    "free": (("heapx why", "why malloc keeps it, and what helps; also: pins, trim"),),
    "outside malloc": (("heapx ledger --outside", "who has it, by name"),),
}


def look_of(saved: Saved) -> Look:
    """Return a saved snapshot as a look."""
    from ..compare.look import Look

    return Look(saved.snapshot, saved.taken.time, saved.taken.host, saved.tables)


BRIEFLY = ("owner", "arena")


def changes_report(changes: Comparison, by: str | None = None, brief: bool = False) -> Report:
    """Return the report on two looks: the verdict, and what changed; by one kind only if asked, or
    if brief by owner and arena.
    """
    from ..compare.relating import relating_notes

    chosen = (by,) if by else BRIEFLY if brief else tuple(KINDS)
    tables = {kind: _table(changes, kind) for kind in chosen}
    found = {kind: _worded(table) for kind, table in tables.items() if table is not None}
    unchanged = tuple(WORDS[kind] for kind, table in found.items() if not table.rows)
    shown = list(found.values()) or [_worded(KINDS[by or "owner"].of(()))]
    if by is None:
        shown[1:] = map(_beside, shown[1:])
    old, new = changes.old, changes.new
    lead = (_looked_at(new), *relating_notes(old, new, changes.relation), *_verdict(changes))
    blocks = (
        Notes(lead, leads=True),
        *shown,
        Notes((*_none_changed(unchanged), *_notes(changes, brief))),
        Steps(_next(changes.equation)),
    )
    return Report(blocks, new.snapshot.problems)


def _verdict(changes: Comparison) -> tuple[Note, ...]:
    from ..compare.verdict import verdict

    whole = changes.equation.whole
    return (
        note("changed", name=whole.name, old=whole.old, new=whole.new),
        *verdict(changes),
    )


def _looked_at(look: Look) -> Note:
    target, releases = look.snapshot.target, sorted({m.release for m in look.snapshot.mallocs})
    return note("looked_at", target=target.name, program=target.exe, releases=releases)


def _table(changes: Comparison, kind: str) -> Table | None:
    """Return the table of what changed by a kind; None where that isn't known."""
    rows = ROWS[kind](changes)
    if rows is None:
        return None
    schema = KINDS[kind]
    if not changes.equation.known:
        schema = _without_resident(schema)
    table = _scaled(schema.of(rows))
    return _totalled(changes, table) if kind == "owner" else table


def _scaled(table: Table) -> Table:
    """Return a table in the unit of its largest change, in RAM where anything changed there."""
    names = [c.name for c in table.columns if c.signed and c.scaled and c.rank != DATA_ONLY]
    sizes = {name: max(map(_size, table.values(name)), default=0) for name in names}
    if not sizes or sizes.get(RESIDENT.name):
        return replace(table, scale=RESIDENT.name if sizes else None)
    return replace(table, scale=max(sizes, key=lambda name: sizes[name]))


def _size(value: Value) -> int:
    return abs(value) if isinstance(value, int) else 0


def _without_resident(schema: Schema) -> Schema:
    """Return a table that shows nothing of what is in RAM: it isn't known of one of both."""
    hidden = [column.name for column in schema.columns if "resident" in column.name]
    for name in hidden:
        schema = schema.but(name, rank=DATA_ONLY)
    return schema


def _totalled(changes: Comparison, table: Table) -> Table:
    """Return the owners with what they changed by together: as the kernel's RSS did."""
    from ..compare.owners import whole_change

    amount, whole = whole_change(list(changes.owners)), changes.equation.whole
    total = {
        "resident_change": amount.resident,
        "virtual_change": sum(row.change.amount.bytes for row in changes.owners),
        "swapped_change": amount.swapped,
    }
    if changes.equation.known:
        total.update(old_resident=whole.old, new_resident=whole.new)
    return replace(table, total=total)


def _beside(table: Table) -> Table:
    """Return a table as it is shown beside the first one: a few rows, or for scripts only."""
    if table.name in (HEAPS.name, BINS.name):
        columns = tuple(replace(column, rank=DATA_ONLY) for column in table.columns)
        return replace(table, columns=columns)
    return replace(table, few=SHOWN) if table.rows else table


def _worded(table: Table) -> Table:
    """Return a table that isn't shown without rows: a sentence says that nothing changed, or why
    it isn't known.
    """
    return table if table.rows else replace(table, few=NONE_KNOWN)


def _none_changed(kinds: tuple[str, ...]) -> Iterator[Note]:
    if kinds:
        yield note("none_changed", kinds=kinds)


def _notes(changes: Comparison, brief: bool) -> Iterator[Note]:
    from ..compare.relating import numbering_notes

    if changes.owners:
        yield note("unchanged_means")
    yield from numbering_notes(changes.arenas)
    for look in (changes.new, changes.old):
        why = look.snapshot.target.no_residency
        if why:
            yield note("residency_unknown", why=why)
            break
    if brief:
        return
    if changes.sizes is None:
        yield note("sizes_not_compared")
    if changes.types is None:
        named = (("OLD", changes.old), ("NEW", changes.new))
        yield note("types_not_compared", missing=[name for name, look in named if not look.typed])


def _next(changed: Equation) -> tuple[tuple[str, str], ...]:
    """Return what to type next: what tells more of the part that grew most."""
    most = max(changed.parts, key=lambda part: part.change)
    return NEXT.get(most.name, ()) if most.change > 0 and not changed.still(most) else ()
