"""What was read of the inferior, kept while it stands still: a second look reads nothing again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from ..snapshots.opened import Opened, open_target
from ..target.procfs import status_of
from .inferior import core_path, current_target, is_native
from .pacing import PACE

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.hidden import Way
    from ..held.room import Room
    from ..locate.release import Given

# Whatever may make a reading stale: it ran, memory was written, files came or went.
EVENTS = (
    *("cont", "stop", "exited", "memory_changed", "inferior_call"),
    *("new_objfile", "clear_objfiles"),
)


class How(NamedTuple):
    """How chunks in use are held: with shared memory among the roots, in passes if need be; and in
    which ways roots are looked at, too.
    """

    shared: bool
    passes: bool
    ways: tuple[Way, ...] = ()


class _Kept(NamedTuple):
    """What was read, of what, with which `figures` of mappings; and what was held of it."""

    key: tuple[Any, ...]
    figures: bool
    opened: Opened
    held: dict[How, Held]


_kept: list[_Kept] = []  # one at most


def opened(swap_in: int | None, compiled: bool, given: Given, figures: bool = True) -> Opened:
    """Return the selected inferior, opened: as it was read before, where it hasn't moved since, and
    where that has `figures` of mappings, if these are wanted.

    HeapxError where there is none, or no glibc malloc that can be read.
    """
    inferior = gdb.selected_inferior()
    settings = (swap_in, compiled, given)
    key = (inferior.num, inferior.pid, core_path(), *settings, _by_kernel(inferior))
    if _kept and _kept[0].key == key and _kept[0].figures >= figures:
        return _kept[0].opened
    forget()
    found = open_target(current_target(swap_in, compiled, PACE, figures), given)
    # In the condition of a breakpoint gdb calls threads running, and tells of no event in between.
    if inferior.threads() and not any(thread.is_running() for thread in inferior.threads()):
        known = figures or found.target.facts.rss is not None  # few mappings have them anyway
        _kept.append(_Kept(key, known, found, {}))
        for name in EVENTS:
            getattr(gdb.events, name).connect(forget)
    return found


def held(swap_in: int | None, compiled: bool, given: Given, how: How, room: Room | None) -> Held:
    """Return the chunks in use of the selected inferior, and its roots; as `opened`."""
    from ..held.held import hold  # what few commands need is imported by these
    from ..target.cgroups import affordable

    found = opened(swap_in, compiled, given)
    kept = _kept[0].held if _kept and _kept[0].opened is found else {}
    if how not in kept:
        pid = found.target.facts.pid if found.target.facts.live else None
        most = affordable(pid) if room is None else room.most  # which has taken of that
        kept[how] = hold(found, how.shared, room, most, how.passes, how.ways)
    return kept[how]


def is_held(found: Opened) -> bool:
    """Tell whether the chunks in use of a target were held already, so that no look costs much."""
    return bool(_kept) and _kept[0].opened is found and How(False, False) in _kept[0].held


def _by_kernel(inferior: gdb.Inferior) -> tuple[str | None, ...]:
    """Return what changes of a process though nobody lets it run: it is killed, or swapped out."""
    status = status_of(inferior.pid) if is_native(inferior) else {}
    return tuple(status.get(name) for name in ("State", "VmRSS", "VmSwap"))


def forget(_event: object = None) -> None:
    """Drop what is kept."""
    if _kept:
        _kept.clear()
        for name in EVENTS:
            getattr(gdb.events, name).disconnect(forget)
