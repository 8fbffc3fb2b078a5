"""heapx mmapped: the chunks outside of arenas."""

from __future__ import annotations

from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.take import Snapshot
from ._columns import LIBC, PRESENCE, presence_of
from ._notes import residency_note

MMAPPED_COLUMNS = (
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES),
    Column("mapping", Kind.BYTES),
    *PRESENCE,
    Column("state", Kind.TEXT),
    LIBC,
)


@command("heapx mmapped")
def mmapped(snapshot: Snapshot) -> Report:
    """List the chunks that have a mapping of their own.

    malloc maps chunks of mmap_threshold and more; free unmaps them at once. glibc keeps no list of
    them, so they are looked for; where number and bytes don't agree with glibc's own count, the
    rows are candidates and mmapped total is what counts.

    Example:

        heapx mmapped --sort mapping --limit 10  the ten largest
    """
    rows: list[Row] = []
    notes = []
    for malloc in snapshot.mallocs:
        for chunk, presence in zip(malloc.mmapped, malloc.mmapped_presence):
            cached = "tcache" if chunk.address in malloc.mmapped_cached else "in use"
            rows.append(
                {
                    "address": chunk.address,
                    "size": chunk.size,
                    "mapping": chunk.mapping,
                    **presence_of(presence),
                    "state": cached if malloc.mmapped_certain else "candidate",
                    "libc": malloc.libc,
                }
            )
        if malloc.mmapped_lost:
            number, size = malloc.parameters["n_mmaps"], malloc.parameters["mmapped_mem"]
            notes.append(f"glibc counts {number:,} mmapped chunks of {size:,} bytes in all.")
    table = Table(
        "mmapped",
        MMAPPED_COLUMNS,
        rows,
        total(MMAPPED_COLUMNS, rows),
    )
    return Report((table,), snapshot.problems, notes=(*notes, *residency_note(snapshot)))
