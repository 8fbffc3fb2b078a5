"""What keeps free memory, for a file or a page, if that is soon found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli.command import REGISTRY
from ..errors import HeapxError

if TYPE_CHECKING:
    from ..cli.session import Session
    from ..report.model import Report
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot


def pins_within(
    snapshot: Snapshot, session: Session, scope: Scope, seconds: float | None
) -> Report | str:
    """Return what heapx pins answers, or why that isn't known: it takes more than so many seconds,
    None for any number, by an estimate, so that the same process gets the same answer each time.
    """
    try:
        catalogue = session.catalogue(scope)
        if seconds is not None:
            readings = [each.reading for each in catalogue.inventories]
            took = sum(r.walks.time_to_pins(arena) for r in readings for arena in r.arenas)
            if took > seconds:
                return f"it takes about {max(took, 1):.0f} s"
        return REGISTRY["heapx pins"].run(snapshot, catalogue=catalogue, arena=None, group=None)
    except HeapxError as error:
        return error.statement
