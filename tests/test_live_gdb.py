"""heapx inside gdb, as users type it, and the stable shape of its JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import tty
from contextlib import contextmanager

import pexpect
import pytest
from live import LOADER, ROOT, TIMEOUT, environment, gdb, heapx, look, run, session, table, told
from pexpect.fdpexpect import fdspawn

pytestmark = pytest.mark.live

ESCAPE = "\x1b["
TEXT = {"encoding": "utf-8", "codec_errors": "replace"}  # MI escapes single bytes
BOLD = r"\[[0-9;]+marena"  # behind ESC, which MI writes as \e; gdb 18 writes colours its own way


@pytest.fixture(scope="module")
def mixed(start_once):
    return start_once("mixed", counted=True)


@pytest.fixture(scope="module")
def arenas(start_once):
    return start_once("arenas", "5")


def attached(inferior, *lines, **options):
    return gdb(*lines, target=("-p", inferior.pid), **options)


def _arena_lines(text):
    """Return the lines of main arenas in a text of tables."""
    return re.findall(r"^ +0(?: +[\d.,]+){6,}$", text, re.M)


# Sourcing.


def test_it_works_from_a_fresh_clone(mixed):
    words = ("gdb", "-nx", "-p", mixed.pid, "-batch", "-ex", "source gdb_heapx.py")
    result = run((*words, "-ex", "heapx arenas", "-ex", "heapx"), cwd=ROOT)
    assert len(_arena_lines(result.out)) == 1
    assert "\nRSS " in result.out
    assert "Error" not in result.err


@pytest.mark.slow
def test_sourcing_twice_is_the_same_as_once(mixed):
    mark = r"python [gdb.write('===\n', stream) for stream in (gdb.STDOUT, gdb.STDERR)]"
    once = (mark, "heapx arenas", mark)
    result = attached(mixed, *once, f"source {LOADER}", *once)
    for said in (result.out, result.err):
        _, first, sourcing, second, _ = said.split("===\n")
        assert (second, sourcing) == (first, "")
    assert _arena_lines(result.out)


def test_sourced_before_the_program_runs_it_says_so_and_works_later(inferiors):
    result = gdb(
        "heapx",
        "heapx arenas --format json",
        "break pause",
        "run",
        "heapx arenas",
        "kill",
        "heapx arenas",
        target=(inferiors / "mixed",),
    )
    assert len(_arena_lines(result.out)) == 1
    assert result.err.count("no process and no core to look at") == 3
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_after_detach_and_attach_the_figures_are_the_new_process_s(mixed, arenas):
    lines = ("detach", f"attach {arenas.pid}", "heapx arenas --format csv")
    result = attached(mixed, "heapx arenas --format csv", *lines)
    both = [line for line in result.out.splitlines() if re.match(r"\d+,0x", line)]
    assert [line.split(",")[1] for line in both] == [
        row["address"] for pid in (mixed.pid, arenas.pid) for row in table(look(pid, "arenas"))
    ]


@pytest.mark.slow
def test_two_inferiors_are_told_apart(mixed, arenas):
    lines = ("add-inferior", "inferior 2", f"attach {arenas.pid}", "heapx arenas --format csv")
    result = attached(mixed, *lines, "inferior 1", "heapx arenas --format csv")
    both = [line for line in result.out.splitlines() if re.match(r"\d+,0x", line)]
    assert [line.split(",")[1] for line in both] == [
        row["address"] for pid in (arenas.pid, mixed.pid) for row in table(look(pid, "arenas"))
    ]


# Help and completion.


def test_help_begins_with_the_summary_line():
    assert session("help heapx").out.startswith("Say where the memory")
    said = session("help heapx arenas").out
    assert said.startswith("List the arenas with their memory by state.\n")


def test_help_lists_every_sub_command_with_its_summary():
    lines = session("help heapx").out.splitlines()
    names = ("about", "arenas", "bins", "check", "heaps", "ledger", "mmapped", "tcache", "top")
    names += ("trim", "why")
    for name in names:
        assert any(re.match(rf"heapx {name} -- \w.*\.$", line) for line in lines), name


@pytest.mark.parametrize("line", ["arenas -h", "arenas --help", "help arenas", "--help arenas"])
def test_help_is_the_same_in_every_usual_way(line):
    asked, expected = session(f"heapx {line}"), session("help heapx arenas")
    assert (asked.out.rstrip(), asked.err) == (expected.out.rstrip(), "")


@pytest.mark.parametrize("line", ["help", "-h", "--help"])
def test_help_of_all_is_gdb_s_own(line):
    assert session(f"heapx {line}").out == session("help heapx").out


def test_the_version_is_the_shell_s():
    assert session("heapx --version").out == told("--version").out == "heapx 0.1.0\n"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("heapx -p 5126", "attach 5126"),
        ("heapx chunks | grep x", "pipe heapx chunks | grep x"),
        ("heapx chunks > x", "heapx chunks --output x"),
    ],
)
def test_what_only_a_shell_understands_is_told_as_gdb_has_it(line, instead):
    assert session(line).err.splitlines()[-1] == f"  In gdb: {instead}"


@pytest.mark.slow
def test_an_error_is_broken_at_words_on_a_terminal(mixed):
    with on_a_terminal(mixed) as typed:
        typed.sendline("set width 40")
        typed.expect_exact("(gdb) ")
        typed.sendline("heapx no-such")
        typed.expect_exact("(gdb) ")
        lines = typed.before.splitlines()
    shown = [line for line in lines if "Commands:" in line or line.startswith("      ")]
    assert len(shown) > 3
    assert max(map(len, shown)) <= 40


@pytest.mark.parametrize("typed", ["heapx", "heapx arenas", "heapx chunk $sp"])
@pytest.mark.few(1)
def test_before_libc_is_mapped_it_says_so(inferiors, typed):
    result = gdb("starti", typed, "break main", "continue", typed, target=(inferiors / "mixed",))
    said = "libc isn't mapped yet: the program has just been started\n"
    assert result.err.count(f"{said}  Let it come to its main: break main, continue.\n") == 1


@pytest.mark.slow
def test_a_static_program_has_its_libc_from_its_first_instruction_on(inferiors, tmp_path):
    program = tmp_path / "static"
    source = tmp_path / "static.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return !malloc(1); }\n")
    if run(("cc", "-static", source, "-o", program)).status:
        pytest.skip("needs a static libc")
    result = gdb("starti", "heapx check", target=(program,))
    assert "checks hold" in result.out


OFFERED = {
    "heapx bins --sort chu": ["heapx bins --sort chunks"],
    "heapx heaps --columns arena,resi": ["heapx heaps --columns arena,resident"],
    "heapx bins --ar": ["heapx bins --arena"],
    "heapx ar": ["heapx arenas"],
    "heapx arenas --fo": ["heapx arenas --format"],
    "heapx arenas --no": ["heapx arenas --no-walk"],
    "heapx bins --arena 0 --ki": ["heapx bins --arena 0 --kind"],
    "heapx bins --kind ": [
        f"heapx bins --kind {k}" for k in ("fast", "large", "small", "unsorted")
    ],
    "heapx bins --kind s": ["heapx bins --kind small"],
    "heapx arenas --format j": ["heapx arenas --format json"],
    "heapx arenas --nosuch": [],
    "heapx chunk --b": ["heapx chunk --bytes"],
}


@pytest.fixture(scope="module")
def completed():
    """Return what gdb offers for each line."""
    said = gdb(*(line for typed in OFFERED for line in (f"complete {typed}", "echo ===\\n")))
    return dict(zip(OFFERED, said.out.split("===\n")))


@pytest.mark.parametrize("typed", OFFERED)
def test_completion(completed, typed):
    assert sorted(completed[typed].splitlines()) == OFFERED[typed]


@pytest.mark.parametrize("typed", ["heapx chunk", "heapx chunks --arena 0 --from"])
def test_an_address_is_completed_as_expressions_are(inferiors, typed):
    lines = (f"file {inferiors / 'requests'}", "echo ===\\n", f"complete {typed} handle_req")
    assert session(*lines).out.partition("===\n")[2] == f"{typed} handle_request\n"


def test_a_thread_is_completed_by_its_lwp(mixed):
    lwps = os.listdir(f"/proc/{mixed.pid}/task")
    found = attached(mixed, "complete heapx fit 100 --thread ").out
    assert {f"heapx fit 100 --thread {lwp}" for lwp in lwps} <= set(found.splitlines())


# Output.


def test_a_pipe_gets_no_escape_sequence_and_a_terminal_does(mixed, tmp_path):
    file = tmp_path / "piped"
    with on_a_terminal(mixed) as typed:
        typed.sendline(f"pipe heapx arenas | cat >{file}")
        typed.expect_exact("(gdb) ")
        typed.sendline("heapx arenas")
        typed.expect(f"\x1b{BOLD}")
    assert _arena_lines(file.read_text())
    assert ESCAPE not in file.read_text()


@pytest.mark.parametrize("interpreter", ["mi", "mi3"])
@pytest.mark.slow
def test_a_front_end_gets_no_escape_sequence_on_a_terminal_either(mixed, interpreter):
    with on_a_terminal(mixed, f"--interpreter={interpreter}") as typed:
        typed.sendline('1001-interpreter-exec console "heapx arenas"')
        typed.expect_exact("1001^done")
        assert "arenas, sizes in" in typed.before
        assert not re.search(BOLD, typed.before)


@pytest.mark.slow
def test_a_second_interface_for_a_front_end_gets_none_beside_a_terminal_that_does(mixed):
    controller, other = pty.openpty()
    tty.setraw(other)
    with on_a_terminal(mixed) as typed:
        front_end = fdspawn(controller, timeout=TIMEOUT, **TEXT)
        typed.sendline(f"new-ui mi {os.ttyname(other)}")
        front_end.expect_exact("(gdb) ")
        front_end.sendline('1001-interpreter-exec console "heapx arenas"')
        front_end.expect_exact("1001^done")
        assert "arenas, sizes in" in front_end.before
        assert not re.search(BOLD, front_end.before)
        typed.sendline("heapx arenas")
        typed.expect(f"\x1b{BOLD}")
    os.close(other)
    front_end.close()


@pytest.mark.slow
def test_what_is_printed_into_a_file_has_no_escape_sequence(mixed, tmp_path):
    """gdb's stdout is a file; its lines come from a terminal."""
    file = tmp_path / "printed"
    words = _words(mixed, "-ex", "heapx arenas", "-ex", "detach", "-ex", "quit")
    line = ["-c", 'exec gdb "$@" >"$0"', str(file), *words]
    with pexpect.spawn("sh", line, env=environment(), timeout=TIMEOUT) as shell:
        shell.expect(pexpect.EOF)
    assert "arenas, sizes in" in file.read_text()
    assert ESCAPE not in file.read_text()


@contextmanager
def on_a_terminal(inferior, *more):
    """Yield a gdb at its prompt on a terminal with style, attached; lines can be sent to it."""
    words, options = _words(inferior, *more), {"env": environment(), "timeout": TIMEOUT}
    typed = pexpect.spawn("gdb", words, **options, **TEXT)
    try:
        typed.expect_exact("(gdb) ")
        yield typed
    finally:
        typed.sendline("detach")
        typed.sendline("quit")
        typed.expect(pexpect.EOF)
        typed.close()


def _words(inferior, *more):
    """Return the words that attach gdb to a process, with style."""
    settings = ("set pagination off", "set style enabled on", "set width 200", f"source {LOADER}")
    words = [word for each in settings for word in ("-ex", each)]
    quiet = ("-nx", "-q", "-iex", "set debuginfod enabled off")
    return [*quiet, "-p", str(inferior.pid), *words, *more]


def test_aliases_defined_commands_and_abbreviations_work(mixed):
    script = "\n".join(
        ("alias ha = heapx arenas", "define mine", "heapx bins --kind $arg0 --format csv", "end")
    )
    file = mixed.oracle.directory / "commands.gdb"
    file.write_text(script + "\n")
    result = attached(mixed, f"source {file}", "ha", "mine small", "heapx are --no-walk")
    assert len(_arena_lines(result.out)) == 2
    kinds = re.findall(r"^0,(\w+),\d+,", result.out, re.M)
    assert set(kinds) == {"small"}
    assert "error" not in result.err.lower()


@pytest.mark.slow
def test_mi_gets_json_as_console_output(mixed):
    """Front ends, such as VS Code, speak MI to gdb."""
    result = run(
        ("gdb", "-nx", "-q", "--interpreter=mi", "-iex", "set debuginfod enabled off"),
        input=(
            f"-gdb-set confirm off\n-target-attach {mixed.pid}\n"
            f'-interpreter-exec console "source {LOADER}"\n'
            '1001-interpreter-exec console "heapx arenas --format json"\n'
            '1002-interpreter-exec console "heapx nosuch"\n'
            "-target-detach\n-gdb-exit\n"
        ),
    )
    text = "".join(
        json.loads(line[1:]) for line in result.out.splitlines() if line.startswith('~"')
    )
    report, _ = json.JSONDecoder().raw_decode(text, text.index('{\n "heapx"'))
    assert table(report) == table(look(mixed.pid, "arenas"))
    assert "1001^done" in result.out
    assert re.search(r"^1002\^error,msg=.*heapx has no command 'nosuch'", result.out, re.M)


def test_the_text_user_interface_shows_it(mixed):
    with on_a_terminal(mixed) as typed:
        typed.sendline("tui enable")
        typed.expect_exact("(gdb) ")
        typed.sendline("heapx top")
        typed.expect_exact("trims top only when")
        typed.sendline("tui disable")
        typed.expect_exact("(gdb) ")


def test_text_fits_80_columns(arenas):
    out = session("with width 80 -- heapx arenas", target=("-p", arenas.pid)).out
    lines = out[out.index("arenas, sizes in") :].splitlines()
    assert max(map(len, lines)) <= 80


def test_the_parts_add_up_in_text_too(mixed):
    columns = "arena,system,in_use,tcache,fast,binned,top,overhead"
    result = told("-p", mixed.pid, "arenas", "--bytes", "--columns", columns)
    (line,) = _arena_lines(result.out)
    _, system, *parts = (int(n.replace(",", "")) for n in line.split())
    assert sum(parts) == system == mixed.oracle.mallinfo["arena"]


def test_stdout_of_the_shell_command_holds_only_the_report(mixed):
    assert heapx("-p", mixed.pid, "arenas").out.startswith("arenas, sizes in ")
    assert told("-p", mixed.pid).out.startswith(f"process {mixed.pid}, ")
    assert told("-p", mixed.pid, "bins", "--format", "csv").out.startswith("arena,kind,bin,")


def test_sort_and_limit_take_the_largest_and_leave_the_total(arenas):
    everything = look(arenas.pid, "arenas")
    largest = sorted((row["binned"] for row in table(everything)), reverse=True)[:3]
    cut = look(arenas.pid, "arenas", "--sort", "binned", "--limit", "3")
    assert [row["binned"] for row in table(cut)] == largest
    assert cut["tables"][0]["total"] == everything["tables"][0]["total"]


def test_an_arena_is_chosen_by_index_or_address_and_bins_by_kind(arenas, mixed):
    rows = table(look(arenas.pid, "arenas"))
    assert table(look(arenas.pid, "arenas", "2")) == [rows[2]]
    assert table(look(arenas.pid, "arenas", rows[3]["address"])) == [rows[3]]
    assert {b["arena"] for b in table(look(arenas.pid, "bins", "--arena", "1"))} == {1}
    assert {b["kind"] for b in table(look(mixed.pid, "bins", "--kind", "small"))} == {"small"}


# Bad input.

BAD = {
    "heapx nosuch": "has no command 'nosuch'",
    "heapx arenas 99": "no arena 99",
    "heapx arenas 0x1234567890": "no arena 0x1234567890",
    "heapx arenas x": "'x' is neither an arena's index nor an address",
    "heapx arenas -1": "",
    "heapx arenas 1 2": "2",
    "heapx arenas --limit many": "'many' is not a number",
    "heapx arenas --format nosuch": "'nosuch'",
    "heapx arenas --sort nosuch": "no column 'nosuch'",
    "heapx arenas --columns arena,nosuch": "no column 'nosuch'",
    "heapx arenas --nosuch": "--nosuch",
    "heapx arenas --limit": "--limit",
    "heapx bins --kind nosuch": "'nosuch'",
    "heapx arenas --output /nonexistent/file": "no directory /nonexistent",
    "heapx 'open": "",
}


@pytest.fixture(scope="module")
def answers(mixed):
    """Return what gdb says to each bad line."""
    marked = [(f'python gdb.write("=== {i}\\n", gdb.STDERR)', line) for i, line in enumerate(BAD)]
    result = session(*(line for pair in marked for line in pair), target=("-p", mixed.pid))
    said = re.split(r"^=== \d+\n", result.err, flags=re.M)[1:]
    return dict(zip(BAD, said))


@pytest.mark.parametrize("line", BAD)
def test_bad_input_gets_one_error_with_its_cause(answers, line):
    said = answers[line].splitlines()
    assert len([each for each in said if not each.startswith("  ")]) == 1, said
    assert BAD[line] in said[0]
    assert "Traceback" not in answers[line]
    assert "Python Exception" not in answers[line]


@pytest.mark.parametrize("line", [line for line in BAD if "'open" not in line])
@pytest.mark.few(2)
def test_bad_input_in_a_shell_gets_the_same_error_and_status_2(mixed, answers, line):
    result = told("-p", mixed.pid, *line.split()[1:])
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[0] == "heapx: " + answers[line].splitlines()[0]


# JSON.

IN_MEMORY = {"resident": "bytes", "swapped": "bytes"}
SHARED = {"shared": "bytes"}
PARTS = (
    *("returned_below_top", "returned_top", "already_returned", "kept_top", "kept_tcache"),
    *("kept_partial_page", "kept_small_bins", "kept_locked", "kept_foreign_brk"),
)
COLUMNS = {
    "arenas": {
        "arena": "index",
        "address": "address",
        "main": "bool",
        "threads": "count",
        "heaps": "count",
        "locked": "bool",
        "system": "bytes",
        "max_system": "bytes",
        "in_use_chunks": "count",
        "in_use": "bytes",
        "tcache_chunks": "count",
        "tcache": "bytes",
        "fast_chunks": "count",
        "fast": "bytes",
        "binned_chunks": "count",
        "binned": "bytes",
        "top": "bytes",
        "overhead": "bytes",
        **{f"{s}_{w}": "bytes" for s in ("in_use", "binned", "top") for w in IN_MEMORY},
        **SHARED,
        **IN_MEMORY,
        "libc": "text",
    },
    "heaps": {
        "arena": "index",
        "address": "address",
        "size": "bytes",
        "committed": "bytes",
        "reserved": "bytes",
        "in_use": "bytes",
        "free": "bytes",
        "free_resident": "bytes",
        "free_absent": "bytes",
        **IN_MEMORY,
        "libc": "text",
    },
    "bins": {
        "arena": "index",
        "kind": "text",
        "bin": "index",
        "min_size": "bytes",
        "max_size": "bytes",
        "chunks": "count",
        "bytes": "bytes",
        **IN_MEMORY,
        "libc": "text",
    },
    "tcache": {
        "thread": "index",
        "name": "text",
        "bin": "index",
        "min_size": "bytes",
        "max_size": "bytes",
        "chunks": "count",
        "bytes": "bytes",
        **IN_MEMORY,
    },
    "top": {
        "arena": "index",
        "address": "address",
        "size": "bytes",
        "free_would_trim": "bytes",
        "reason": "text",
        "last_in_use": "address",
        "pin": "address",
        "pin_size": "bytes",
        "pin_chunks": "count",
        "pin_state": "text",
        "pin_threads": "text",
        "held": "bytes",
        "held_resident": "bytes",
        "held_swapped": "bytes",
        "without_tcaches": "bytes",
        "without_tcaches_trim": "bytes",
        **IN_MEMORY,
        "libc": "text",
    },
    "pins": {
        "held": "bytes",
        "held_resident": "bytes",
        "held_swapped": "bytes",
        "chunks": "count",
        "size": "bytes",
        "arena": "index",
        "heap": "address",
        "kind": "text",
        "state": "text",
        "threads": "text",
        "address": "address",
        "looks": "text",
        "libc": "text",
    },
    "mmapped": {
        "address": "address",
        "size": "bytes",
        "mapping": "bytes",
        **IN_MEMORY,
        "state": "text",
    },
    "ledger": {"owner": "text", "arena": "index", "virtual": "bytes", **SHARED, **IN_MEMORY},
    "trim": {
        "arena": "index",
        "returned": "bytes",
        "returned_private": "bytes",
        "measured": "bytes",
        **{f"{part}{suffix}": "bytes" for part in PARTS for suffix in ("", "_resident")},
    },
    "check": {
        "check": "text",
        "arena": "index",
        "expected": "count",
        "found": "count",
        "ok": "bool",
        "libc": "text",
    },
}
TYPES = {
    "bytes": int,
    "count": int,
    "index": int,
    "bool": bool,
    "text": str,
    "address": str,
}


@pytest.fixture(scope="module", params=COLUMNS)
def report(request, start_once):
    """Return a command's report on a process with every kind of row."""
    inferior = start_once("mmapped" if request.param == "mmapped" else "mixed")
    return look(inferior.pid, request.param)


@pytest.mark.few(3)
def test_json_has_the_documented_keys(report):
    keys = {"heapx", "command", "target", "tables", "findings", "problems"}
    assert keys <= set(report) <= keys | {"notes"}
    assert {"pid", "exe", "libc", "release", "word", "live"} <= set(report["target"])
    target = report["target"]
    assert re.fullmatch(r"\d+\.\d+", target["release"])
    assert (target["word"], target["live"], type(target["pid"])) == (8, True, int)
    assert report["findings"] == report["problems"] == []


def test_a_command_s_first_table_bears_its_name_and_columns(report):
    first = report["tables"][0]
    assert report["command"] == f"heapx {first['name']}"
    kinds = {column["name"]: column["kind"] for column in first["columns"]}
    documented = COLUMNS[first["name"]]
    assert kinds == {**documented, "libc": "text"}


@pytest.mark.few(2)
def test_every_value_is_of_its_column_s_kind(report):
    for each in report["tables"]:
        kinds = {column["name"]: column["kind"] for column in each["columns"]}
        assert each["rows"]
        for row in each["rows"]:
            assert list(row) == list(kinds)
            for name, value in row.items():
                assert value is None or type(value) is TYPES[kinds[name]], (name, value)
                if kinds[name] == "address" and value is not None:
                    assert re.fullmatch("0x[0-9a-f]+", value)


def test_arenas_have_the_mmapped_total(mixed):
    total = look(mixed.pid, "arenas")["tables"][1]
    assert total["name"] == "mmapped_total"
    assert {"chunks": "count", "bytes": "bytes"}.items() <= {
        column["name"]: column["kind"] for column in total["columns"]
    }.items()


def test_problems_have_the_documented_keys(start):
    damaged = start("damaged", "size")
    report = told("-p", damaged.pid, "arenas", "--format", "json").report
    (problem, *_) = report["problems"]
    assert set(problem) == {"code", "address", "arena", "thread", "statement", "in_motion"}
    assert re.fullmatch("0x[0-9a-f]+", problem["address"])
    assert problem["in_motion"] is False
    assert table(report)[1]["in_use"] is None


def test_csv_has_the_rows_of_the_json(arenas):
    lines = told("-p", arenas.pid, "arenas", "--format", "csv").out.splitlines()
    rows = table(look(arenas.pid, "arenas"))
    assert lines[0].split(",") == list(rows[0])
    assert [line.split(",") for line in lines[1:]] == [
        [json.dumps(value).strip('"') for value in row.values()] for row in rows
    ]
