"""How much of a target a command line has read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..heap.states import Search
from .command import Command, Needs

if TYPE_CHECKING:
    from ..snapshots.malloc import Scope

SNAPSHOTS = (Needs.SNAPSHOT, Needs.SESSION)


def scope_of(declared: Command, options: Mapping[str, Any]) -> Scope:
    """Return what a command asks for, with these options; with --brief the figures alone. What
    tells of malloc's own memory only needs no figures of mappings.
    """
    from ..snapshots import malloc  # what reads heaps is imported when one is to be read

    walk = not options.get("no_walk", False)
    pad = options.get("pad") or 0
    wanted = declared.search, declared.stale, declared.whole, declared.apart, declared.census
    own = declared.search is Search.NONE and declared.way(options)[1] in SNAPSHOTS
    figures = not own or declared.whole or options.get("now", False)
    more = declared.outcomes, declared.strips
    scope = malloc.Scope(walk, options["swap_in"], pad, *wanted, *more, figures=figures)
    if not options.get("brief"):
        return scope
    return replace(scope, stale=False, strips=False, pages=False)
