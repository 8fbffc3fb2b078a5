"""When and where a snapshot was taken."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .. import __version__
from ..records import dataclass

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot


@dataclass(frozen=True)
class Taken:
    """When it was taken, in UTC (ISO 8601, with seconds and Z), on which host, None where that
    isn't known, and by which heapx. `stood_still` is for how many seconds the process did so, None
    where nobody measured that, as of a core. It is `brief` where only figures were looked at.
    """

    time: str
    host: str | None
    heapx: str
    stood_still: float | None = None
    brief: bool = False


def taken_of(snapshot: Snapshot, stood_still: float | None, brief: bool = False) -> Taken:
    """Return that a snapshot was taken now."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    here = snapshot.target.live and snapshot.target.rss is not None
    return Taken(now, os.uname().nodename if here else None, __version__, stood_still, brief)
