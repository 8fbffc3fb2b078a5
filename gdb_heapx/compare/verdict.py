"""The verdict on what changed, as notes: what, where, and what that means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..report.model import Note
from ..report.notes import note
from .comparing import Comparison
from .conclude import conclude
from .look import Look
from .parts import PERCENT, TWENTIETH, Moved

NAMED = 3  # arenas, sizes or files that a sentence names at most
VAGUE = (None, "first words", "contents")  # no type's name
ALWAYS = ("in use", "free")
ENOUGH = 10  # percent of a growth that a size or type must have to be named


class Grown(NamedTuple):
    """A part of a growth: what it is called, and its bytes."""

    name: Any
    bytes: int


class Mostly(NamedTuple):
    """The largest shares of a growth, how much of it they are in percent, and how many there are
    in all.
    """

    named: tuple[Grown, ...]
    percent: int
    number: int


def where(shares: Iterable[Grown]) -> Mostly | None:
    """Return where a growth is: in no more than it takes for nearly all; None without any."""
    grown = sorted((each for each in shares if each.bytes > 0), key=lambda each: -each.bytes)
    whole = sum(each.bytes for each in grown)
    if not whole:
        return None
    told, so_far = list[Grown](), 0
    for share in grown[:NAMED]:
        told.append(share)
        so_far += share.bytes
        if 100 * so_far >= 99 * whole:
            break
    return Mostly(tuple(told), PERCENT * so_far // whole, len(grown))


def verdict(changes: Comparison) -> tuple[Note, ...]:
    """Return what changed in one sentence, and then what of it is worth more."""
    changed, in_use = changes.equation, _held(changes.old, changes.new)
    concluded = conclude(changed, in_use)
    said = note(
        "change_verdict",
        meaning=concluded.code,
        shares=concluded.shares,
        kept=concluded.kept,
        parts=tuple(_parts(changes, in_use)),
        known=changed.known,
    )
    return (said, *_more(changes, in_use))


def _held(old: Look, new: Look) -> Moved | None:
    """Return the bytes that the program holds, before and now; None where one isn't known."""
    before, after = old.snapshot.in_use, new.snapshot.in_use
    return None if before is None or after is None else Moved("in use", before, after)


class ToldPart(NamedTuple):
    """What the verdict tells of a part: by how much it changed, in all and in RAM; whether it is
    called unchanged; and where it grew, None where that isn't told.
    """

    name: str
    change: int
    resident: int
    still: bool
    where: Mostly | None


def _parts(changes: Comparison, in_use: Moved | None) -> Iterator[ToldPart]:
    """Yield the parts that the verdict tells: what is in use and free, and what else changed."""
    changed = changes.equation
    for part in changed.parts:
        held = in_use if part.name == "in use" and in_use is not None else part
        still = changed.still(part) and changed.still(held)
        if not still or part.name in ALWAYS:
            spots = _where(changes, part) if part.name == "free" and not still else None
            yield ToldPart(part.name, held.change, part.change, still, spots)


def _where(changes: Comparison, part: Moved) -> Mostly | None:
    if part.change <= 0 or TWENTIETH * part.change < changes.equation.turned_over:
        return None
    known = changes.equation.known
    shares = (
        Grown(a.number, a.free.amount.in_ram if known else a.free.amount.bytes)
        for a in changes.arenas
        if a.number is not None
    )
    return where(shares)


def _more(changes: Comparison, in_use: Moved | None) -> Iterator[Note]:
    """Yield what grew within what is in use, and outside malloc, where that changed."""
    changed = changes.equation
    if in_use is not None and in_use.change > 0 and not changed.still(in_use):
        yield _use_grew(changes, in_use)
    outside = changed.of("outside malloc")
    if not changed.still(outside):
        moved = [(c.name, c.change.amount.in_ram) for c in changes.outside[:NAMED]]
        yield note("outside_changed", moved=moved, number=len(changes.outside))


def _use_grew(changes: Comparison, in_use: Moved) -> Note:
    """Return by which sizes and types, and in which arenas, what is in use grew."""
    named = [t for t in changes.types or () if t.how not in VAGUE]
    sizes = where(Grown((s.size, s.in_use_chunks), s.in_use) for s in changes.sizes or ())
    types = where(Grown((t.type, t.chunks), t.change.amount.bytes) for t in named)
    return note(
        "in_use_grew",
        change=in_use.change,
        old=in_use.old,
        sizes=_large(sizes),
        types=_large(types),
        arenas=where(Grown(a.number, a.in_use or 0) for a in changes.arenas),
    )


def _large(found: Mostly | None) -> Mostly | None:
    """Return the shares that are worth a name; None where none is."""
    if found is None or not found.percent:
        return None
    whole = PERCENT * sum(share.bytes for share in found.named) // found.percent
    named = tuple(s for s in found.named if PERCENT * s.bytes >= ENOUGH * whole)
    return found._replace(named=named) if named else None
