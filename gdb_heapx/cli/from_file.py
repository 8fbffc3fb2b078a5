"""A command that a file answers: by which function, and what that gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import HeapxError, UsageError
from .command import Command, Function, Needs, Session

if TYPE_CHECKING:
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope

ASK_IT = "Ask the process, or a core of it."


def from_file(
    declared: Command, session: Session, saved: Saved, scope: Scope, options: dict[str, Any]
) -> tuple[Function, dict[str, Any]]:
    """Return what answers from a session's file, and what it gets behind the snapshot.

    HeapxError where only a target can answer.
    """
    run, needs = declared.way(options)
    if declared.filed is not None:
        _refuse_options(declared, options)
        return declared.filed, {"saved": saved}
    own = {arg.key: options[arg.key] for arg in declared.own_args}
    if needs is Needs.SESSION:
        return run, {**own, "session": session, "scope": scope}
    if needs is Needs.LIVE:
        own.update(brief=saved.brief)
    elif needs not in (Needs.SNAPSHOT, Needs.FILE):
        raise HeapxError(
            f"{declared.name} needs {_WANTED[needs]}: this is a saved snapshot", ASK_IT
        )
    return run, {**own, "ceilings": saved.ceilings} if declared.ceilings else own


_WANTED = {
    Needs.CHUNKS: "single chunks",
    Needs.BOTH: "single chunks",
    Needs.HELD: "the memory that is in use",
    Needs.GROWTH: "a process that runs",
    Needs.ASKED: "a process, or a core",
}


def _refuse_options(declared: Command, options: dict[str, Any]) -> None:
    """UsageError for an option by which the process would be asked something else."""
    for arg in declared.args:
        if options[arg.key] not in (None, False):
            raise UsageError(
                f"{declared.name} {arg.name} needs the process: a saved snapshot has its answer "
                "without options",
                ASK_IT,
            )
