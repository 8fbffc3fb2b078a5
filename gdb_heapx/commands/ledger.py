"""heapx ledger: who owns each byte, and what of it is resident."""

from __future__ import annotations

from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, size_text, total
from ..snapshots.ledger import Entry, Ledger
from ..snapshots.regions import APART
from ..snapshots.take import Snapshot
from ..why.sums import Case
from ._columns import LIBC
from ._notes import equation, mmapped_notes, usual_notes

LEDGER_COLUMNS = (
    Column("owner", Kind.TEXT),
    Column("arena", Kind.INDEX, absent=""),
    Column("virtual", Kind.BYTES),
    Column("resident", Kind.BYTES),
    Column("swapped", Kind.BYTES),
    LIBC,
)


@command("heapx ledger", whole=True)
def ledger(snapshot: Snapshot) -> Report:
    """Show the owner of every byte of the process, and what of it is resident.

    The resident bytes add up to the RSS that the kernel reports. What heapx can't attribute is
    unknown. Memory of huge page pools and devices is listed, but is in no RSS.

    Examples:

        heapx ledger --sort resident  what takes most RAM first
        heapx ledger --bytes          exactly; it adds up to RSS
    """
    case = Case(snapshot)
    rows = [_entry_row(entry) for entry in case.ledger.entries]
    counted_rows = [row for row in rows if row["owner"] not in {o.value for o in APART}]
    sums = {**total(LEDGER_COLUMNS, counted_rows), **total(LEDGER_COLUMNS[:3], rows)}
    scale = "resident" if case.resident_known else None
    table = Table("ledger", LEDGER_COLUMNS, rows, sums, scale)
    notes = (
        *ledger_notes(case.ledger),
        *mmapped_notes(snapshot.mallocs),
        *usual_notes(snapshot),
    )
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
