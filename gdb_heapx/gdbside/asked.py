"""The session that commands run in: what reads a heap is imported when the first one asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .pacing import PACE, at_the_prompt

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..snapshots.take import Snapshot
    from .loading import LoadedSession
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

    return session().take(Scope(search=Search.NONE, apart=False))


@contextmanager
def at_one_stop(seconds: float | None, held: bool = False) -> Iterator[GdbSession | LoadedSession]:
    """Return the session of a command at gdb's prompt, which may read for so many seconds.

    What was read only in part is not kept for the next one.
    """
    from .loaded import loaded

    known = loaded()
    if known is not None:
        from .loading import LoadedSession

        yield LoadedSession(known.saved)
        return
    with at_the_prompt(seconds):  # from here on a Ctrl-C has an answer
        asked = session()
        from .standing import forget

        try:
            yield asked
        except KeyboardInterrupt:
            forget()
            raise
        finally:
            if PACE.missed:
                forget()
