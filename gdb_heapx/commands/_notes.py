"""Sentences that several commands say."""

from __future__ import annotations

from collections.abc import Iterable

from ..inventory.catalogue import Catalogue
from ..inventory.libc import uncertain_mmapped
from ..report.model import size_text
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.take import Snapshot
from ..why.sums import Case


def equation(case: Case) -> str:
    """Return the sum that RSS is, in words."""
    sizes = {"in use": case.live, "free in malloc": case.retained}
    if case.snapshot.allocators:
        sizes = {} if case.snapshot.unused else {"glibc malloc": case.whole - case.outside}
    if case.unknown:
        sizes["not readable"] = case.unknown
    whole = f"{'RSS' if case.resident_known else 'Address space'} {size_text(case.whole)}"
    if not sizes:
        return whole
    sizes["other"] = case.whole - sum(sizes.values())
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


def usual_notes(snapshot: Snapshot, arenas: tuple[ArenaFigures, ...] = ()) -> tuple[str, ...]:
    """Return what the reader must know about the figures."""
    notes = [note for malloc in snapshot.mallocs for note in malloc.notes]
    notes += residency_note(snapshot)
    if not snapshot.walked:
        notes.append("In use is derived: what remains of system without a walk (--no-walk).")
    locked = [str(arena.index) for arena in arenas if arena.locked]
    if locked:
        notes.append(
            f"Locked by a thread: arena {', '.join(locked)}. Its figures may be in motion."
        )
    if len(snapshot.mallocs) > 1:
        notes.append(
            f"{len(snapshot.mallocs)} copies of libc are loaded, each with its own arenas."
        )
    return tuple(notes)


def residency_note(snapshot: Snapshot | Catalogue) -> tuple[str, ...]:
    """Return why it isn't known what is resident; nothing where it is."""
    why = snapshot.target.no_residency
    return (f"What is resident is unknown: {why}.",) if why else ()


def mmapped_notes(mallocs: Iterable[Malloc]) -> tuple[str, ...]:
    """Say where mmapped chunks were not all found, so that they have no owner of their own."""
    counts = (each.parameters for each in mallocs if each.mmapped_lost)
    return tuple(uncertain_mmapped(each["n_mmaps"], each["mmapped_mem"]) for each in counts)
