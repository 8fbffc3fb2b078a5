"""heapx alone: where the memory of a process is, what matters most, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import NO_WALK
from ..cli.command import command
from ..report.model import (
    DATA_ONLY,
    Bar,
    Column,
    Findings,
    Kind,
    Note,
    Notes,
    Report,
    Schema,
    Steps,
)
from ..report.notes import note
from ..snapshots.regions import Owner
from ..why.causes import find_leading
from ..why.sums import Case
from ._notes import equation, mmapped_notes, usual_notes, verdict

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot


class _Part(NamedTuple):
    """A part of the whole: its key, letter, name and size."""

    case: Case
    key: str
    mark: str
    part: str
    size: int


OVERVIEW = Schema(
    "overview",
    (
        Column("key", Kind.TEXT, DATA_ONLY),
        Column("mark", Kind.TEXT, title=""),
        Column("part", Kind.TEXT),
        Column("resident", Kind.BYTES, of=lambda it: it.size if it.case.resident_known else None),
        Column("virtual", Kind.BYTES, of=lambda it: None if it.case.resident_known else it.size),
        Column("share", Kind.COUNT, title="%", of=lambda it: 100 * it.size // (it.case.whole or 1)),
    ),
)
NEXT = (("heapx why", "all findings, with evidence; also: trim, ledger, arenas, bins, top"),)


@command("heapx", NO_WALK, whole=True, tables=(OVERVIEW,))
def overview(snapshot: Snapshot) -> Report:
    """Say where the memory of a process sits, why it stays, and what to do.

    Three commands answer most questions:

        heapx          where the memory is, on one screen
        heapx why      why it stays there: each cause, its evidence, what to do
        heapx trim     what malloc_trim(0) would give back; it isn't called

    heapx alone shows the resident memory (RSS), divided: what the program holds, what it freed and
    glibc malloc keeps, and what isn't malloc's. Then what matters most, with the remedy, and what
    to type next. Nothing is written to the process, and nothing is called in it, but by heapx trim
    --now.

    For what is free: arenas, heaps, bins, tcache, threads and top. For what is in use: sizes,
    chunks, chunk and mmapped. For every byte of the process: ledger. How far the figures can be
    trusted: check and about. What malloc was told: params.

    Examples:

        heapx --no-walk                            without visiting every chunk
        heapx why --format json --output why.json  for a script
    """
    case = Case(snapshot)
    parts = [_Part(case, *each) for each in overview_parts(case)]
    findings = find_leading(snapshot)
    hidden = "virtual" if case.resident_known else "resident"
    notes = (
        *mmapped_notes(snapshot.mallocs),
        *usual_notes(snapshot),
        *(() if snapshot.walked else (note("trim_not_walked"),)),
    )
    blocks = (
        Notes((_looked_at(snapshot), equation(case), verdict(case, findings)), leads=True),
        OVERVIEW.but(hidden, rank=DATA_ONLY).of(parts),
        Bar(tuple((each.mark, each.size) for each in parts)),
        Findings(findings, brief=True),
        Notes(notes),
        Steps(NEXT),
    )
    return Report(blocks, snapshot.problems)


def _looked_at(snapshot: Snapshot) -> Note:
    target, releases = snapshot.target, sorted({malloc.release for malloc in snapshot.mallocs})
    return note("looked_at", target=target.name, program=target.exe, releases=releases)


def overview_parts(case: Case) -> list[tuple[str, str, str, int]]:
    """Return what the whole consists of: key, letter, name and size of each part."""
    own = case.whole - case.live - case.retained - case.outside - case.unknown
    if case.snapshot.allocators:
        anonymous, names = case.amount(Owner.ANONYMOUS), ", ".join(case.snapshot.allocators)
        glibc = ("malloc", "-", "glibc malloc", case.whole - case.outside)
        return [
            *([] if case.snapshot.unused else [glibc]),
            ("anonymous", "#", f"anonymous: {names} is here", anonymous),
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
