"""A command that a file answers: by which function, and what that gets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import HeapxError, UsageError
from ..report.model import Notes, Report
from ..report.notes import note
from .command import Command, Function, Needs

if TYPE_CHECKING:
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from .session import Session

ASK_IT = "Ask the process, or a core of it."


def from_file(
    declared: Command, session: Session, saved: Saved, scope: Scope, options: dict[str, Any]
) -> tuple[Function, dict[str, Any]]:
    """Return what answers from a session's file, and what it gets behind the snapshot.

    HeapxError where only a target can answer.
    """
    run, needs = declared.way(options)
    own = {arg.key: options[arg.key] for arg in declared.own_args}
    if declared.filed is not None:
        taken = inspect.signature(declared.filed).parameters
        _refuse_options(declared, {k: v for k, v in options.items() if k not in taken})
        return declared.filed, {"saved": saved, **{k: own[k] for k in taken if k in own}}
    if needs is Needs.SESSION:
        return run, {**own, "session": session, "scope": scope}
    if needs is Needs.LIVE:
        own.update(brief=saved.brief)
    elif needs not in (Needs.SNAPSHOT, Needs.FILE):
        raise HeapxError(
            f"{declared.name} needs {_WANTED[needs]}: this is a saved snapshot", ASK_IT
        )
    if saved.taken.brief and (needs is Needs.LIVE or declared.strips):
        run = _in_brief(run)
    return run, {**own, "ceilings": saved.ceilings} if declared.ceilings else own


def _in_brief(run: Function) -> Function:
    """Return what answers the same, and says what the file hasn't looked at."""

    def answer(*args: Any, **given: Any) -> Report:
        report = run(*args, **given)
        return replace(report, blocks=(*report.blocks, Notes((note("saved_brief"),))))

    return answer


_WANTED = {
    Needs.CHUNKS: "single chunks",
    Needs.BOTH: "single chunks",
    Needs.HELD: "the memory that is in use",
    Needs.GROWTH: "a process that runs",
    Needs.ASKED: "a process, or a core",
}


def in_its_place(
    declared: Command, options: Mapping[str, Any]
) -> Callable[[float | None, bool], AbstractContextManager[Session]] | None:
    """Return what opens the file that a command line names in place of the target; None if none."""
    files = [options[arg.key] for arg in declared.args if arg.instead and options[arg.key]]
    if not files:
        return None
    from ..saved.saved import read_saved
    from ..saved.session import SavedSession

    return lambda seconds, held: nullcontext(SavedSession(read_saved(files[0])))


def _refuse_options(declared: Command, options: dict[str, Any]) -> None:
    """UsageError for an option by which the process would be asked something else."""
    for arg in declared.args:
        if options.get(arg.key) not in (None, False):
            raise UsageError(
                f"{declared.name} {arg.name} needs the process: a saved snapshot has its answer "
                "without options",
                ASK_IT,
            )
