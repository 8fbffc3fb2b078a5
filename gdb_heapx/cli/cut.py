"""What is known where reading was stopped before what is in use was looked through."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import STOPPED, CutShortError
from ..heap.states import State
from ..report.model import Notes, Report
from ..report.notes import note
from ..report.schema import NONE_KNOWN, Schema

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot


def cut_report(table: Schema, snapshot: Snapshot, cut: CutShortError) -> Report:
    """Return how much is in use, as far as the walk came, and how long looking at it takes; the
    table has no rows.
    """
    arenas, mallocs = snapshot.arenas(), snapshot.mallocs
    known = (*(a.in_use for a in arenas), *(malloc.mmapped_in_use for malloc in mallocs))
    chunks = sum(arena.chunks.get(State.IN_USE, 0) for arena in arenas)
    said = note(
        "not_looked_through",
        size=sum(filter(None, known)),
        chunks=chunks + sum(malloc.parameters["n_mmaps"] for malloc in mallocs),
        whole=snapshot.in_use is not None,
        work=cut.work,
    )
    stopped = any(problem.code in STOPPED for problem in snapshot.problems)
    problems = snapshot.problems if stopped else (*snapshot.problems, cut.problem)
    return Report((Notes((said,), leads=True), replace(table.of([]), few=NONE_KNOWN)), problems)
