"""heapx compare: what has changed since a snapshot was saved."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..cli.arg import Arg
from ..cli.command import REGISTRY, Needs, command
from ..errors import CutShortError, HeapxError
from ..heap.states import Search
from . import load_command
from ._changes import KINDS, changes_report, look_of

if TYPE_CHECKING:
    from ..cli.session import Session
    from ..compare.look import Look
    from ..held.held import Held
    from ..report.model import Report
    from ..report.schema import Table
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot


def _held(
    snapshot: Snapshot,
    session: Session,
    scope: Scope,
    old: str,
    new: str | None,
    by: str | None,
    no_types: bool,
) -> Held | None:
    """Return the chunks in use, to tell their types; None where they aren't wanted, or too many."""
    if new is None and not no_types and by in (None, "type"):
        with suppress(HeapxError):
            return session.hold(scope, shared=False, passes=False)
    return None


def _of_files(
    snapshot: Snapshot, saved: Saved, old: str, new: str | None, by: str | None, no_types: bool
) -> Report:
    """Compare two files: `saved` is the new one, or what is looked at in place of a target."""
    return _report(old, look_of(saved), by)


def _report(old: str, new: Look, by: str | None) -> Report:
    from ..compare.comparing import Comparison  # what few commands need is imported by these
    from ..saved.saved import read_saved

    return changes_report(Comparison(look_of(read_saved(old)), new), by)


@command(
    "heapx compare",
    Arg("OLD", "a snapshot that heapx save has written", "input", required=True),
    Arg("NEW", "a later one; without it, what is looked at now", "input", instead=True),
    Arg("--by", "show only what changed by this, all of it", "choice", choices=tuple(KINDS)),
    Arg("--no-types", "leave out types: the process stands still for less long"),
    needs=Needs.ASKED,
    whole=True,
    tables=tuple(KINDS.values()),
    search=Search.HEADERS,
    apart=True,
    census=True,
    outcomes=True,
    asks=_held,
    filed=_of_files,
)
def compare(
    snapshot: Snapshot,
    asked: Held | None,
    stood_still: float | None,
    old: str,
    new: str | None,
    by: str | None,
    no_types: bool,
) -> Report:
    """Say what has grown and shrunk since a snapshot was saved, and what that means.

    First the verdict: what is in use, what is free and resident in malloc, and what isn't malloc's
    grew by how much, where, and whether that is retention or the program's own growth. Then what
    changed by owner, which adds up to the change of RSS, by arena, which adds up to malloc's, by
    size of chunk and by type. --by shows one of these alone, or what changed by heap or by bin.
    What didn't change isn't listed.

    Arenas and heaps are matched by their addresses where both are looks at the same process, else
    by their order; the report says so. Types are compared where both looks have them.

    Examples:

        heapx compare old.json.gz                from then to now
        heapx compare old.json.gz new.json.gz    from one file to another
        heapx compare old.json.gz --by type      all types that changed, alone
    """
    return _report(old, _now(snapshot, asked), by)


def _now(snapshot: Snapshot, held: Held | None) -> Look:
    """Return what is looked at now."""
    from ..compare.look import TYPES, Look
    from ..saved.taken import taken_of

    types, taken = _types(snapshot, held), taken_of(snapshot, None)
    return Look(snapshot, taken.time, taken.host, {} if types is None else {TYPES: types})


def _types(snapshot: Snapshot, held: Held | None) -> Table | None:
    from ..compare.look import TYPES

    if held is None:
        return None
    load_command(TYPES)
    run = REGISTRY[f"heapx {TYPES}"].run
    with suppress(CutShortError):
        return run(snapshot, held=held, arena=None, by=None, min_bytes=None).tables[0]
    return None
