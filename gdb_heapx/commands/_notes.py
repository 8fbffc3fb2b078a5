"""What several commands tell beside their figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..report.model import size_text
from ..report.notes import note
from ..snapshots.regions import EMPTY

if TYPE_CHECKING:
    from ..held.held import Held
    from ..inventory.catalogue import Catalogue
    from ..report.model import Finding, Note
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot
    from ..why.sums import Case


def equation(case: Case) -> Note:
    """Return the sum that RSS is, with what is private of each part where pages are shared."""
    sums = {
        "live": case.live,
        "retained": case.retained,
        "unknown": case.unknown,
        "foreign": case.foreign,
        "outside": case.outside,
        "whole": case.whole,
    }
    parts, private = _parts(case, sums), None
    if case.sharing and case.private is not None:
        private = {**_parts(case, case.private), "whole": case.private["whole"]}
    return note(
        "equation", known=case.resident_known, whole=case.whole, parts=parts, private=private
    )


def _parts(case: Case, sums: Mapping[str, int]) -> dict[str, int]:
    """Return the parts that are told, of these sums."""
    parts = {"in use": sums["live"], "free in malloc": sums["retained"]}
    if case.snapshot.allocators:
        rest = sums["outside"] + sums["foreign"]
        parts = {} if case.snapshot.unused else {"glibc malloc": sums["whole"] - rest}
    elif case.worth_telling:
        parts["sbrk of others"] = sums["foreign"]
    if case.unknown:
        parts["not readable"] = sums["unknown"]
    return {**parts, "other": sums["whole"] - sum(parts.values())} if parts else {}


def shared_note(case: Case, brief: bool = False) -> tuple[Note, ...]:
    """Tell what is shared since a fork, and what all processes pay for it together; nothing where
    nothing is.
    """
    if not case.sharing:
        return ()
    if brief:
        return (note("shared_in_short", shared=case.ledger.shared, pss=case.ledger.pss),)
    return (note("shared", shared=case.ledger.shared, pss=case.ledger.pss),)


def forked_notes(snapshot: Snapshot) -> tuple[Note, ...]:
    """Tell which arenas are those of threads that a fork has left in the parent."""
    from ..snapshots.forked import inherited_arenas

    parent, arenas = snapshot.target.parent, inherited_arenas(snapshot)
    if parent is None or not arenas:
        return ()
    return (note("parents_arenas", arenas=[each.index for each in arenas], parent=parent.name),)


def verdict(case: Case, findings: Iterable[Finding]) -> Note:
    """Return what most of the memory is, and whether a setting makes it more."""
    if case.snapshot.allocators:
        return note("not_glibc", allocators=case.snapshot.allocators)
    amounts = {
        "retained": case.retained,
        "outside": case.outside,
        "live": case.live,
        "foreign": case.foreign,
        "unknown": case.unknown,
    }
    largest = max(amounts, key=lambda each: amounts[each])  # of equal ones the first
    who = _leading(case) if largest == "outside" else None
    most, setting = 2 * amounts[largest] > case.whole, any(each.in_force for each in findings)
    return note("most_is", of=largest, most=most, setting=setting, who=who)


def empty_note(case: Case) -> tuple[Note, ...]:
    """Tell how much of a core has nothing in it; nothing of a process, whose RSS tells."""
    size = 0 if case.snapshot.target.live else case.amount(*EMPTY)
    return (note("not_counted_in_core", size=size),) if size else ()


def _leading(case: Case) -> str | None:
    """Say who has more than half of what isn't malloc's, None where nobody has."""
    most = case.holders[0] if case.holders else None
    if most is None or 2 * most.amount.in_ram <= case.outside:
        return None
    return f"{size_text(most.amount.in_ram)} {most.short}"


def usual_notes(snapshot: Snapshot, arenas: tuple[ArenaFigures, ...] = ()) -> tuple[Note, ...]:
    """Return what the reader must know about the figures."""
    return tuple(_usual(snapshot, [arena.index for arena in arenas if arena.locked]))


def _usual(snapshot: Snapshot, locked: list[int]) -> Iterator[Note]:
    for malloc in snapshot.mallocs:
        yield from malloc.notes
    yield from residency_note(snapshot)
    if not snapshot.walked:
        yield note("not_walked")
    if locked:
        yield note("locked", arenas=locked)
    debugging = [malloc.libc for malloc in snapshot.mallocs if malloc.debugging]
    if len(snapshot.mallocs) - len(debugging) > 1:
        yield note("copies_of_libc", number=len(snapshot.mallocs) - len(debugging))
    yield from (note("debug_malloc", path=path) for path in debugging)


def residency_note(snapshot: Snapshot | Catalogue) -> tuple[Note, ...]:
    """Return why it isn't known what is resident; nothing where it is."""
    why = snapshot.target.no_residency
    return (note("residency_unknown", why=why),) if why else ()


def doubt_notes(held: Held) -> Iterator[Note]:
    """Tell what was not looked at, though it may refer to chunks, and what is told with a flag."""
    from ..reach.doubts import doubts_of, hidden_by

    doubts, hidden = doubts_of(held), hidden_by(held)
    if doubts:
        yield note("may_refer", parts=[(each.why, each.bytes) for each in doubts])
    if hidden:
        yield note("may_not_refer", parts=[(each.why, each.bytes) for each in hidden])


def passes_notes(held: Held) -> tuple[Note, ...]:
    """Tell what isn't known since only a part of what is in use was at hand at a time."""
    parts = len(held.lots) + len(held.lots.large)
    return (note("in_passes", parts=parts),) if held.lots.passes else ()


def in_ram_note(snapshot: Snapshot) -> tuple[Note, ...]:
    """Tell how much of what is in use is in RAM, where that isn't nearly all of it."""
    from ..why.order import PERCENT
    from ..why.sums import Case

    case, whole = Case(snapshot), snapshot.in_use
    if not case.resident_known or whole is None or PERCENT * (whole - case.live) < whole:
        return ()
    return (note("in_ram", size=case.live),)


def mmapped_beside(snapshot: Snapshot) -> tuple[Note, ...]:
    """Tell what is in no arena: chunks with mappings of their own, and what is in use with them."""
    chunks = sum(malloc.parameters["n_mmaps"] for malloc in snapshot.mallocs)
    sizes = [
        malloc.mmapped_bytes for malloc in snapshot.mallocs if malloc.mmapped_bytes is not None
    ]
    if not chunks or len(sizes) < len(snapshot.mallocs):
        return ()
    return (note("mmapped_beside", chunks=chunks, size=sum(sizes), whole=snapshot.in_use),)


def mmapped_notes(mallocs: Iterable[Malloc]) -> tuple[Note, ...]:
    """Tell where mmapped chunks were not all found, so that they have no owner of their own."""
    counts = (each.parameters for each in mallocs if each.mmapped_lost)
    return tuple(
        note("mmapped_uncertain", number=each["n_mmaps"], size=each["mmapped_mem"])
        for each in counts
    )
