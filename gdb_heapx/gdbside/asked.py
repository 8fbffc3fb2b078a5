"""The session that commands run in: what reads a heap is imported when the first one asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..snapshots.take import Snapshot
    from .session import GdbSession


def session() -> GdbSession:
    from .session import GdbSession  # takes half the time of `source gdb_heapx.py`

    return GdbSession()


def catalogue() -> Catalogue:
    """Return a way to the single chunks."""
    from ..snapshots.malloc import Scope

    return session().catalogue(Scope())


def counted() -> Snapshot:
    """Return a snapshot in which mmapped chunks are only counted."""
    from ..heap.states import Search
    from ..snapshots.malloc import Scope

    return session().take(Scope(search=Search.NONE))
