"""What other scripts inside gdb may use: import gdb_heapx; gdb_heapx.snapshot().

Each function reads the selected inferior, which must stand still, and raises HeapxError, with a
sentence for the user, where there is nothing to read. docs/python.md has the whole story.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import SupportsInt

from .errors import HeapxError
from .gdbside.session import GdbSession
from .gdbside.values import as_address
from .inventory.chunk import ALL, CHUNK_STATES, Chunk, Wanted
from .report.model import Finding
from .snapshots.figures import select_arenas
from .snapshots.malloc import Scope
from .snapshots.take import Snapshot
from .why.causes import find_causes

__all__ = [
    "Chunk",
    "Finding",
    "HeapxError",
    "Snapshot",
    "Wanted",
    "chunk_at",
    "chunks",
    "findings",
    "snapshot",
]


def snapshot(
    *, walk: bool = True, swap_in: int | None = None, pad: int = 0, stale: bool = False
) -> Snapshot:
    """Return everything that heapx knows of the target at this moment, as plain values.

    Without `walk` lists are followed, but chunks aren't gone over. `swap_in` bytes may be brought
    back from swap (None: `set heapx swap-in`); `pad` is what malloc_trim would be asked to leave.
    With `stale`, large free chunks are read for what lay there before, as `heapx why` does.
    """
    session = GdbSession()
    return session.told_apart(session.take(Scope(walk, swap_in, pad, stale=stale)))


def chunks(wanted: Wanted = ALL) -> Iterator[Chunk]:
    """Yield the chunks that are wanted, while the target stands still (Catalogue.chunks).

    HeapxError if there is no such arena or state.
    """
    catalogue = GdbSession().catalogue(Scope())
    select_arenas(catalogue.arenas(), wanted.arena)
    unknown = (wanted.states or frozenset()) - frozenset(CHUNK_STATES)
    if unknown:
        raise HeapxError(f"no state {min(unknown)!r}", f"States: {', '.join(CHUNK_STATES)}")
    return catalogue.chunks(wanted)


def chunk_at(address: SupportsInt) -> Chunk | None:
    """Return the chunk that has this address, None outside of malloc.

    It is a number or a gdb.Value, of an object the place where that lies.
    """
    return GdbSession().catalogue(Scope()).at(as_address(address))


def findings(taken: Snapshot) -> tuple[Finding, ...]:
    """Return why memory stays, and what to do: those with most bytes first, as `heapx why` does;
    without `no_fit`, for which the target itself is asked.
    """
    return find_causes(taken)
