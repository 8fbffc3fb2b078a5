"""Commands about all that can be known of a target, declared."""

from __future__ import annotations

from functools import partial

from ..heap.states import Search
from .command import Needs, command

# As `command`, of one that is told all that a Snapshot can have, what arenas can serve, and what it
# asks while the target stands still. A file may answer instead.
command_about_all = partial(
    command,
    needs=Needs.ASKED,
    whole=True,
    search=Search.HEADERS,
    stale=True,
    apart=True,
    census=True,
    outcomes=True,
    strips=True,
    ceilings=True,
)
