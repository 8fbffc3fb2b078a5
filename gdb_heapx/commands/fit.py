"""heapx fit: what malloc would do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli.arg import Arg
from ..cli.command import Needs, command
from ..fit.fits import fits
from ..heap.states import Search
from ..report.model import DATA_ONLY, Column, Kind, Notes, Report, Schema
from ._columns import LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..snapshots.take import Snapshot

FIT = Schema(
    "fit",
    (
        Column("thread", Kind.INDEX, absent="-"),
        Column("arena", Kind.INDEX, absent="-"),
        Column("request", Kind.BYTES, exact=True),
        Column("chunk_size", Kind.BYTES, rank=3, title="chunk", exact=True),
        Column("source", Kind.TEXT),
        Column("address", Kind.ADDRESS, rank=2, title="chunk at"),
        Column("remainder", Kind.BYTES, rank=4),
        Column("grows", Kind.BYTES),
        Column("reason", Kind.TEXT, DATA_ONLY),
        LIBC,
    ),
)
POWERS = tuple(1 << power for power in range(5, 27))


@command(
    "heapx fit",
    Arg("SIZE", "bytes that malloc is asked for; powers of two if absent", "bytes"),
    Arg("--thread", "in this thread, by its LWP; if absent in each arena", "count"),
    needs=Needs.BOTH,
    tables=(FIT,),
    search=Search.NONE,
    census=True,
)
def fit(snapshot: Snapshot, catalogue: Catalogue, size: int | None, thread: int | None) -> Report:
    """Tell what malloc would do now with a request.

    Example: heapx fit 100000
    """
    requests = POWERS if size is None else (size,)
    mallocs = catalogue.opened.mallocs
    found = [each for reading in mallocs for each in fits(reading, requests, thread)]
    return Report((FIT.of(found), Notes(usual_notes(snapshot))), snapshot.problems)
