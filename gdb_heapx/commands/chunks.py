"""heapx chunks: chunks one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ARENA
from ..cli.command import Needs, command
from ..errors import UsageError
from ..inventory.chunk import CHUNK_STATES, IN_USE, LISTED, MMAPPED, UNKNOWN, Wanted
from ..report.model import Notes, Report, Steps
from ..report.schema import Schema
from ._columns import CHUNK_COLUMNS, LIBC, STATE, TOTALS

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue

CHUNKS = Schema("chunks", CHUNK_COLUMNS)
COUNTS = Schema("chunk_counts", (STATE, *TOTALS, LIBC), adds=("chunks",))
# The option's words: a state each, all that is free but top, all that the program holds.
CHOICES = {state.replace(" ", "-"): frozenset({state}) for state in CHUNK_STATES}
CHOICES["free"] = frozenset(LISTED)
CHOICES["in-use"] = frozenset({IN_USE, MMAPPED})
NEXT = (("heapx chunk ADDRESS", "what it holds, and what is around it"),)


class _Count(NamedTuple):
    state: str
    chunks: int | None
    bytes: int | None
    libc: str


@command(
    "heapx chunks",
    ARENA,
    Arg("--state", "chunks in this state only", "choice", choices=tuple(CHOICES)),
    Arg("--min-size", "chunks of this size or more", "bytes"),
    Arg("--max-size", "chunks of this size or less", "bytes"),
    Arg("--from", "from the chunk that has this address on; any expression of gdb's", "address"),
    Arg("--to", "chunks that begin before this address", "address"),
    Arg("--type", "those of this type in heapx types; * stands for anything", "text"),
    Arg("--count", "count them and their bytes by state instead", tables=("chunk_counts",)),
    needs=Needs.CHUNKS,
    tables=(CHUNKS, COUNTS),
)
def chunks(
    catalogue: Catalogue,
    arena: int | None,
    state: str | None,
    min_size: int | None,
    max_size: int | None,
    type: str | None,
    count: bool,
    **span: int | None,
) -> Report:
    """List chunks one by one, in the order of their addresses.

    Arena by arena and heap by heap; chunks with a mapping of their own come last. Sizes are chunk
    sizes, with malloc's header. --state free are tcache, fast and binned chunks, --state in-use are
    in use and mmapped ones; overhead are the tcaches themselves. What lies behind a damaged header
    is one chunk, unknown, up to top or the heap's end. As text the first 40 are shown, or --limit;
    JSON and CSV have all, written as they are read, however many there are.

    Examples:

        heapx chunks --state in-use --min-size 1M   what large the program holds
        heapx chunks --arena 1 --count              how many there are in each state
        heapx chunks --type 'zoo::*'                the objects of these classes
        heapx chunks --format csv --output all.csv  all, for another program
    """
    from ..inventory.by_type import addresses_of  # what few commands need is imported by these
    from ..snapshots.figures import select_arenas

    select_arenas(catalogue.arenas(), arena)
    if None not in (min_size, max_size) and (min_size or 0) > (max_size or 0):
        raise UsageError("--min-size is more than --max-size")
    states = CHOICES[state] if state else None
    of_type = addresses_of(catalogue, type) if type else None
    wanted = Wanted(arena, states, min_size, max_size, span["from"], span["to"], of_type)
    notes = Notes((*catalogue.notes, *(catalogue.uncertain_mmapped if arena is None else ())))
    if count:
        found = [
            _Count(each, *sums, libc)
            for libc in catalogue.libcs
            for each, sums in catalogue.count(wanted, libc).items()
            if sums[0]
        ]
        catalogue.tell()
        if catalogue.stopped:  # not all of them were counted
            read = [each for each in found if each.state != UNKNOWN]
            found = [each._replace(chunks=None, bytes=None) for each in read]
        table = COUNTS.of(found)
        return Report((table, notes), catalogue.problems)
    table = CHUNKS.of(catalogue.chunks(wanted))
    return Report((table, notes, Steps(NEXT)), catalogue.problems)
