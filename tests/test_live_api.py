"""The Python API, the convenience functions and the examples, on processes."""

from __future__ import annotations

import re
import sys

import pytest
from live import HEAPX, ROOT, environment, gdb, look, run, session, table

pytestmark = pytest.mark.live

EXAMPLES = ROOT / "examples"
MIB = 1 << 20


@pytest.fixture(scope="module")
def arenas(start_once):
    return start_once("arenas", "5")


@pytest.fixture(scope="module")
def trim(start_once):
    return start_once("trim", "large_top")


def attached(inferior, *lines):
    result = session(*lines, target=("-p", inferior.pid))
    assert "Traceback" not in result.err
    return result


def printed(inferior, *expressions):
    """Return what gdb prints for these expressions, and what it says on stderr."""
    result = attached(inferior, *(f"print {expression}" for expression in expressions))
    return re.findall(r"^\$\d+ = (.*)$", result.out, re.M), result.err


# Convenience functions.


def test_they_tell_of_an_address_what_heapx_chunk_tells(arenas):
    row = table(look(arenas.pid, "chunk", "main_arena.next->top"))[0]
    names = ("chunk", "arena", "size", "state")
    inside = f"{int(row['address'], 16) + 20:#x}"
    values, _ = printed(arenas, *(f"$_heapx_{name}({inside})" for name in names))
    assert values == [
        str(int(row["address"], 16)),
        str(row["arena"]),
        str(row["size"]),
        '"top"',
    ]


def test_outside_of_malloc_they_say_so(arenas):
    names = ("chunk", "arena", "size", "state")
    values, err = printed(arenas, *(f"$_heapx_{name}($sp)" for name in names))
    assert values == ["0", "-1", "0", '"outside"']
    assert "heapx" not in err


def test_the_sums_are_those_of_the_overview(arenas):
    totals = look(arenas.pid, "arenas")["tables"]
    mine = totals[0]["total"]
    free = sum(mine[state] for state in ("tcache", "fast", "binned", "top"))
    values, _ = printed(arenas, "$_heapx_in_use()", "$_heapx_free()")
    assert values == [str(mine["in_use"] + totals[1]["rows"][0]["bytes"]), str(free)]


def test_they_can_be_used_in_conditions_without_touching_the_process(arenas):
    condition = (
        '$_streq($_heapx_state(main_arena.top), "top") && $_heapx_size(main_arena.top) > 100'
    )
    values, err = printed(arenas, condition, '$_streq($_heapx_state($sp), "top")')
    assert values == ["1", "0"]
    assert "heapx" not in err


ALL_STOP = ("maint set target-non-stop off",)


@pytest.mark.parametrize(("threads", "before"), [("0", ()), ("2", ALL_STOP)])
@pytest.mark.slow
def test_a_breakpoint_s_condition_may_ask_them(inferiors, threads, before):
    """The fourth chunk that requests keep is there when the third one begins."""
    lines = (
        "break handle_request if $_heapx_size(kept[3]) == 1008",
        f"run {threads}",
    )
    result = gdb(*before, *lines, "print number", "kill", target=(inferiors / "requests",))
    assert "$1 = 4\n" in result.out
    assert "Error in testing" not in result.err


def test_where_other_threads_run_on_a_condition_is_refused_with_what_to_do(inferiors):
    lines = ("break handle_request if $_heapx_in_use() > 1", "run 2", "kill")
    said = gdb(*lines, target=(inferiors / "requests",)).err
    assert "threads of the process are running" in said
    assert ALL_STOP[0] in said
    assert "Traceback" not in said


def test_wrong_arguments_are_told(arenas):
    _, err = printed(arenas, "$_heapx_size()", "$_heapx_free(1)")
    assert "$_heapx_size needs one argument, an address." in err
    assert "$_heapx_free takes no argument." in err


def test_without_a_process_they_say_so():
    result = session("print $_heapx_free()", "help function _heapx_free")
    assert "no process and no core to look at" in result.err
    assert "Return the bytes that are free inside malloc" in result.out


def test_apropos_finds_them_all():
    found = session("apropos heapx").out
    for name in ("arena", "chunk", "size", "state", "in_use", "free"):
        assert f"function _heapx_{name} -- " in found
    assert "heapx arenas -- List the arenas" in found


# import gdb_heapx


def test_a_snapshot_has_what_the_commands_show(arenas):
    figures = "s.in_use, s.free, s.returnable, len(s.arenas()), s.target.pid"
    lines = ("python import gdb_heapx; s = gdb_heapx.snapshot()", f"python print('>', {figures})")
    shown = re.search(r"^> (.*)$", attached(arenas, *lines).out, re.M)[1].split()
    trims = look(arenas.pid, "trim")["tables"][0]
    assert shown[2:] == [
        str(trims["total"]["returned"]),
        str(len(trims["rows"])),
        str(arenas.pid),
    ]


def test_single_chunks_and_findings_can_be_had(arenas):
    script = (
        "import gdb_heapx as h; s = h.snapshot()",
        "wanted = h.Wanted(arena=0, states=frozenset({'in use'}))",
        "chunks = list(h.chunks(wanted))",
        "found = h.chunk_at(chunks[3].address + 20) == chunks[3]",
        "held = sum(s.arenas()[0].census.in_use.values())",
        "print('>', len(chunks) == held, found, h.chunk_at(16))",
        "print('>', [finding.code for finding in h.findings(s)])",
    )
    shown = re.findall(r"^> (.*)$", attached(arenas, "python " + "; ".join(script)).out, re.M)
    codes = [row["code"] for row in table(look(arenas.pid, "why"))]
    assert shown == ["True True None", str(codes)]


def test_errors_are_of_one_class():
    lines = (
        "python import gdb_heapx",
        "python\ntry: gdb_heapx.snapshot()\nexcept gdb_heapx.HeapxError as e: print('>', e)",
    )
    assert "> no process and no core to look at" in session(*lines).out


def test_every_name_of_the_api_is_there():
    line = "print('>', all(hasattr(gdb_heapx, name) for name in gdb_heapx.__all__))"
    assert "> True" in session(f"python import gdb_heapx; {line}").out


# examples/


def example(name, *words):
    return run((sys.executable, EXAMPLES / name, *words), env=environment(HEAPX=str(HEAPX)))


def test_a_script_may_source_heapx_and_ask_about_a_value(arenas, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import gdb\n"
        f"gdb.execute('source {ROOT / 'gdb_heapx.py'}')\n"
        "import gdb_heapx\n"
        "top = gdb.parse_and_eval('main_arena.top')\n"
        "print(gdb_heapx.chunk_at(top).state)\n"
        "print(gdb_heapx.chunk_at(top.dereference()).state)\n"
        "for wrong in (lambda: gdb_heapx.chunks(gdb_heapx.Wanted(arena=99)),\n"
        "              lambda: gdb_heapx.chunks(gdb_heapx.Wanted(states={'in-use'})),\n"
        "              lambda: gdb_heapx.chunk_at('zz')):\n"
        "    try:\n"
        "        wrong()\n"
        "    except gdb_heapx.HeapxError as error:\n"
        "        print(error)\n"
    )
    result = gdb(f"source {script}", target=("-p", arenas.pid), sourced=False)
    assert "top\ntop\nno arena 99: there are arenas 0 to " in result.out
    assert "\nno state 'in-use'\n  States: in use, tcache, " in result.out
    assert "\nzz is no address: " in result.out


@pytest.mark.slow
def test_the_alert_speaks_above_its_limit_only(trim):
    returned = look(trim.pid, "trim")["tables"][0]["total"]["returned"]
    assert returned > 2 * MIB
    quiet = example("alert_returnable.py", trim.pid, returned // MIB + 1)
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    loud = example("alert_returnable.py", trim.pid, 1)
    assert loud.status == 1
    assert f"would return {returned / MIB:,.0f} MiB of RAM, more than 1 MiB" in loud.out


@pytest.mark.parametrize("name", ["alert_returnable.py", "largest_sizes.py"])
def test_an_example_that_cannot_tell_says_why(name):
    wrong = example(name, 1 << 30, 1)
    assert (wrong.status, wrong.out) == (2, "")
    assert f"no process {1 << 30}" in wrong.err
    assert "Usage: " in example(name, "server").err


@pytest.mark.slow
def test_the_largest_sizes_are_those_of_heapx(arenas):
    sizes = look(arenas.pid, "sizes")["tables"][0]
    largest = max(sizes["rows"], key=lambda row: row["in_use"])
    shown = example("largest_sizes.py", arenas.pid)
    assert shown.status == 0
    lines = shown.out.splitlines()
    assert lines[2].startswith(f"| {largest['size']:,} | {largest['in_use_chunks']:,} | ")
    assert lines[-1].startswith(f"| all | {sizes['total']['in_use_chunks']:,} | ")
    assert example("largest_sizes.py", arenas.pid, 0).status == 1


@pytest.mark.slow
def test_the_growth_of_a_request_is_what_it_keeps(inferiors):
    lines = (
        f"source {EXAMPLES / 'request_growth.py'}",
        "break handle_request",
        "run",
        "delete",
        "request-growth handle_request 3",
        "request-growth",
        "kill",
    )
    result = gdb(*lines, target=(inferiors / "requests",))
    assert result.out.count("in use +2,016 bytes, free -2,016 bytes") >= 2
    assert "  +2 chunks of 1,008 bytes" in result.out
    assert "Usage: request-growth FUNCTION [NUMBER]" in result.err
    assert "Traceback" not in result.err


def test_the_growth_of_what_is_not_called_is_refused_and_leaves_no_breakpoint(inferiors):
    lines = (
        f"source {EXAMPLES / 'request_growth.py'}",
        "break handle_request",
        "run",
        "request-growth no_such_function",
        "request-growth exit",
        "tbreak usleep",
        "request-growth handle_request",
        "maint info breakpoints",
        "kill",
    )
    result = gdb(*lines, target=(inferiors / "requests",))
    assert "There is no function no_such_function." in result.err
    assert "exit was not called: the process stopped before." in result.err
    assert result.out.count("breakpoint already hit") == 1
    assert not re.search(r"(no_such_function|exit)", result.out.rpartition("Num ")[2])
