"""What of a table are metrics, as it is declared."""

from __future__ import annotations

from collections.abc import Mapping

from ..records import dataclass

OPENMETRICS = "openmetrics"


@dataclass(frozen=True)
class Metrics:
    """What of a table are metrics: gauges, a sample for each row.

    `prefix`, the column's name and its unit are the metric's name. `labels` are the columns that
    tell the rows apart, by the names of the labels, and `help` says what each measured column is.
    """

    prefix: str
    labels: Mapping[str, str]
    help: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.labels.values(), *self.help)
