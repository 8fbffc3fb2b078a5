"""heapx alone: where the memory of a process is, what matters most, and what to type next."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import NO_WALK
from ..cli.command import Needs, command
from ..report.metrics import Metrics
from ..report.model import Bar, Findings, Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema
from ..snapshots.regions import Owner
from ._notes import empty_note, equation, mmapped_notes, shared_note, usual_notes, verdict

if TYPE_CHECKING:
    from ..reach.brief import Brief
    from ..snapshots.holders import Holder
    from ..snapshots.take import Snapshot
    from ..why.sums import Case


class _Part(NamedTuple):
    """A part of the whole: its key, letter, name and size; what no other process shares of it, None
    where that is unknown; and its percent.
    """

    case: Case
    key: str
    mark: str
    part: str
    size: int
    private: int | None
    share: int


OVERVIEW = Schema(
    "overview",
    (
        Column("key", Kind.TEXT, DATA_ONLY),
        Column("mark", Kind.TEXT, title="", marks=True),
        Column("part", Kind.TEXT, shrinks=True),
        Column("resident", Kind.BYTES, of=lambda it: it.size if it.case.resident_known else None),
        Column("virtual", Kind.BYTES, of=lambda it: None if it.case.resident_known else it.size),
        Column("private", Kind.BYTES, DATA_ONLY),
        Column("share", Kind.COUNT, title="%"),
    ),
    metrics=Metrics(
        "heapx",
        {"part": "key"},
        {
            "resident": "Parts of RSS, which they add up to.",
            "virtual": "Parts of the address space in use, where RSS is unknown.",
            "private": "What no other process shares of each part of RSS.",
        },
    ),
)
NEXT = (("heapx why", "all findings, with evidence; also: pins, trim, ledger, arenas, top"),)
LIVE_NEXT = (
    ("heapx holders", "who holds what is in use; also: types, leaks, refs"),
    ("heapx why", "all findings, with evidence; also: ledger, arenas, trim"),
)
NEXT_ELSEWHERE = (  # where glibc malloc holds nothing
    ("heapx why", "the finding, with evidence"),
    ("heapx ledger --outside", "who has the memory, by name; also: ledger"),
)


@command("heapx", NO_WALK, needs=Needs.LIVE, whole=True, tables=(OVERVIEW,), outcomes=True)
def overview(snapshot: Snapshot, brief: Brief | None) -> Report:
    """Say where the memory of a process sits, why it stays, and what to do.

    Three commands answer most questions:

        heapx          where the memory is, on one screen
        heapx why      why it stays there: each cause, its evidence, what to do
        heapx trim     what malloc_trim(0) would give back; it isn't called

    heapx alone shows the resident memory (RSS), divided: what the program holds, what it freed and
    glibc malloc keeps, and what isn't malloc's. Then what matters most, with the remedy, and what
    to type next. Nothing is written to the process, and nothing is called in it, but by heapx trim
    --now.

    For what is free: arenas, heaps, bins, tcache, threads and top. For the chunks that keep it:
    pins. For what is in use: holders, types, leaks and refs; sizes, chunks, chunk and mmapped. For
    every byte of the process: ledger. How far the figures can be trusted: check and about. What
    malloc was told: params.

    Examples:

        heapx --no-walk                            without visiting every chunk
        heapx why --format json --output why.json  for a script
    """
    from ..why.causes import find_leading  # what few commands need is imported by these
    from ..why.sums import Case

    case = Case(snapshot, brief)
    told = overview_parts(case)
    private = _private(case, [key for key, *_ in told])
    shares = _percents([size for *_, size in told], case.whole)
    parts = [_Part(case, *it, private.get(it[0]), share) for it, share in zip(told, shares)]
    findings = find_leading(case)
    schema = OVERVIEW.but("private", rank=1) if case.sharing else OVERVIEW
    hidden = "virtual" if case.resident_known else "resident"
    notes = (
        *mmapped_notes(snapshot.mallocs),
        *usual_notes(snapshot),
        *empty_note(case),
        *(() if snapshot.walked else (note("trim_not_walked"),)),
    )
    leads = _looked_at(snapshot), equation(case), verdict(case, findings)
    blocks = (
        Notes((*leads, *shared_note(case, brief=True)), leads=True),
        schema.but(hidden, rank=DATA_ONLY).of(parts),
        Bar(tuple((each.mark, each.size) for each in parts)),
        Findings(findings, brief=True),
        Notes(notes),
        Steps(_next(case)),
    )
    return Report(blocks, snapshot.problems)


def _percents(sizes: Sequence[int], whole: int) -> list[int]:
    """Return the parts in percent of the whole, which add up to 100 where the parts are all of it:
    rounded down, and up those with the largest remainders.
    """
    found = [divmod(100 * size, whole or 1) for size in sizes]
    missing = 100 * sum(sizes) // (whole or 1) - sum(percent for percent, _ in found)
    largest = sorted(range(len(found)), key=lambda at: -found[at][1])[: max(missing, 0)]
    return [percent + (at in largest) for at, (percent, _) in enumerate(found)]


def _next(case: Case) -> tuple[tuple[str, str], ...]:
    """Return what to type next; first the chunks that hold most, where that is worth a look."""
    from ..why.groups import leading
    from ..why.order import PERCENT

    if case.snapshot.unused and case.snapshot.allocators:
        return NEXT_ELSEWHERE
    if case.live > max(case.retained, case.outside, case.foreign):
        return LIVE_NEXT
    most = leading(case)
    return (("heapx pins", most.brief), *NEXT) if PERCENT * most.held >= case.whole > 0 else NEXT


def _private(case: Case, told: Collection[str]) -> dict[str, int | None]:
    """Return what no other process shares of the parts that are told, by their keys; {} where
    it isn't known.
    """
    if case.private is None:
        return {}
    names = ("live", "retained", "unknown", "foreign", "outside", "whole")
    live, retained, unknown, foreign, outside, whole = (case.private[name] for name in names)
    returnable, beside = case.snapshot.returnable_private, outside + foreign
    apart = {k: case.ledger.of(o).private for o, (k, _) in OUTSIDE.items() if k in told}
    if case.snapshot.allocators:
        apart["anonymous"] = case.ledger.of(Owner.ANONYMOUS, Owner.SBRK).private
    elif "sbrk" in told:
        apart["sbrk"] = foreign
    return {
        **apart,
        "in_use": live,
        "returnable": returnable,
        "kept": None if returnable is None else retained - returnable,
        "free": retained,
        "overhead": whole - live - retained - unknown - beside,
        "unknown": unknown,
        "malloc": whole - beside,
        "outside": None if None in apart.values() else beside - sum(filter(None, apart.values())),
    }


def _looked_at(snapshot: Snapshot) -> Note:
    target, releases = snapshot.target, sorted({malloc.release for malloc in snapshot.mallocs})
    return note("looked_at", target=target.name, program=target.exe, releases=releases)


def overview_parts(case: Case) -> list[tuple[str, str, str, int]]:
    """Return what the whole consists of: key, letter, name and size of each part."""
    beside = case.outside + case.unknown + case.foreign
    own = case.whole - case.live - case.retained - beside
    if case.snapshot.allocators:
        anonymous, names = case.amount(Owner.ANONYMOUS), ", ".join(case.snapshot.allocators)
        glibc = ("malloc", "-", "glibc malloc", case.whole - case.outside - case.foreign)
        return [
            *([] if case.snapshot.unused else [glibc]),
            ("anonymous", "#", f"anonymous: {names} is here", anonymous + case.foreign),
            *_outside_parts(case, Owner.ANONYMOUS),
        ]
    returnable, foreign = case.returnable, case.worth_telling
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
        *([("sbrk", "b", "taken by others with sbrk", foreign)] if foreign else ()),
        *_outside_parts(case),
    ]


# Key and letter of who may have a part of its own.
OUTSIDE = {
    Owner.RUNTIME: ("runtimes", "r"),
    Owner.DATA: ("data_files", "d"),
    Owner.SHARED: ("shared_memory", "s"),
    Owner.STACKS: ("stacks", "t"),
    Owner.ANONYMOUS: ("anonymous", "a"),
}
MOST = 2
SHARE = 10  # who has less than one part in so many of the whole is in the rest


def _outside_parts(case: Case, *told: Owner) -> Iterator[tuple[str, str, str, int]]:
    """Yield what isn't malloc's: each owner that has much of it, but those told already."""
    rest, found = case.outside - case.amount(*told), case.holders
    if not (told or case.worth_telling):
        rest += case.foreign
    what = "code, stacks, the rest" if told else "code, stacks, other mappings"
    large = [o for o in OUTSIDE if o not in told and SHARE * case.amount(o) >= case.whole]
    for owner in sorted(large, key=lambda owner: -case.amount(owner))[:MOST]:
        size = case.amount(owner)
        own = [holder for holder in found if holder.owner is owner]
        if own:
            rest -= size
            yield (*OUTSIDE[owner], f"outside malloc: {_listed(own, size)}", size)
            what = "code, stacks, the rest"
    yield "outside", "o", f"outside malloc: {what}", rest


def _listed(own: Sequence[Holder], size: int) -> str:
    """Name who has an owner's memory: the largest, and how many more, if a tenth of a percent is
    theirs: then the figure isn't that of the largest alone.
    """
    most = own[0]
    more = f", {len(own) - 1} more" if 1000 * most.amount.in_ram < 999 * size else ""
    return f"{'data file ' if most.owner is Owner.DATA else ''}{most.short}{more}"
