"""The session that commands run in: what reads a heap is imported when the first one asks."""

from __future__ import annotations

from contextlib import AbstractContextManager
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


def at_one_stop(seconds: float | None) -> AbstractContextManager[GdbSession]:
    """Return the session of a command at gdb's prompt, which may read for so many seconds."""
    from . import session as sessions

    return sessions.at_one_stop(seconds)
