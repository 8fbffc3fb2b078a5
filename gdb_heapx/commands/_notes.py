"""What several commands tell beside their figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..report.notes import note

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..report.model import Finding, Note
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot
    from ..why.sums import Case


def equation(case: Case) -> Note:
    """Return the sum that RSS is."""
    sizes = {"in use": case.live, "free in malloc": case.retained}
    if case.snapshot.allocators:
        sizes = {} if case.snapshot.unused else {"glibc malloc": case.whole - case.outside}
    if case.unknown:
        sizes["not readable"] = case.unknown
    if sizes:
        sizes["other"] = case.whole - sum(sizes.values())
    return note("equation", known=case.resident_known, whole=case.whole, parts=sizes)


def verdict(case: Case, findings: Iterable[Finding]) -> Note:
    """Return what most of the memory is, and whether a setting makes it more."""
    if case.snapshot.allocators:
        return note("not_glibc", allocators=case.snapshot.allocators)
    amounts = {"retained": case.retained, "outside": case.outside, "live": case.live}
    largest = max(amounts, key=lambda each: amounts[each])  # of equal ones the first
    most, setting = 2 * amounts[largest] > case.whole, any(each.in_force for each in findings)
    return note("most_is", of=largest, most=most, setting=setting)


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
    if len(snapshot.mallocs) > 1:
        yield note("copies_of_libc", number=len(snapshot.mallocs))


def residency_note(snapshot: Snapshot | Catalogue) -> tuple[Note, ...]:
    """Return why it isn't known what is resident; nothing where it is."""
    why = snapshot.target.no_residency
    return (note("residency_unknown", why=why),) if why else ()


def mmapped_notes(mallocs: Iterable[Malloc]) -> tuple[Note, ...]:
    """Tell where mmapped chunks were not all found, so that they have no owner of their own."""
    counts = (each.parameters for each in mallocs if each.mmapped_lost)
    return tuple(
        note("mmapped_uncertain", number=each["n_mmaps"], size=each["mmapped_mem"])
        for each in counts
    )
