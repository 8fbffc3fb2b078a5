"""What must be said first of two looks: when, and whether they are at one process and program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..report.model import Note
from ..report.notes import note
from .arenas import ArenaChange
from .look import Look
from .relation import Relation


def relating_notes(old: Look, new: Look, related: Relation) -> Iterator[Note]:
    """Yield when both were seen, and what keeps them from being compared figure by figure."""
    yield _between(old, new)
    before, after = old.snapshot.target, new.snapshot.target
    if related is Relation.EXECUTED:
        yield note("program_started", pid=after.pid)
    if related is Relation.LIKELY:
        yield note("same_likely")
    if related is Relation.OTHER:
        yield note("other_process", old=_whose(old), new=_whose(new))
    if before.exe != after.exe:
        yield note("other_program", old=before.exe or "unknown", new=after.exe or "unknown")
    releases = [_releases(look) for look in (old, new)]
    if releases[0] != releases[1]:
        yield note("other_release", old=releases[0], new=releases[1])


def _between(old: Look, new: Look) -> Note:
    first, second = old.moment, new.moment
    known = first is not None and second is not None
    seconds = round((second - first).total_seconds()) if first and second else None
    times = (old.time, new.time) if known else (None, None)
    return note("between", old=times[0], new=times[1], seconds=seconds)


def _whose(look: Look) -> dict[str, Any]:
    return {"pid": look.snapshot.target.pid, "host": look.host}


def _releases(look: Look) -> str:
    return " and ".join(sorted({m.release for m in look.snapshot.mallocs})) or "none"


def numbering_notes(arenas: Sequence[ArenaChange]) -> Iterator[Note]:
    """Tell which arenas had another number before: a new one goes in behind the main arena."""
    pairs = [(a.number, a.was) for a in arenas if a.was is not None and a.was != a.number]
    if pairs:
        yield note("arenas_renumbered", pairs=sorted(pairs))
