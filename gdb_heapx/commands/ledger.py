"""heapx ledger: who owns each byte, and what of it is resident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import command
from ..errors import UsageError
from ..heap.states import State
from ..report.either import Either
from ..report.metrics import Metrics
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema, Table, within
from ..snapshots.regions import APART, Owner
from ._columns import LIBC
from ._notes import empty_note, equation, forked_notes, mmapped_notes, shared_note, usual_notes

if TYPE_CHECKING:
    from ..snapshots.ledger import Ledger
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount
    from ..why.sums import Case

OWNER = Column("owner", Kind.TEXT, of="name")
AMOUNTS = within(
    "amount",
    Column("virtual", Kind.BYTES, of="bytes"),
    Column("resident", Kind.BYTES),
    Column("shared", Kind.BYTES, DATA_ONLY),
    Column("swapped", Kind.BYTES),
)
LEDGER = Schema(
    "ledger",
    (OWNER, Column("arena", Kind.INDEX, absent=""), *AMOUNTS, LIBC),
    adds=(),
    metrics=Metrics(
        "heapx_ledger",
        {"owner": "owner", "arena": "arena", "libc": "libc"},
        {
            "virtual": "Address space of each owner.",
            "resident": "What each owner has in RAM; without huge pages and devices, RSS.",
            "shared": "What of an owner's RAM other processes have mapped, too.",
            "swapped": "What each owner has in swap.",
        },
    ),
)
OWNERS = Schema("owners", (OWNER, *AMOUNTS))
OUTSIDE = Schema(
    "outside",
    (
        Column("owner", Kind.TEXT, 2, of="owner.value"),
        Column("mappings", Kind.COUNT, 1),
        *AMOUNTS,
        Column("clean", Kind.BYTES, absent=""),
        Column("likely", Kind.BOOL, 3),
        Column("largest", Kind.ADDRESS, 4),
        Column("name", Kind.TEXT, flows=True),
    ),
    adds=("mappings",),
)
BY_ARENA = (("heapx ledger --by-arena", "what each arena has of it"),)


class _Owned(NamedTuple):
    name: str
    amount: Amount


@command(
    "heapx ledger",
    Arg("--by-arena", "show each arena's part of an owner, as JSON and CSV always do"),
    Arg(
        "--outside",
        "list who has the memory outside malloc: files, runtimes, …",
        tables=("outside",),
    ),
    whole=True,
    tables=(LEDGER, OWNERS, OUTSIDE),
)
def ledger(snapshot: Snapshot, by_arena: bool, outside: bool) -> Report:
    """Show the owner of every byte of the process, and what of it is resident.

    The resident bytes add up to the RSS that the kernel reports. What heapx can't attribute is
    unknown. Memory of huge page pools and devices is listed, but is in no RSS. Where pages are
    shared since a fork, shared says how much of resident other processes have mapped, too.

    Text shows each owner once; with --by-arena, what each arena has of it.

    With --outside, only what isn't malloc's, by name: each file with all its mappings, the memory
    of runtimes and other allocators, shared memory, stacks, and anonymous memory by what it most
    likely is. clean is what the kernel can drop of a file, and read again.

    Examples:

        heapx ledger --sort resident  what takes most RAM first
        heapx ledger --bytes          exactly; it adds up to RSS
        heapx ledger --outside        who has what isn't malloc's
    """
    from ..why.sums import Case

    case = Case(snapshot)
    if outside and by_arena:
        raise UsageError("--by-arena and --outside exclude each other", "Leave one out.")
    if outside:
        return _outside(case)
    scale = "resident" if case.resident_known else None
    schema = LEDGER.but("shared", rank=1) if case.sharing else LEDGER
    table = schema.of(case.ledger.entries, scale)
    in_rss = LEDGER.of([entry for entry in case.ledger.entries if entry.owner not in APART])
    whole = {**(in_rss.total or {}), "virtual": (table.total or {})["virtual"]}
    table = replace(table, total=whole)
    owners = _by_owner(case, scale)
    notes = (
        *_in_use(case),
        *_sum_notes(case.ledger),
        *shared_note(case),
        *forked_notes(snapshot),
        *_stacks(snapshot),
        *mmapped_notes(snapshot.mallocs),
        *usual_notes(snapshot),
        *empty_note(case),
    )
    several = len(snapshot.arenas()) > 1
    shown = table if by_arena else replace(owners, total=whole)
    blocks = (
        Notes((equation(case),), leads=True),
        Either(table, (shown,)),
        *((Either(owners),) if several else ()),
        Notes(notes),
        Steps(() if by_arena or not several else BY_ARENA),
    )
    return Report(blocks, snapshot.problems)


def _outside(case: Case) -> Report:
    from ..snapshots.holders import holders  # what few commands need is imported by these

    scale = "resident" if case.resident_known else None
    schema = OUTSIDE.but("shared", rank=1) if case.sharing else OUTSIDE
    table = schema.of(holders(case.snapshot, case.ledger), scale)
    lead = Notes((equation(case),), leads=True)
    notes = Notes((*mmapped_notes(case.snapshot.mallocs), *usual_notes(case.snapshot)))
    return Report((lead, table, notes), case.snapshot.problems)


def _by_owner(case: Case, scale: str | None) -> Table:
    """Return the sums of each owner over all arenas."""
    names = {entry.owner: entry.name for entry in case.ledger.entries}
    owned = [_Owned(name, case.ledger.of(owner)) for owner, name in names.items()]
    return (OWNERS.but("shared", rank=1) if case.sharing else OWNERS).of(owned, scale)


def _stacks(snapshot: Snapshot) -> Iterator[Note]:
    """Tell what of the thread stacks is of threads that a fork has left in the parent."""
    from ..snapshots.forked import inherited_stacks

    parent, stacks = snapshot.target.parent, inherited_stacks(snapshot)
    if parent is not None and stacks:
        size = sum(each.amount.in_ram for each in stacks)
        yield note("parents_stacks", number=len(stacks), size=size, parent=parent.name)


def _in_use(case: Case) -> Iterator[Note]:
    """Tell what owners have together that is in use."""
    mmapped = case.amount(Owner.MMAPPED)
    if mmapped:
        yield note("in_use_is", arenas=case.amount(State.IN_USE), mmapped=mmapped)


def _sum_notes(accounts: Ledger) -> Iterator[Note]:
    """Tell whether the ledger's sum is the kernel's RSS."""
    rss, difference = accounts.rss, accounts.difference
    if rss is None or difference is None:
        return
    yield note("ledger_sum", rss=rss, difference=difference)
