"""What heapx watch prints: each look as it comes, and the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from .. import __version__
from ..cli.execute import target_facts
from ..commands._changes import changes_report
from ..compare.comparing import Comparison
from ..compare.look import Look
from ..records import dataclass
from ..report.arrange import arrange
from ..report.context import Context
from ..report.model import Notes, Report
from ..report.notes import note, sentence
from ..report.render import FORMATS
from ..report.style import Style
from .looks import BLOCKS, PLAIN, LookRow, csv_line, heading, json_line, line, room
from .streams import complain, print_pieces

LARGEST = 5  # rows of the comparison


@dataclass
class LookPrinter:
    """How looks are printed: as text for this terminal, as JSON or as CSV; what was, so far."""

    format: str
    width: int
    colour: bool
    unicode: bool
    rss: list[int] = field(default_factory=list)
    begun: bool = False

    def look(self, row: LookRow) -> None:
        """Print a look."""
        self.rss += [] if row.rss is None else [row.rss]
        told = {"json": self._json, "csv": self._csv, "text": self._text}[self.format](row)
        self.begun = True
        print_pieces([told.encode()])

    def _json(self, row: LookRow) -> str:
        return json_line(row._asdict())

    def _csv(self, row: LookRow) -> str:
        return ("" if self.begun else csv_line(LookRow._fields)) + csv_line(row)

    def _text(self, row: LookRow) -> str:
        cells = room(self.width)
        first = "" if self.begun else f"{heading(cells)}\n"
        return f"{first}{line(row, self.rss, cells, BLOCKS if self.unicode else PLAIN)}\n"

    def end(
        self, first: Look, last: Look, stood: Sequence[float], failed: int, seconds: float
    ) -> None:
        """Print what the looks cost the process, and of several what has changed; beside CSV, which
        has only rows, in short on standard error.
        """
        report = Report(())
        if last is not first:
            report = changes_report(Comparison(first, last), brief=self.format != "json")
        told = note(
            "watch_cost", looks=len(stood), failed=failed, stood=tuple(stood), seconds=seconds
        )
        report = Report((Notes((told,), leads=True), *report.blocks), report.problems)
        if self.format == "csv":
            lead = (
                each
                for block in report.blocks
                if isinstance(block, Notes) and block.leads
                for each in block.notes
            )
            complain("\n".join(map(sentence, lead)))
            return
        print_pieces([self._ended(report, last).encode(errors="surrogateescape")])

    def _ended(self, report: Report, last: Look) -> str:
        context = Context("heapx watch", __version__, target_facts(last.snapshot))
        if self.format == "json":
            whole: dict[str, Any] = json.loads("".join(FORMATS["json"](report, context, Style())))
            return json_line({"comparison": whole})
        few = arrange(report, None, LARGEST, None, True)
        kind = "ansi" if self.colour else "text"
        return "\n" + "".join(FORMATS[kind](few, context, Style(self.width)))
