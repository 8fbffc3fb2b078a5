"""Ways in which a program may hide its pointers, asked for, and what of leaks they explain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..reach.states import Degree
from ..report.model import Note, counted
from ..report.notes import note
from ..report.schema import Column, Kind, Schema
from ._columns import IN_MEMORY, TOTALS

if TYPE_CHECKING:
    from ..held.hidden import Way
    from ..reach.leaks import Leaks

SHIFTS = tuple(map(str, range(9)))  # of a JVM: objects are aligned to 256 bytes at most
WAYS = (
    Arg("--unaligned", "tell what pointers at any byte would explain"),
    Arg("--mask", "tell what pointers would whose highest bits are something else", "bits"),
    Arg("--compressed", "tell what 32-bit offsets from this base would", "address", metavar="BASE"),
    Arg("--shift", "by how many bits these are shifted", "choice", "3", SHIFTS),
)
HIDDEN = Schema(
    "hidden",
    (
        Column("how", Kind.TEXT),
        Column("heads", Kind.COUNT),
        *TOTALS,
        *IN_MEMORY,
        Column("means", Kind.TEXT, flows=True),
    ),
)


class ByWay(NamedTuple):
    """What would be reached in a way, in which pointers may be hidden."""

    how: str
    heads: int
    chunks: int
    bytes: int
    resident: int | None
    swapped: int | None
    means: str


def hidden_rows(found: Leaks, known: bool) -> Iterator[ByWay]:
    """Yield what each way would explain; `known` is whether it is known what is in memory."""
    for way, heads, own in found.explained:
        resident, swapped = (own.resident, own.swapped) if known else (None, None)
        how, means = _said(way)
        yield ByWay(how, heads, own.chunks, own.bytes, resident, swapped, means)


def _said(way: Way) -> tuple[str, str]:
    """Return what a way is called, and what it means."""
    said = []
    if way.unaligned:
        said.append(("unaligned", "pointers at any byte"))
    if way.bits:
        said.append(("masked", f"pointers without their highest {counted(way.bits, 'bit')}"))
    if way.base is not None:
        said.append(("compressed", f"32 bits, times {1 << way.shift}, from {way.base:#x} on"))
    return said[0] if len(said) == 1 else ("together", "all of these, also at once")


def explained_note(found: Leaks) -> Iterator[Note]:
    """Tell what all ways together would explain: the last one of them has all."""
    of = found.degrees[Degree.HEAD].chunks
    for _, heads, own in found.explained[-1:] if of else ():
        yield note("hidden", heads=heads, of=of, chunks=own.chunks, size=own.bytes)
