"""scripts/bench: its arguments, what it runs, its table, and the heaps' clock."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from live import ROOT, run

sys.path.insert(0, str(ROOT / "scripts"))

from benchwork import heaps, looks, measuring, serving, table, trial
from benchwork.heaps import HEAPS, Wanted, refusal, wanted_heaps
from benchwork.measuring import Cost, FailedError, median
from benchwork.serving import Facts
from benchwork.trial import Row

BENCH = ROOT / "scripts" / "bench"
SOURCE = (ROOT / "scripts" / "bench_heaps.c").read_text()
PAGE = ROOT / "docs" / "performance.md"
VARIABLES = [peer.variable for peer in looks.PEERS]
LIVE = looks.Target(1234, "/tmp/server")
CORE = looks.Target(1234, "/tmp/server", PAGE)
COST = Cost(2.5, 1.5, 80 << 10, 2.25)
ROW = Row(
    Wanted(HEAPS["D"], 1000),
    Facts(1001, 3 << 20, ((4096, 3 << 20),)),
    Cost(0.5),
    "heapx arenas",
    COST,
    Cost(0.5, 0.25, 30 << 10, 0.125),
)


def state_of(pid):
    """Return the letter of a process's state, None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


@pytest.fixture(autouse=True)
def no_peers(monkeypatch, tmp_path):
    """Let only what a test puts into bin/ be on PATH, and no variable name a tool."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    for name in ("gdb", "gcc", "as", "ld", "sleep", "sh"):
        if path := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["X"], "there is no heap X: choose from M, W, D,"),
        (["D=0"], "D=0: N is a positive number, such as D=32000000"),
        (["D=many"], "D=many: N is a positive number"),
        (["--size", "0"], "invalid positive number value: '0'"),
        (["--scale", "-1"], "invalid positive number value: '-1'"),
        (["--size", "5", "--scale", "0.1"], "not allowed with"),
        (["--runs", "few"], "invalid positive number value: 'few'"),
        (["--run", "1"], "unrecognized arguments: --run"),
    ],
)
def test_a_wrong_argument_is_told_in_two_lines_and_nothing_is_run(arguments, said):
    done = run((sys.executable, BENCH, *arguments))
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.startswith("bench: ")
    assert done.err.splitlines()[1:] == ["See: scripts/bench --help"]


def test_help_names_every_heap_with_its_n():
    text = run((sys.executable, BENCH, "--help")).out
    for heap in HEAPS.values():
        assert f"  {heap.name}={heap.number} " in text


def test_the_program_and_the_script_name_the_same_heaps_of_the_same_sizes():
    made = dict(re.findall(r'^    \{"(\w+)", \w+, (\d+),', SOURCE, re.MULTILINE))
    assert made == {heap.name: str(heap.number) for heap in HEAPS.values()}


def test_a_heap_has_its_own_n_or_else_the_size_or_else_a_share_of_the_usual():
    numbers = [each.number for each in wanted_heaps(["T=3", "T"], 7, None)]
    assert numbers == [3, 7]
    numbers = [each.number for each in wanted_heaps(["T=3", "T", "big"], None, 0.01)]
    assert numbers == [3, HEAPS["T"].number // 100, 1]
    assert [each.number for each in wanted_heaps(["T"], None, None)] == [HEAPS["T"].number]


@pytest.mark.parametrize("name", HEAPS)
def test_a_heap_that_has_no_room_is_refused_with_an_n_that_has(name):
    wanted = Wanted(HEAPS[name], HEAPS[name].number)
    room = heaps.GDB + (wanted.room() - heaps.GDB) * 3 // 4
    said = refusal(wanted, room)
    assert refusal(wanted, wanted.room()) == ""
    advised = int(re.search(rf"ask for {name}=(\d+)$", said)[1])
    assert refusal(Wanted(HEAPS[name], advised), room) == ""
    assert refusal(Wanted(HEAPS[name], advised + 1), room)
    assert "end something else" in refusal(wanted, heaps.GDB)


@pytest.mark.parametrize(
    ("arguments", "heap"),
    [
        (["T=1", "M=1000000000000"], "M=1000000000000"),
        (["T=1", "M", "--size", "1000000000000"], "M=1000000000000"),
        (["--scale", "1000000"], "M=1100000000000"),
        (["T=1", "--big", "1000000"], "big=1000000"),
    ],
)
def test_what_needs_more_memory_than_there_is_is_refused_before_any_is_made(arguments, heap):
    done = run((sys.executable, BENCH, *arguments))
    assert done.status == 1
    assert re.search(rf"^bench: {heap} needs .* GiB are available: ask for \w+=\d+$", done.err)
    assert done.out.splitlines() == [table.head()]


def test_each_command_of_heapx_is_looked_at_with_its_words_and_beside_a_bare_gdb():
    found = looks.looks(LIVE, ("overview", "bins --no-walk"), off=False)
    assert [look.name for look in found] == ["heapx", "heapx bins --no-walk"]
    assert [look.words[1:] for look in found] == [
        ("-p", "1234"),
        ("-p", "1234", "bins", "--no-walk"),
    ]
    assert all(look.bare == looks.bare(LIVE) for look in found)
    assert "attach 1234" in looks.bare(LIVE)
    assert f"core-file {PAGE}" in looks.bare(CORE)


def test_source_is_looked_at_beside_a_gdb_that_has_begun_its_python():
    """Each starts Python, which a gdb that only attaches doesn't."""
    (look,) = looks.looks(looks.Target(1, "/bin/true"), ["source"], off=True)
    assert (look.name, look.words[-1]) == ("source gdb_heapx.py", f"source {ROOT / 'gdb_heapx.py'}")
    assert look.bare == (*look.words[:-1], "python pass")
    assert measuring.run(look.words).seconds > 0


def test_off_looks_at_each_command_with_the_compiled_walk_and_without():
    found = looks.looks(LIVE, ("arenas",), off=True)
    assert [look.name for look in found] == ["heapx arenas", "heapx arenas, compiled off"]
    assert "compiled=off" not in found[0].words
    assert found[1].words[1:] == ("-p", "1234", "--set", "compiled=off", "arenas")


def test_off_is_left_out_where_no_compiled_walk_is_named(capsys):
    assert trial.can_turn_off(replace(ROW.facts, walk="compiled (x86_64)"))
    assert capsys.readouterr().err == ""
    assert not trial.can_turn_off(replace(ROW.facts, walk="Python"))
    assert "nothing to turn off" in capsys.readouterr().err


def test_tools_that_are_not_here_are_named_with_their_variables():
    assert looks.looks_of_peers(LIVE) == looks.looks_of_peers(CORE) == []
    for peer in looks.PEERS:
        assert f"{peer.name} ({peer.variable})" in looks.absent()


def stand_in(path, text=""):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_a_tool_is_found_on_path_or_where_its_variable_says(monkeypatch, tmp_path):
    stand_in(tmp_path / "bin" / "core_analyzer")
    script = tmp_path / "gef-1.py"
    script.write_text("")
    monkeypatch.setenv("HEAPX_GEF", str(script))
    analyzer, gef = looks.looks_of_peers(LIVE)
    assert (analyzer.name, gef.name) == ("core_analyzer", "GEF")
    assert analyzer.words[0] == analyzer.bare[0] == str(tmp_path / "bin" / "core_analyzer")
    assert analyzer.words[-2:] == ("-ex", "heap")
    assert gef.words[0] == gef.bare[0] == serving.GDB
    assert f"source {script}" in gef.words
    assert f"source {script}" not in gef.bare
    assert "GEF" not in looks.absent()
    assert "core_analyzer" not in looks.absent()


def test_chap_is_asked_through_its_input_and_of_cores_only(monkeypatch, tmp_path):
    monkeypatch.setenv("HEAPX_CHAP", stand_in(tmp_path / "chap-1"))
    assert looks.looks_of_peers(LIVE) == []
    (chap,) = looks.looks_of_peers(CORE)
    assert chap.words == (str(tmp_path / "chap-1"), str(PAGE))
    assert "count used\n" in chap.text


@pytest.fixture
def program(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    return serving.build(tmp_path)


GOOD, BAD = ("sh", "-c", "exit 0"), ("sh", "-c", "echo no luck >&2; exit 3")


def figures(*taken):
    """Return which looks have figures after two rounds."""
    _, costs = trial.rounds(taken, 2)
    return {name: cost is not None for name, cost, _ in trial.told(taken, costs)}


@pytest.mark.parametrize(("words", "bare"), [(BAD, GOOD), (GOOD, (*BAD, "bare")), (BAD, ())])
def test_what_another_tool_can_not_do_is_told_once_and_the_rest_is_measured(words, bare, capsys):
    peer = looks.Look("chap", words, bare, ours=False)
    assert figures(looks.Look("heapx", GOOD, (*GOOD, "bare")), peer) == {
        "heapx": True,
        "chap": False,
    }
    said = capsys.readouterr().err
    assert said.startswith("bench: ")
    assert len(re.findall("chap: sh ended with 3: no luck", said)) == 1


def test_what_heapx_can_not_do_is_an_error():
    with pytest.raises(FailedError, match="no luck"):
        figures(looks.Look("heapx", BAD, GOOD))


def test_a_heap_that_has_ended_is_an_error(program):
    with serving.serving(program, Wanted(HEAPS["M"], 1000)) as server:
        server.process.kill()
        with pytest.raises(FailedError, match="the heap has ended"):
            server.stood_still()


def test_a_run_has_the_cpu_and_the_memory_of_its_children(tmp_path):
    size = 64 << 20
    line = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray({size})'])"
    cost = measuring.run((sys.executable, "-c", line))
    assert cost.peak >= size >> 10
    assert cost.cpu > 0
    assert cost.seconds > 0


def test_a_command_that_fails_says_why():
    with pytest.raises(FailedError, match="ended with 3: no luck"):
        measuring.run(("sh", "-c", "echo no luck >&2; exit 3"))
    with pytest.raises(FailedError, match='Undefined command: "heap"'):
        measuring.run(("sh", "-c", "echo 'Undefined command: \"heap\".' >&2"))


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path):
    noted = tmp_path / "pid"
    with pytest.raises(FailedError, match="not within"):
        measuring.run(("sh", "-c", f"sleep 1000 & echo $! >{noted}; wait"), limit=1)
    child = int(noted.read_text())
    while state_of(child) not in (None, "Z"):
        time.sleep(0.01)


def test_a_read_takes_cpu_and_is_an_error_where_a_span_can_not_be_read():
    size = 64 << 20
    line = "import ctypes; b = ctypes.create_string_buffer(%d); print(ctypes.addressof(b), flush=1)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{line % size}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        start = int(process.stdout.readline())
        assert measuring.read_once(process.pid, [(start, size), (start, 5)]).cpu > 0
        with pytest.raises(FailedError, match="Input/output error"):
            measuring.read_once(process.pid, [(start, size), (4096, 4096)])
        process.communicate(b"\n")


def test_medians_are_taken_of_each_figure_by_itself():
    costs = [Cost(1, 30, 200, 0.3), Cost(2, 10, 300, 0.1), Cost(3, 20, 100, 0.2)]
    assert median(costs) == Cost(2, 20, 200, 0.2)


def test_a_row_is_beyond_bare_gdb_and_compared_with_one_read():
    cells = dict(zip(table.HEADS, table.cells(ROW)))
    assert cells == {
        **{"heap": "D=1000", "chunks": "1,001", "MiB": "3", "read": "0.50"},
        **{"command": "heapx arenas", "seconds": "2.00", "CPU": "1.25", "x read": "4.0"},
        **{"stands still": "2.25", "bare": "0.12", "peak MiB": "50"},
    }


def test_nothing_stands_still_while_a_core_is_read():
    cells = dict(zip(table.HEADS, table.cells(replace(ROW, core=True))))
    assert cells["command"] == "heapx arenas, core"
    assert cells["stands still"] == cells["bare"] == ""


def test_a_tool_that_failed_has_a_row_without_figures():
    cells = dict(zip(table.HEADS, table.cells(replace(ROW, cost=None))))
    assert (cells["seconds"], cells["CPU"], cells["peak MiB"]) == ("failed", "", "")


def test_what_takes_no_time_to_read_is_compared_with_nothing():
    cells = dict(zip(table.HEADS, table.cells(replace(ROW, read=Cost(0.001)))))
    assert cells["x read"] == ""


def test_the_page_s_table_has_a_cell_for_each_head():
    head, rule, row, blank, measured = table.markdown([ROW], 0.0).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|") == len(table.HEADS) + 1
    assert blank == ""
    assert re.match(r"Measured on \d+ CPUs .*, gdb \d.*\. Walk: Python\.$", measured)


def test_a_table_says_that_other_programs_ran_meanwhile():
    assert "Other programs" not in table.markdown([ROW], 0.05)
    assert "Other programs used 1.3 CPUs meanwhile" in table.markdown([ROW], 1.26)


def test_a_child_s_cpu_is_ours_and_not_that_of_others(monkeypatch):
    others = measuring.Others()
    seconds, busy, ours = others._before
    measuring.run((sys.executable, "-c", "sum(range(10**7))"))
    assert measuring.Others._now()[2] > ours
    monkeypatch.setattr(measuring.Others, "_now", lambda _: (seconds + 2, busy + 5, ours + 2))
    assert others.used() == pytest.approx(1.5)
    monkeypatch.setattr(measuring.Others, "_now", lambda _: (seconds + 2, busy + 1, ours + 2))
    assert others.used() == 0


def test_each_table_of_the_page_is_measured_again_with_its_own_arguments(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "one\n<!-- begin: scripts/bench M T --runs 5 -->\nold\n<!-- end: scripts/bench -->\n"
        "two\n<!-- begin: scripts/bench --big 10 -->\n<!-- end: scripts/bench -->\nthree\n"
    )
    asked = []
    table.update(page, lambda words: asked.append(words) or f"new {len(asked)}")
    assert asked == [["M", "T", "--runs", "5"], ["--big", "10"]]
    assert page.read_text() == (
        "one\n<!-- begin: scripts/bench M T --runs 5 -->\nnew 1\n<!-- end: scripts/bench -->\n"
        "two\n<!-- begin: scripts/bench --big 10 -->\nnew 2\n<!-- end: scripts/bench -->\nthree\n"
    )
    page.write_text("<!-- begin: scripts/bench M -->\n")
    with pytest.raises(ValueError, match=r"page\.md lacks <!-- end"):
        table.update(page, lambda words: "")


@pytest.mark.slow
def test_the_page_s_markers_are_command_lines_that_bench_takes():
    markers = table.BEGIN.findall(PAGE.read_text())
    assert markers
    for marker in markers:  # the last heap that is named has no room, so nothing is measured
        done = run((sys.executable, BENCH, "X", *shlex.split(marker)))
        assert "there is no heap X" in done.err, done.err


def test_the_heaps_program_compiles_without_a_warning(program, capfd):
    assert program.exists()
    assert capfd.readouterr().err == ""


def test_a_thread_of_the_heap_tells_how_long_it_stood_still(program):
    with serving.serving(program, Wanted(HEAPS["M"], 1000)) as server:
        server.stood_still()
        os.kill(server.pid, signal.SIGSTOP)
        while state_of(server.pid) != "T":
            time.sleep(0.01)
        began = time.monotonic()
        time.sleep(0.3)
        least = time.monotonic() - began
        os.kill(server.pid, signal.SIGCONT)
        assert server.stood_still() >= least


def test_a_heap_ends_with_what_started_it(program):
    with serving.serving(program, Wanted(HEAPS["T"], 3)) as server:
        pid = server.pid
        assert len(os.listdir(f"/proc/{pid}/task")) == 4
    assert not os.path.exists(f"/proc/{pid}")


def test_a_heap_that_cannot_be_made_is_an_error(program, capfd):
    more = 1 << 57  # than any address space has
    unmade = serving.serving(program, Wanted(HEAPS["M"], more))
    with pytest.raises(FailedError, match=f"M={more} could not be made"), unmade:
        pass
    assert "out of memory" in capfd.readouterr().err
