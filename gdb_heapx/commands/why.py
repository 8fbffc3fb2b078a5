"""heapx why: why memory stays, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli.command import Needs, command
from ..report.model import Findings, Notes, Report
from ..report.schema import DATA_ONLY, Column, Kind, Schema
from ._notes import equation, mmapped_notes, usual_notes, verdict

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..reach.brief import Brief
    from ..snapshots.take import Snapshot

# For scripts; text shows the findings themselves.
WHY = Schema(
    "why",
    (
        Column("code", Kind.TEXT, DATA_ONLY),
        Column("bytes", Kind.BYTES, DATA_ONLY),
        Column("statement", Kind.TEXT, DATA_ONLY),
        Column("worth", Kind.BYTES, DATA_ONLY, of=lambda it: it.worth and it.worth.bytes),
        Column("worth_is", Kind.TEXT, DATA_ONLY, of=lambda it: it.worth and it.worth.kind),
        Column("likely", Kind.BYTES, DATA_ONLY, of=lambda it: it.worth and it.worth.likely),
        Column("in_force", Kind.BOOL, DATA_ONLY),
        Column("reason_of", Kind.TEXT, DATA_ONLY),
        Column("told_before", Kind.BYTES, DATA_ONLY),
    ),
)


@command(
    "heapx why",
    needs=Needs.LIVE,
    whole=True,
    tables=(WHY,),
    stale=True,
    census=True,
    outcomes=True,
    ceilings=True,
)
def why(snapshot: Snapshot, brief: Brief | None, ceilings: tuple[Ceiling, ...]) -> Report:
    """Say why memory stays in the process, with the evidence, and what to do.

    Each finding: how much it is about, what keeps that, addresses and figures that show it, and
    the setting or call that helps, with its price. "At most" is a bound of what the remedy gives
    back, "likely" an estimate; where the bound is more than a hundred times that, only the estimate
    is shown. Without these words it is exact, or what it saves isn't known, and the remedy says
    so. Settings in force that make it worse come first, then live memory, where it
    is most, then what is proven to give most back. Findings about the same bytes follow the first.

    Examples:

        heapx why                                  for you
        heapx why --format json --output why.json  for a script
    """
    from ..why.causes import find_causes  # what few commands need is imported by these
    from ..why.sums import Case

    case = Case(snapshot, brief)
    findings = find_causes(snapshot, brief, ceilings)
    blocks = (
        Notes((equation(case), verdict(case, findings)), leads=True),
        WHY.of(findings),
        Findings(findings, tabled=True),
        Notes((*mmapped_notes(snapshot.mallocs), *usual_notes(snapshot))),
    )
    return Report(blocks, snapshot.problems)
