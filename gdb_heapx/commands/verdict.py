"""heapx, heapx why, heapx ledger, heapx trim: where memory is, why it stays, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..case import Case
from ..causes import find_causes
from ..command import ARENA, NO_WALK, PAD, Arg, Session, command
from ..errors import HeapxError
from ..figures import ArenaFigures
from ..ledger import Entry, Ledger
from ..regions import APART, Owner
from ..report import (
    ALWAYS,
    DATA_ONLY,
    Bar,
    Column,
    Kind,
    Report,
    Row,
    Table,
    Value,
    counted,
    size_text,
    total,
)
from ..snapshot import Scope, Snapshot
from ..trim import Trim
from .arenas import LIBC, notes_of, select

LEDGER_COLUMNS = (
    Column("owner", Kind.TEXT),
    Column("arena", Kind.INDEX, absent=""),
    Column("virtual", Kind.BYTES),
    Column("resident", Kind.BYTES),
    Column("swapped", Kind.BYTES),
    LIBC,
)
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


# For scripts; text shows the findings themselves.
WHY_COLUMNS = (
    Column("code", Kind.TEXT, DATA_ONLY),
    Column("bytes", Kind.BYTES, DATA_ONLY),
    Column("statement", Kind.TEXT, DATA_ONLY),
)


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
OVERVIEW_COLUMNS = (
    Column("key", Kind.TEXT, DATA_ONLY),
    Column("mark", Kind.TEXT, title=""),
    Column("part", Kind.TEXT),
    Column("resident", Kind.BYTES),
    Column("virtual", Kind.BYTES),
    Column("share", Kind.COUNT, title="%"),
)


@command("heapx", NO_WALK)
def overview(snapshot: Snapshot) -> Report:
    """Say where the memory of a process sits, why it stays, and what to do.

    Its resident memory (RSS), divided: what the program holds, what it freed and glibc malloc
    keeps, and what isn't malloc's. Then what matters most, with the remedy, and what to type next.

    Example: heapx --no-walk
    """
    case = Case(snapshot)
    return Report(
        tables=(overview_table(case, OVERVIEW_COLUMNS),),
        problems=snapshot.problems,
        lead=(_what(snapshot), equation(case), verdict(case)),
        bar=Bar(tuple((mark, size) for _, mark, _, size in overview_parts(case))),
        findings=find_causes(snapshot)[:3],
        brief=True,
        notes=(*_lost_mmapped(snapshot), *notes_of(snapshot, ()), *_without_walk(snapshot)),
        next_steps=(
            ("heapx why", "all findings, with evidence; also: trim, ledger, arenas, bins, top"),
        ),
    )


def _lost_mmapped(snapshot: Snapshot) -> tuple[str, ...]:
    """Say where mmapped chunks were not all found, so that they have no owner of their own."""
    return tuple(
        f"glibc counts {counted(malloc.parameters['n_mmaps'], 'mmapped chunk')} of "
        f"{size_text(malloc.parameters['mmapped_mem'])}, which were not found for certain: they "
        "are part of the other anonymous memory."
        for malloc in snapshot.mallocs
        if not malloc.mmapped_certain
    )


def _without_walk(snapshot: Snapshot) -> tuple[str, ...]:
    return () if snapshot.walked else ("What malloc_trim would return is known after a walk only.",)


def _what(snapshot: Snapshot) -> str:
    releases = " and ".join(sorted({malloc.release for malloc in snapshot.mallocs}))
    program = snapshot.target.exe or "unknown program"
    return f"{snapshot.target.name}, {program}, glibc {releases}"


def equation(case: Case) -> str:
    """Return the sum that RSS is, in words."""
    sizes = {"in use": case.live, "free in malloc": case.retained}
    if case.snapshot.allocators:
        sizes = {"glibc malloc": case.whole - case.outside}
    if case.unknown:
        sizes["not readable"] = case.unknown
    sizes["other"] = case.whole - sum(sizes.values())
    whole = f"{'RSS' if case.resident_known else 'Address space'} {size_text(case.whole)}"
    return f"{whole} = {' + '.join(f'{size_text(size)} {name}' for name, size in sizes.items())}"


def verdict(case: Case) -> str:
    """Say in one sentence what the memory is."""
    if case.snapshot.allocators:
        names = " and ".join(case.snapshot.allocators)
        return f"{names}, not glibc, serves malloc here: its memory is part of the other."
    most, sentence = max(
        (case.retained, "was freed by the program: glibc malloc keeps it."),
        (case.live, "is in use: the program holds it, and no malloc setting gives it back."),
        (case.outside, "isn't malloc's."),
    )
    return f"{'Most of it' if 2 * most > case.whole else 'The largest part'} {sentence}"


def overview_parts(case: Case) -> list[tuple[str, str, str, int]]:
    """Return what the whole consists of: key, letter, name and size of each part."""
    own = case.whole - case.live - case.retained - case.outside - case.unknown
    if case.snapshot.allocators:
        anonymous, names = case.amount(Owner.ANONYMOUS), ", ".join(case.snapshot.allocators)
        return [
            ("malloc", "-", "glibc malloc", case.whole - case.outside),
            (
                "anonymous",
                "#",
                f"anonymous: {names} is here",
                anonymous,
            ),
            ("outside", "o", "code, stacks, files, and the rest", case.outside - anonymous),
        ]
    returnable = case.returnable
    retained = [("free", "#", "free, malloc keeps it", case.retained)]
    if returnable is not None:
        retained = [
            ("returnable", "#", "free, malloc_trim(0) would return it", returnable),
            ("kept", "+", "free, stays in malloc", case.retained - returnable),
        ]
    return [
        ("in_use", ".", "in use by the program", case.live),
        *retained,
        ("overhead", "-", "malloc's own: headers, unused ends of heaps", own),
        *([("unknown", "?", "malloc's, not readable", case.unknown)] if case.unknown else ()),
        ("outside", "o", "outside malloc: code, stacks, other mappings", case.outside),
    ]


def overview_table(case: Case, columns: tuple[Column, ...]) -> Table:
    """Return the parts of the whole: in RAM, or in address space where that is unknown."""
    parts = overview_parts(case)
    rows: list[Row] = [
        {
            "key": key,
            "mark": mark,
            "part": part,
            "resident": size if case.resident_known else None,
            "virtual": None if case.resident_known else size,
            "share": 100 * size // (case.whole or 1),
        }
        for key, mark, part, size in parts
    ]
    hidden = "virtual" if case.resident_known else "resident"
    shown = (replace(c, rank=DATA_ONLY) if c.name == hidden else c for c in columns)
    return Table("overview", tuple(shown), rows)


@command("heapx why")
def why(snapshot: Snapshot) -> Report:
    """Say why memory stays in the process, with the evidence, and what to do.

    Each finding: the bytes at stake, what keeps them, addresses and figures that show it, and the
    setting or call that helps, with its price. Findings may be about the same bytes. The
    findings with most bytes come first; live memory, where it is most, before all others.

    Example: heapx why --format json
    """
    case = Case(snapshot)
    findings = find_causes(snapshot)
    rows: list[Row] = [
        {"code": each.code, "bytes": each.bytes, "statement": each.statement} for each in findings
    ]
    return Report(
        tables=(Table("why", WHY_COLUMNS, rows),),
        problems=snapshot.problems,
        lead=(equation(case), verdict(case)),
        findings=findings,
        notes=(*_lost_mmapped(snapshot), *notes_of(snapshot, ())),
    )


@command("heapx ledger")
def ledger(snapshot: Snapshot) -> Report:
    """Show the owner of every byte of the process, and what of it is resident.

    The resident bytes add up to the RSS that the kernel reports. What heapx can't attribute is
    unknown. Memory of huge page pools and devices is listed, but is in no RSS.

    Example: heapx ledger --sort resident
    """
    case = Case(snapshot)
    rows = [_entry_row(entry) for entry in case.ledger.entries]
    counted_rows = [row for row in rows if row["owner"] not in {o.value for o in APART}]
    sums = {**total(LEDGER_COLUMNS, counted_rows), **total(LEDGER_COLUMNS[:3], rows)}
    scale = "resident" if case.resident_known else None
    table = Table("ledger", LEDGER_COLUMNS, rows, sums, scale)
    notes = (*ledger_notes(case.ledger), *_lost_mmapped(snapshot), *notes_of(snapshot, ()))
    tables = (table, _by_owner(case.ledger, scale)) if len(snapshot.arenas()) > 1 else (table,)
    return Report(tables, snapshot.problems, (equation(case),), notes=notes)


def _by_owner(accounts: Ledger, scale: str | None) -> Table:
    """Return the sums of each owner over all arenas."""
    columns = (LEDGER_COLUMNS[0], *LEDGER_COLUMNS[2:5])
    rows: list[Row] = []
    for owner in dict.fromkeys(entry.owner for entry in accounts.entries):
        virtual, presence = accounts.of(owner)
        rows.append({"owner": owner.value, "virtual": virtual, **presence._asdict()})
    return Table("owners", columns, rows, scale=scale)


def _entry_row(entry: Entry) -> Row:
    return {
        "owner": entry.owner.value,
        "arena": entry.arena,
        "virtual": entry.virtual,
        "resident": entry.presence.resident,
        "swapped": entry.presence.swapped,
        "libc": entry.libc,
    }


def ledger_notes(accounts: Ledger) -> tuple[str, ...]:
    """Return whether the ledger's sum is the kernel's RSS, and what of it is shared."""
    rss, difference = accounts.rss, accounts.difference
    if rss is None or difference is None:
        return ()
    note = f"The resident bytes add up to the kernel's RSS: {rss:,} bytes."
    if difference:
        sign = "more" if difference > 0 else "less"
        note = (
            f"RSS is {rss:,} bytes, {abs(difference):,} {sign} than the sum: pages moved between "
            "the kernel's two readings, or are shared with a forked process (before Linux 6.7 such "
            "pages and zero pages look the same)."
        )
    if not accounts.shared:
        return (note,)
    shared = (
        f"{size_text(accounts.shared)} of it is private memory that a forked process shares, and "
        f"counts in both. PSS, which divides all shared pages, is {size_text(accounts.pss)}."
    )
    return (note, shared)


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


@command("heapx trim", ARENA, PAD, NOW, acts=True)
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

    Example: heapx trim --bytes
    """
    chosen = select(snapshot, arena)
    if now:
        return _trim_now(snapshot, session, scope, chosen)
    rows = [trim_row(each) for each in chosen]
    columns = TRIM_COLUMNS if snapshot.target.no_residency is None else _virtual(TRIM_COLUMNS)
    table = Table("trim", columns, rows, total(columns, rows))
    returned = (table.total or {}).get("returned")
    verdict = (
        f"malloc_trim({scope.pad}) would return {returned:,} bytes of RAM."
        if isinstance(returned, int)
        else "What malloc_trim would return is unknown."
    )
    return Report((table,), snapshot.problems, notes=(verdict, *notes_of(snapshot, ())))


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
