"""What free() and malloc_trim would return, if chunks that aren't free were free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..records import dataclass
from .endings import Endings, Free, is_fast
from .pins import Group, Pin, find_pins, last_alike, last_below_top
from .states import State

if TYPE_CHECKING:
    from ..target.amounts import Amount
    from .holes import Holes


class Returned(NamedTuple):
    """What the kernel gets back in whole pages, its resident bytes are the fall of RSS: from the
    next free() that makes 64 KiB, and then, apart from that, from a malloc_trim(0).
    """

    by_free: Amount
    by_trim: Amount


@dataclass(frozen=True)
class WhatIf:
    """What would be returned of one arena: as it is `now`, where that free merges the fast chunks;
    if all `tcaches` gave back their chunks; and by thread (its lwp), if that one ended, where that
    changes anything. `above` are the whole free pages above the last chunk in use, which nothing
    but tcaches keeps. `last` are the chunks right below top, `pins` those that keep something from
    its end on, `alike` the last chunks of one size.
    """

    now: Returned
    tcaches: Returned
    threads: Mapping[int, Amount]
    above: Amount
    last: Pin | None
    pins: tuple[Pin, ...]
    alike: Group | None


def what_if(endings: Endings, holes: Holes) -> WhatIf:
    """Return what would be returned of an arena whose chunks were walked over."""

    def returned(free: Free, between: Amount) -> Returned:
        starts = endings.starts(free)
        return Returned(endings.by_free(starts), endings.by_trim(starts, between))

    last = last_below_top(endings)
    return WhatIf(
        now=returned(is_fast, holes.returned),
        tcaches=returned(_cached, holes.returned + holes.gained),
        threads={
            lwp: endings.by_free(endings.starts(_of_thread(endings, lwp)))
            for lwp in _last_owners(endings)
        },
        above=endings.above(),
        last=last,
        pins=tuple(find_pins(endings, last)),
        alike=last_alike(endings, last),
    )


def _cached(chunk: int, state: State) -> bool:
    return state in (State.FAST, State.TCACHE)


def _of_thread(endings: Endings, lwp: int) -> Free:
    """Return what is free when a thread has ended: its tcache, too (tcache_thread_shutdown)."""
    return lambda chunk, state: state is State.FAST or endings.owners.get(chunk) == lwp


def _last_owners(endings: Endings) -> set[int]:
    """Return the threads whose tcache holds the last chunk of a heap that isn't binned."""
    trails = (endings.trail(part) for part in endings.parts[-1:])
    last = (next((c for c, _, state in trail if state is not State.FAST), None) for trail in trails)
    return {endings.owners[chunk] for chunk in last if chunk in endings.owners}
