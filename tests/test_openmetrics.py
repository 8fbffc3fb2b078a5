"""Metrics, read by Prometheus' own parsers of both formats that it has."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from heapbuilder import usual
from live import scenes
from prometheus_client import parser
from prometheus_client.openmetrics import parser as strict
from recorded import SOUND, load
from sessions import Taken, said

from gdb_heapx.cli.execute import Terminal
from gdb_heapx.commands import load_commands
from gdb_heapx.errors import TIME_IS_UP, Problem, UsageError
from gdb_heapx.report.context import Context
from gdb_heapx.report.metrics import Metrics
from gdb_heapx.report.model import Report
from gdb_heapx.report.openmetrics import WITH_METRICS, exposition
from gdb_heapx.report.schema import Column, Kind, Schema
from gdb_heapx.snapshots.take import take

COMMANDS = load_commands()
MEASURED = sorted(c.word for c in COMMANDS.values() if c.has_metrics)
SCHEMAS = {t.name: t for c in COMMANDS.values() for t in c.tables if t.metrics}
DAMAGED = "2.36-amd64-damaged-tcache"
FEW = ("2.36-amd64", "2.36-amd64-two-libcs", "2.43-amd64", DAMAGED)
RESERVED = ("_total", "_created", "_count", "_sum", "_bucket", "_gcount", "_gsum")

of_images = pytest.mark.parametrize("name", scenes(sorted({*FEW, *SOUND[::8]}), FEW))
of_commands = pytest.mark.parametrize("word", MEASURED)


def exposed(image, word):
    return image.text(f"{word} --format openmetrics".strip())


def samples(text):
    """Return the values by name and labels, as the strict parser reads them; none comes twice."""
    read = [s for family in strict.text_string_to_metric_families(text) for s in family.samples]
    found = [(s.name, frozenset(s.labels.items())) for s in read]
    assert [key for key, number in Counter(found).items() if number > 1] == []
    return dict(zip(found, (s.value for s in read)))


def asked_for(report):
    """Return what JSON says of each measured column, by the names and labels that are declared."""
    pid, program = report["target"]["pid"], report["target"]["exe"].rpartition("/")[2]
    for table in report["tables"]:
        if table["name"] not in SCHEMAS:
            continue
        metrics = SCHEMAS[table["name"]].metrics
        for row in table["rows"]:
            own = {label: row[column] for label, column in metrics.labels.items()}
            labels = {"pid": pid, "program": program, **own}
            key = frozenset((n, str(v)) for n, v in labels.items() if v is not None)
            kinds = {column["name"]: column["kind"] for column in table["columns"]}
            for name in metrics.help:
                unit = "_bytes" if kinds[name] == "bytes" and name != "bytes" else ""
                yield (f"{metrics.prefix}_{name}{unit}", key), row[name]


@of_commands
@of_images
def test_metrics_are_the_values_of_json_and_what_is_unknown_has_no_sample(word, name):
    image = load(name)
    found = samples(exposed(image, word))
    wanted = dict(asked_for(image.report(word)))
    assert wanted
    of_tables = {key: value for key, value in found.items() if key[0] not in OF_EVERY_LOOK}
    assert of_tables == {key: value for key, value in wanted.items() if value is not None}


OF_EVERY_LOOK = ("heapx_info", "heapx_problems", "heapx_stood_still_seconds")


@of_commands
@of_images
def test_the_older_format_reads_the_same(word, name):
    text = exposed(load(name), word)
    read = [s for family in parser.text_string_to_metric_families(text) for s in family.samples]
    assert {(s.name, frozenset(s.labels.items())): s.value for s in read} == samples(text)
    assert set(re.findall(r"^# TYPE \S+ (.*)$", text, re.M)) == {"gauge"}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", SOUND[::8])
def test_the_parts_add_up_to_the_kernel_s_rss(name):
    image = load(name)
    rss = 1024 * sum(map(int, re.findall(r"^Rss: +(\d+) kB$", image.facts["smaps"], re.M)))
    found = samples(exposed(image, ""))
    assert sum(v for (n, _), v in found.items() if n == "heapx_resident_bytes") == rss


def test_what_an_arena_has_is_what_malloc_info_says():
    image = load("2.36-amd64")
    found = samples(exposed(image, "arenas"))
    for index, arena in enumerate(image.oracle.arenas):
        own = {key[0]: v for key, v in found.items() if ("arena", str(index)) in key[1]}
        assert own["heapx_arena_system_bytes"] == arena.system
        assert own["heapx_arena_max_system_bytes"] == arena.max_system


@of_commands
def test_names_end_with_their_unit_and_with_nothing_that_is_reserved(word):
    text = exposed(load("2.36-amd64"), word)
    units = dict(re.findall(r"^# UNIT (\S+) (\S+)$", text, re.M))
    for name in re.findall(r"^# TYPE (\S+) gauge$", text, re.M):
        assert name.startswith("heapx_")
        assert not name.endswith(RESERVED)
        assert (name in units) == name.endswith(("_bytes", "_seconds"))
        assert name.endswith(units.get(name, ""))


def test_only_what_adds_up_is_measured():
    columns = [
        (column, column.name)
        for schema in SCHEMAS.values()
        for column in schema.columns
        if column.name in schema.metrics.help
    ]
    assert columns
    assert [name for column, name in columns if column.kind not in (Kind.BYTES, Kind.COUNT)] == []


def test_two_commands_of_one_process_have_no_sample_in_common():
    """The textfile collector reads the files of a directory as one."""
    image = load("2.36-amd64")
    found = [key for word in MEASURED for key in samples(exposed(image, word))]
    assert len(found) == len(set(found))


def test_info_tells_what_was_looked_at():
    image = load("2.36-amd64")
    ((_, labels),) = [key for key in samples(exposed(image, "")) if key[0] == "heapx_info"]
    told = dict(labels)
    assert (told["pid"], told["release"]) == (str(image.pid), "2.36")
    assert told["exe"] == str(image.exe)
    assert told["program"] == image.exe.name


# Values and labels that a target may have.

EVIL = 'a "quoted" \\ path\nwith\x1b[31m\udcff lines \u202e'
THINGS = Schema(
    "things",
    (Column("name", Kind.TEXT), Column("thread", Kind.INDEX), Column("size", Kind.BYTES)),
    metrics=Metrics("heapx_thing", {"name": "name"}, {"size": "How large."}),
)


class Thing:
    def __init__(self, name, size, thread=0):
        self.name, self.size, self.thread = name, size, thread


def things(*rows, problems=(), stood_still=None):
    context = Context("heapx things", "1.0", {"pid": 1, "exe": "/x/y"}, stood_still)
    return "".join(exposition(Report((THINGS.of(rows),), problems), context))


def sizes(text):
    """Return the sizes of things by their names."""
    found = samples(text).items()
    return {dict(k[1]).get("name"): v for k, v in found if k[0] == "heapx_thing_size_bytes"}


def test_whatever_a_name_has_is_a_label():
    (name,) = sizes(things(Thing(EVIL, 7)))
    assert name == 'a "quoted" \\ path\\nwith\\x1b[31m\\xff lines \\u202e'


def test_rows_that_labels_dont_tell_apart_are_added_up():
    assert sizes(things(Thing("a", 1), Thing("b", 2), Thing("a", 4))) == {"a": 5, "b": 2}
    assert sizes(things(Thing("a", 1), Thing("b", 2), Thing("a", None))) == {"b": 2}
    assert sizes(things(Thing("a", None), Thing("a", 1))) == {}


def test_a_name_that_is_unknown_has_no_label():
    assert sizes(things(Thing(None, 3))) == {None: 3}


def test_a_table_without_rows_has_no_family():
    assert "heapx_thing" not in things()
    assert things().endswith("# EOF\n")


def test_large_sizes_are_exact():
    assert f" {(1 << 62) + 1}\n" in things(Thing("a", (1 << 62) + 1))


def problems(text):
    """Return how many problems there are by their kinds."""
    found = samples(text).items()
    return {dict(k[1])["kind"]: v for k, v in found if k[0] == "heapx_problems"}


def test_problems_are_counted_by_their_kinds():
    damage = Problem("bad_size", "x")
    other = Problem(TIME_IS_UP, "x")
    text = things(problems=(damage, replace(damage, in_motion=True), other, damage))
    assert problems(text) == {"damage": 2, "in motion": 1, "other": 1}
    assert problems(things()) == {"damage": 0, "in motion": 0, "other": 0}
    assert problems(exposed(load(DAMAGED), ""))["damage"] > 0


def test_the_time_that_the_process_stood_still_is_in_seconds_where_it_is_known():
    text = things(stood_still=0.25)
    assert [v for k, v in samples(text).items() if k[0] == "heapx_stood_still_seconds"] == [0.25]
    assert "stood_still" not in things()


# Who has none.


LINES = {  # that are right but for the format
    **{"chunk": "chunk 0", "refs": "refs 0", "growth": "growth --seconds 1"},
    **{"save": "save new.json", "compare": "compare old.json"},
}


@pytest.mark.parametrize("word", sorted({c.word for c in COMMANDS.values()} - {*MEASURED}))
def test_a_command_without_metrics_refuses_before_the_target_is_looked_at(word):
    session = Taken(take(usual().target()))
    line = LINES.get(word, word)
    with pytest.raises(UsageError, match=f"heapx {word} has no metrics"):
        said(f"{line} --format openmetrics", session, Terminal(80, False))
    assert session.asked == []


def test_the_error_names_all_that_have_metrics():
    names = sorted(c.name for c in COMMANDS.values() if c.has_metrics)
    assert re.findall(r"heapx(?: [a-z]+(?<!and)(?<!have))?", WITH_METRICS) == names


def test_a_table_without_metrics_is_refused_and_leaves_no_file(tmp_path):
    output = tmp_path / "x.prom"
    with pytest.raises(UsageError, match="heapx ledger: the table outside has no metrics"):
        load("2.36-amd64").text(f"ledger --outside --format openmetrics --output {output}")
    assert list(tmp_path.iterdir()) == []


def test_a_metric_of_a_column_that_isnt_there_is_an_error():
    wrong = Metrics("heapx_thing", {"name": "nome"}, {})
    with pytest.raises(ValueError, match="no column nome"):
        replace(THINGS, metrics=wrong)
