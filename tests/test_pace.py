"""Reading that is stopped, by Ctrl-C or the clock: what was read is told, and nothing else."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from heapbuilder import AMD64, I386, changed, usual
from properties import SHARE

from gdb_heapx.cli.execute import Terminal, execute
from gdb_heapx.commands import load_commands
from gdb_heapx.errors import CutShortError, StoppedError
from gdb_heapx.held.held import hold
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.report.model import size_text
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of, take, told_apart
from gdb_heapx.target.pace import LOOK, PATIENCE, Pace, PacedMemory, cut_short

load_commands()
MIB = 1 << 20


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Words:
    """A memory that has 8 bytes everywhere."""

    def read(self, address, size):
        return memoryview(bytes(size))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def test_before_it_is_started_nothing_stops_it(pace, clock):
    clock.now += 1e6
    pace.stop()
    assert pace.goes_on()
    assert pace.problem() is None


def test_the_clock_stops_it_and_only_then(pace, clock):
    pace.start(2)
    memory = PacedMemory(Words(), pace)
    clock.now += 1.9
    assert len(memory.read(0, 8)) == 8
    clock.now += 0.1
    with pytest.raises(StoppedError):
        memory.read(0, 8)
    assert (pace.stopped.code, round(pace.stopped.after, 1)) == ("time_is_up", 2.0)


def test_it_looks_for_a_ctrl_c_every_now_and_then(pace, clock):
    asked = []
    pace.start(None, lambda: bool(asked.append(1)))
    for _ in range(100):
        pace.goes_on()
    assert len(asked) == 1
    clock.now += LOOK
    pace.goes_on()
    assert len(asked) == 2


def test_stopped_after_all_was_read_nothing_is_missing(pace):
    pace.start()
    pace.stop()
    assert pace.problem() is None


def test_what_stopped_it_first_counts(pace, clock):
    pace.start(1)
    clock.now += 1
    assert not pace.goes_on()
    pace.stop()
    assert pace.problem().code == "time_is_up"


def test_the_problem_names_the_arenas_that_are_missing(pace):
    pace.start()
    pace.begin("reading heaps", 100 * MIB)
    pace.walked(30 * MIB)
    pace.stop()
    assert not pace.goes_on()
    said = pace.problem([7, 3, 4, 5]).statement
    assert said.startswith("stopped by Ctrl-C after 0.0 s, while reading heaps (30 of 100 MiB): ")
    assert said.endswith("figures of arenas 3 to 5, 7 are missing")
    assert pace.problem([2]).statement.endswith("figures of arena 2 are missing")


def test_short_work_shows_nothing_and_long_work_goes_in_the_end(pace, clock):
    shown = []
    pace.start(None, show=shown.append)
    pace.begin("reading heaps", 100 * MIB)
    clock.now += PATIENCE - 0.1
    pace.walked(10 * MIB)
    assert pace.goes_on()
    assert shown == []
    clock.now += 0.1
    pace.walked(40 * MIB)
    pace.goes_on()
    assert shown == ["reading heaps, 50 %: 50 of 100 MiB, 100 MiB/s, 0 s left"]
    pace.goes_on()
    assert len(shown) == 1  # not for each read
    pace.end()
    assert shown[1:] == [""]
    pace.end()
    assert shown[1:] == [""]


def test_a_ctrl_c_while_gdb_reads_stops_it_and_one_before_it_is_started_does_not(pace):
    class Interrupted:
        def read(self, address, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PacedMemory(Interrupted(), pace).read(0, 8)
    pace.start()
    with pytest.raises(StoppedError):
        PacedMemory(Interrupted(), pace).read(0, 8)
    assert pace.problem().code == "interrupted"


# A heap, stopped at each read by turns.


class Stopping:
    """A memory at whose `last` read the user presses Ctrl-C; it counts the reads."""

    def __init__(self, memory, pace, last):
        self.memory, self.pace, self.last, self.reads = memory, pace, last, 0

    def read(self, address, size):
        self.reads += 1
        if self.reads == self.last:
            self.pace.stop()
        self.pace.check(address)
        return self.memory.read(address, size)


class Session:
    """A target that is opened when it is asked for."""

    stood_still = saved = None

    def __init__(self, target):
        self._target, self._opened = target, None

    @property
    def _read(self):
        self._opened = self._opened or open_target(self._target)
        return self._opened

    def take(self, scope):
        return snapshot_of(self._read, scope)

    def told_apart(self, snapshot):
        return told_apart(snapshot, self._read)

    def catalogue(self, scope):
        return Catalogue(self._read)

    def hold(self, scope, shared, passes, ways=()):
        return hold(self._read, shared, passes=passes, ways=ways)

    @contextmanager
    def working(self):
        with cut_short(self._target.space.pace):
            yield

    @contextmanager
    def opened(self, seconds=None, held=False):
        with cut_short(self._target.space.pace):
            yield self


def answered(line, target, last=0):
    """Return the report and the status of a command that is stopped, and the number of reads; no
    report where nothing was read.
    """
    pace = Pace()
    pace.start()
    memory, pieces = Stopping(target.space.memory, pace, last), []
    session = Session(changed(target, memory=memory, pace=pace))
    words = [*line.split(), *(() if "--format" in line else ("--format", "json"))]
    try:
        answer = execute(words, session.opened, Terminal(80, False), pieces.append)
    except CutShortError:
        return None, None, memory.reads
    return json.loads("".join(pieces) or "null"), answer.status, memory.reads


# What is shown of a part as of the whole, or is null: one row of the whole fits each of the part.
COMMANDS = (
    *("arenas", "arenas --no-walk", "heaps", "bins", "tcache", "threads", "top", "trim"),
    *("mmapped", "pins", "pins --group looks", "params", "chunks", "chunks --count"),
    "bins --chunks",
)
STEPS = 100 // SHARE  # moments at which each command is stopped


def fits(row, rows):
    """Tell whether one of the rows has the same values where this one has any; sentences may
    differ.
    """
    names = [name for name in row if row[name] is not None and name != "effect"]
    return any(all(row[name] == each[name] for name in names) for each in rows)


@pytest.mark.parametrize("machine", [AMD64, pytest.param(I386, marks=pytest.mark.slow)])
@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.few(1)
def test_wherever_it_is_stopped_a_figure_is_that_of_the_whole_or_null(line, machine):
    target = usual(machine).target()
    whole, status, reads = answered(line, target)
    assert (status, whole["problems"]) == (0, [])
    tables = {table["name"]: table for table in whole["tables"]}
    moments = {*range(1, 12), *range(12, reads, max(reads // STEPS, 1)), *range(reads - 8, reads)}
    partial = 0
    for last in sorted(moments):
        report, status, _ = answered(line, target, last)
        if report is None:
            continue
        codes = {problem["code"] for problem in report["problems"]}
        assert codes <= {"interrupted", "not_reached"}
        if not codes:
            assert report["tables"] == whole["tables"]
            continue
        partial += 1
        assert status == 130
        for table in report["tables"]:
            rows = tables[table["name"]]["rows"]
            assert [row for row in table["rows"] if not fits(row, rows)] == [], last
            assert not any(table.get("total", {}).values())
    assert partial


@pytest.mark.parametrize(
    "line", ["", "why", "ledger", "ledger --outside", "check", "about", "sizes"]
)
@pytest.mark.few(3)
def test_wherever_it_is_stopped_there_is_an_answer_and_it_says_so(line):
    target = usual().target()
    whole, _, reads = answered(line, target)
    for last in (*range(1, 12), *range(12, reads, max(reads // STEPS, 1))):
        report, status, _ = answered(line, target, last)
        if report is not None and report["tables"] != whole["tables"]:
            assert status == 130
            assert "interrupted" in {problem["code"] for problem in report["problems"]}
            assert not [p for p in report["problems"] if "damage" in p["statement"]]


@pytest.mark.parametrize("form", ["csv", "json", "text"])
def test_a_file_is_not_written_where_the_listing_of_chunks_was_stopped(form, tmp_path):
    target, file = usual().target(), tmp_path / "chunks"
    line = f"chunks --format {form} --output {file}"
    _, _, reads = answered("chunks", target)
    statuses = set()
    for last in (*range(1, reads, max(reads // STEPS, 1)), reads):
        _, status, _ = answered(line, target, last)
        statuses.add(status)
        assert file.exists() == (status is not None)
        file.unlink(missing_ok=True)
        assert not list(tmp_path.iterdir())
    assert None in statuses


def test_a_reading_that_was_stopped_knows_no_sums():
    target = usual().target()
    whole = take(target)
    whole_pace, pace = Pace(), Pace()
    counted = Stopping(target.space.memory, whole_pace, 0)
    open_target(changed(target, memory=counted, pace=whole_pace))
    pace.start()
    memory = Stopping(target.space.memory, pace, counted.reads + 2)
    taken = take(changed(target, memory=memory, pace=pace))
    assert None not in (whole.in_use, whole.free)
    assert taken.partial
    assert (taken.in_use, taken.free, taken.returnable) == (None, None, None)
    assert [a.index for a in taken.as_read.arenas()] == [
        a.index for a in taken.arenas() if a.in_use
    ]


@pytest.mark.parametrize("line", ["leaks", "holders", "types"])
@pytest.mark.few(1)
def test_stopped_before_what_is_in_use_was_looked_at_it_is_told_how_much_that_is(line):
    target = usual().target()
    _, _, reads = answered(line, target)
    in_use = f"{size_text(take(target).in_use)} is in use"
    told = set()
    for last in (*range(1, reads, max(reads // STEPS, 1)), reads):
        report, status, _ = answered(line, target, last)
        if report is None or not report["problems"]:
            continue
        assert status == 130
        assert [p["code"] for p in report["problems"]].count("interrupted") == 1
        assert [(t["name"], t["rows"]) for t in report["tables"]] == [(line, [])]
        (said,) = report["notes"]
        told.add(said.startswith("At least "))
        assert said.startswith("At least ") or said.startswith(in_use)
    assert told == {True, False}


def test_how_long_what_was_stopped_takes_is_told_by_its_rate():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.start(3.0)
    now[0] = 1.0
    pace.begin("copying chunks in use", 400)
    pace.walked(100)
    now[0] = 3.0
    assert not pace.goes_on()
    assert pace.rest() == ("copying chunks in use", 9.0)
