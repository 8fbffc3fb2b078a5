"""heapx mmapped: the chunks outside of arenas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.command import command
from ..heap.states import NAMES, Search, State
from ..report.model import Note, Notes, Report
from ..report.notes import note
from ..report.schema import Column, Kind, Many, Schema, within
from ._columns import IN_MEMORY, LIBC
from ._notes import residency_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..heap.mmapped import MmappedChunk
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount

MMAPPED = Schema(
    "mmapped",
    (
        *within(
            "chunk",
            Column("address", Kind.ADDRESS),
            Column("size", Kind.BYTES),
            Column("mapping", Kind.BYTES),
        ),
        *within("amount", *IN_MEMORY),
        Column("state", Kind.TEXT),
        LIBC,
    ),
    adds=(),
)


class _Mmapped(NamedTuple):
    chunk: MmappedChunk
    amount: Amount
    state: str
    libc: str


SHOWN = 40  # rows


@command("heapx mmapped", limit=SHOWN, tables=(MMAPPED,), search=Search.HEADERS)
def mmapped(snapshot: Snapshot) -> Report:
    """List the chunks that have a mapping of their own.

    malloc maps chunks of mmap_threshold and more; free unmaps them at once. glibc keeps no list of
    them, so they are looked for; where number and bytes don't agree with glibc's own count, the
    rows are candidates, and what counts is what heapx arenas tells of them. As text the first 40
    are shown, or --limit; the total is of all.

    Example:

        heapx mmapped --sort mapping --limit 10  the ten largest
    """
    found = Many(sum(len(m.mmapped) for m in snapshot.mallocs), lambda: _each(snapshot))
    notes: list[Note] = []
    for malloc in snapshot.mallocs:
        if malloc.mmapped_lost:
            number, size = malloc.parameters["n_mmaps"], malloc.parameters["mmapped_mem"]
            notes.append(note("mmapped_counted", number=number, size=size))
    notes += residency_note(snapshot)
    return Report((MMAPPED.of(found), Notes(tuple(notes))), snapshot.problems)


def _each(snapshot: Snapshot) -> Iterator[_Mmapped]:
    """Yield the chunks of each malloc."""
    for malloc in snapshot.mallocs:
        for chunk, amount in zip(malloc.mmapped, malloc.mmapped_amounts):
            state = State.TCACHE if chunk.address in malloc.mmapped_cached else State.IN_USE
            said = NAMES[state] if malloc.mmapped_certain else "candidate"
            yield _Mmapped(chunk, amount, said, malloc.libc)
