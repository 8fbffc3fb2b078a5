"""Metrics as OpenMetrics 1.0 writes them, such that Prometheus' older text format reads them, too.

So there is no type but gauge: the textfile collector of node_exporter doesn't know `info`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Union

from ..errors import Problem, UsageError, escape
from .context import Context
from .model import Report
from .schema import Column, Kind, Schema, Table, Value

WITH_METRICS = "heapx, heapx arenas and heapx ledger have."
TOLD = ("exe", "libc", "build_id", "release", "architecture", "walked")  # of the target

LabelSet = tuple[str, ...]  # each as it is written
Number = Union[int, float]


def no_metrics(what: str) -> UsageError:
    """Return the error that something has no metrics."""
    return UsageError(f"{what} has no metrics", WITH_METRICS)


def metric_names(table: Schema | Table) -> dict[str, str]:
    """Return the names of a table's metrics by their columns': `heapx_arena_in_use_bytes`."""
    metrics = table.metrics
    if metrics is None:
        return {}
    measured = [column for column in table.columns if column.name in metrics.help]
    return {each.name: "_".join(_words(metrics.prefix, each)) for each in measured}


def _words(prefix: str, column: Column) -> Iterator[str]:
    yield from (prefix, column.name)
    if _unit(column) not in ("", column.name):
        yield _unit(column)


def _unit(column: Column) -> str:
    return "bytes" if column.kind is Kind.BYTES else ""


def exposition(report: Report, context: Context) -> Iterator[str]:
    """Yield the metrics of a report, a family at once; UsageError where it has none."""
    measured = [(table, table.metrics) for table in report.tables if table.metrics]
    if not measured:
        raise no_metrics(f"{context.command}: the table {report.tables[0].name}")
    yield from _of_look(context, report.problems)
    for table, metrics in measured:
        rows = _row_labels(table, metrics.labels, _whose(context))
        units = {column.name: _unit(column) for column in table.columns}
        for column, name in metric_names(table).items():
            samples = _samples(rows, table.values(column))
            yield from _family(name, units[column], metrics.help[column], samples)
    yield "# EOF\n"


def _whose(context: Context) -> LabelSet:
    """Return what every sample has, since files of several processes are read as one."""
    exe = context.target.get("exe")
    program = exe.rpartition("/")[2] if isinstance(exe, str) else None
    return _labels({"pid": context.target.get("pid"), "program": program})


def _of_look(context: Context, problems: Sequence[Problem]) -> Iterator[str]:
    """Yield what is told of the look itself; the command tells those of one process apart."""
    about = (*_whose(context), *_labels({"command": context.command}))
    told = {name: context.target.get(name) for name in TOLD}
    info = (*about, *_labels({**told, "heapx": context.version}))
    yield from _family("heapx_info", "", "What was looked at.", {info: 1})
    yield from _family(
        "heapx_problems", "", "What is wrong in the heap.", _problems(about, problems)
    )
    name = "heapx_stood_still_seconds"
    text = "How long the process stood still to be looked at."
    seconds = None if context.stood_still is None else round(context.stood_still, 6)
    yield from _family(name, "seconds", text, {about: seconds})


def _problems(about: LabelSet, problems: Sequence[Problem]) -> dict[LabelSet, Number | None]:
    """Return how many problems there are of each kind."""
    damage = sum(each.damage for each in problems)
    moving = sum(each.in_motion for each in problems)
    kinds = {"damage": damage, "in motion": moving, "other": len(problems) - damage - moving}
    return {(*about, *_labels({"kind": kind})): number for kind, number in kinds.items()}


def _row_labels(table: Table, labels: Mapping[str, str], first: LabelSet) -> list[LabelSet]:
    """Return the labels of each row."""
    cells = map(table.named, table.rows)
    own = ({label: each[column] for label, column in labels.items()} for each in cells)
    return [(*first, *_labels(each)) for each in own]


def _samples(rows: Iterable[LabelSet], values: Iterable[Value]) -> dict[LabelSet, Number | None]:
    """Return values by the labels of their rows; rows that these don't tell apart are added up."""
    samples: dict[LabelSet, Number | None] = {}
    for labels, value in zip(rows, values):
        so_far = samples.get(labels, 0)
        if so_far is None or not isinstance(value, int):
            samples[labels] = None
        else:
            samples[labels] = so_far + value
    return samples


def _labels(values: Mapping[str, Value]) -> LabelSet:
    """Return labels as they are written; what is unknown has none."""
    known = ((name, value) for name, value in values.items() if value is not None)
    return tuple(f'{name}="{_escaped(value)}"' for name, value in known)


def _escaped(value: Value) -> str:
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _family(
    name: str, unit: str, text: str, samples: Mapping[LabelSet, Number | None]
) -> Iterator[str]:
    """Yield a metric with its samples; nothing where no value is known."""
    known = ((",".join(labels), number) for labels, number in samples.items() if number is not None)
    lines = "".join(f"{name}{{{labels}}} {number}\n" for labels, number in known)
    if lines:
        of_unit = f"# UNIT {name} {unit}\n" if unit else ""
        yield f"# TYPE {name} gauge\n{of_unit}# HELP {name} {text}\n{lines}"
