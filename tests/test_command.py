"""Declarations: parsing, completion, help, sorting, cutting and writing."""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest
from heapbuilder import PAGE, USED, HeapBuilder, Pages, usual
from sessions import Taken, catalogue_of, said, saved_file

from gdb_heapx.cli.arg import Arg
from gdb_heapx.cli.arguments import ARENA
from gdb_heapx.cli.command import REGISTRY, Needs, command, find, parse
from gdb_heapx.cli.execute import Terminal, execute
from gdb_heapx.cli.offers import completed
from gdb_heapx.commands import load_commands
from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.heap.states import Search
from gdb_heapx.held.held import hold
from gdb_heapx.report.files import write_whole
from gdb_heapx.report.schema import Column, Kind, Schema, Table
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.pages import RESIDENT, SHARED, UNTOUCHED

SNAPSHOT = take(usual().target())
COMMANDS = load_commands()
PLAIN = Terminal(80, False)
ONLY = {"growth": "--seconds 1", "save": "/dev/null", "compare": saved_file()}  # what these need
every = pytest.mark.parametrize("declared", COMMANDS.values(), ids=COMMANDS)
TOLD = {name: declared for name, declared in COMMANDS.items() if not declared.page}
every_text = pytest.mark.parametrize("declared", TOLD.values(), ids=TOLD)


def run(line, snapshot=SNAPSHOT, terminal=PLAIN, target=None):
    return said(line, Taken(snapshot, target=target), terminal)


def line_of(declared, target):
    """Return a line of this command, without `heapx`, that says no more than it must."""
    name = declared.name.partition(" ")[2]
    if name in ONLY:
        return f"{name} {ONLY[name]}"
    if name == "refs":
        return f"{name} {next(hold(open_target(target)).index.each()).user:#x}"
    return f"{name} {next(catalogue_of(target).chunks()).address:#x}" if name == "chunk" else name


def run_json(line):
    return json.loads(run(f"{line} --format json").text)


def rows(line):
    return run_json(line)["tables"][0]["rows"]


def refused(line):
    """Return the one error of a line that is refused before the target is read."""

    def never(seconds):
        raise AssertionError("the target was read")

    with pytest.raises(UsageError) as caught:
        execute(line.split(), never, PLAIN, print)
    return caught.value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("arenas --limit many", "'many' is not a number"),
        ("arenas --limit -1", "limit"),
        ("arenas --limit", "limit"),
        ("arenas --limit ²", "limit"),
        ("arenas --format yaml", "yaml"),
        ("arenas abc", "'abc' is neither an arena's index nor an address"),
        ("arenas 1 2", "2"),
        ("arenas --nope", "--nope"),
        ("arenas --form json", "--form"),
        ("arenas --", "--"),
        ("bins --kind tcache", "tcache"),
        ("bins --arena", "arena"),
        ("tcache 3", "3"),
        ("nope", "heapx has no command 'nope'"),
        ("--nope", "--nope"),
    ],
)
def test_bad_input_is_one_usage_error(line, words):
    error = refused(line)
    assert words in error.statement
    assert "\n" not in error.statement
    assert error.status == 2


@pytest.mark.parametrize("line", ["arenas 99", "arenas 0x1234560", "bins --arena 99", "top -1"])
def test_an_unknown_arena_is_a_usage_error_that_says_which_there_are(line):
    with pytest.raises(UsageError, match="arenas 0 to 2"):
        run(line)


@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_an_unknown_column_is_a_usage_error_that_lists_them(option):
    with pytest.raises(UsageError, match=r"(?s)no column 'nope'.*system"):
        run(f"arenas {option} nope")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ledger --sort clean", "heapx ledger has no column 'clean' without --outside"),
        ("bins --chunks --columns size,max_size", "'max_size' with --chunks"),
        (
            "bins --chunks --sort nope",
            "heapx bins has no column 'nope'\n  Columns: arena, kind, bin",
        ),
    ],
)
def test_a_column_of_a_table_that_is_not_shown_is_told_with_those_that_are(line, said):
    assert said in str(refused(line))


@pytest.mark.parametrize("arena", ["1", "0x1", "address"])
def test_an_arena_is_named_by_index_or_address(arena):
    address = hex(SNAPSHOT.arenas()[1].address)
    assert [r["arena"] for r in rows(f"arenas {arena.replace('address', address)}")] == [1]


OF_AN_ARENA = [name for name, each in COMMANDS.items() if ARENA in each.args]


def test_the_commands_of_an_arena_are_these():
    names = "arenas bins chunks heaps map pins sizes top trim types"
    assert sorted(OF_AN_ARENA) == [f"heapx {name}" for name in names.split()]


@pytest.mark.parametrize("name", OF_AN_ARENA)
@pytest.mark.parametrize("arena", ["1", "0x7f0000000030"])
def test_an_arena_is_told_by_its_place_or_by_option_alike(name, arena):
    declared = COMMANDS[name]
    ways = ([arena], ["--arena", arena], [f"--arena={arena}"], [arena, "--arena", arena])
    assert [parse(declared, way)["arena"] for way in ways] == [int(arena, 0)] * len(ways)
    assert parse(declared, [])["arena"] is None


def test_two_arenas_are_a_usage_error_that_names_both():
    assert "given two arenas, 1 and --arena 0x7f00" in refused("bins 1 --arena 0x7f00000").statement


def test_an_arena_is_documented_once():
    text = COMMANDS["heapx bins"].help()
    assert text.count(ARENA.help) == 1
    assert "  ARENA, --arena ARENA  " in text


def test_options_may_come_before_and_after_the_arena():
    assert rows("arenas --limit 1 1") == rows("arenas 1 --limit=1")


def test_without_a_command_the_overview_is_shown():
    assert run_json("")["command"] == "heapx"


# Which command


def test_find_returns_the_command_and_its_arguments():
    declared, rest = find(["bins", "--limit", "1"])
    assert (declared.name, rest) == ("heapx bins", ["--limit", "1"])
    assert find([])[0].name == find(["--bytes"])[0].name == "heapx"


def test_an_unknown_command_lists_the_commands():
    assert "arenas" in refused("nope").remedies[0]


# Help


@every
def test_the_summary_is_a_short_sentence_on_one_line(declared):
    assert declared.summary.endswith(".")
    assert len(declared.summary) < 80
    assert declared.help().startswith(declared.summary + "\n")


@every
def test_the_help_has_an_example_that_parses_with_its_purpose(declared):
    text, heading, examples = re.split(r"\n(Examples?):\n\n", declared.doc)
    assert text
    lines = [re.split(r" {2,}", line) for line in examples.splitlines()]
    assert heading == ("Example" if len(lines) == 1 else "Examples")
    for indent, example, purpose in lines:
        assert (indent, bool(purpose)) == ("", True)
        named, rest = find(example.split()[1:])
        assert named is declared or declared.name == "heapx"
        parse(named, rest)


@every
def test_the_help_names_every_argument(declared):
    for arg in declared.all_args:
        assert arg.name in declared.help()
        assert arg.help in " ".join(declared.help().split())


@every
def test_the_help_fits_in_80_columns(declared):
    assert max(map(len, declared.help().splitlines())) <= 80


@every
def test_every_command_takes_the_output_options(declared):
    names = {arg.name for arg in declared.all_args}
    assert names >= {"--format", "--output", "--sort", "--limit", "--bytes", "--columns"}


def test_the_commands_are_those_of_the_issue():
    names = "arenas heaps bins tcache top mmapped check about"
    assert set(COMMANDS) >= {"heapx", *(f"heapx {name}" for name in names.split())}


@pytest.mark.parametrize(
    "name", ["heapx", *(f"heapx {n}" for n in ("arenas", "heaps", "bins", "top"))]
)
def test_the_walk_can_be_left_out(name):
    session = Taken(SNAPSHOT)
    said(" ".join([*name.split()[1:], "--no-walk"]), session, PLAIN)
    declared = REGISTRY[name]
    assert session.asked == [
        Scope(
            walk=False,
            search=declared.search,
            whole=declared.whole,
            apart=declared.apart,
            census=declared.census,
            outcomes=declared.outcomes,
            strips=declared.strips,
            figures=name == "heapx",
        )
    ]


LEAST = Scope(apart=False, census=False, outcomes=False, strips=False)
OWN = replace(LEAST, search=Search.NONE, figures=False)
WHOLE = replace(LEAST, census=True, outcomes=True)


@pytest.mark.parametrize(
    ("line", "scope"),
    [
        ("arenas", OWN),
        ("arenas --no-walk --swap-in 0", replace(OWN, walk=False, swap_in=0)),
        ("trim --pad 131072", replace(OWN, pad=128 << 10, outcomes=True)),
        ("about", replace(LEAST, search=Search.NONE, whole=True)),
        (
            "ledger --swap-in 1048576",
            replace(LEAST, swap_in=1 << 20, search=Search.MAPPINGS, whole=True),
        ),
        ("mmapped", replace(LEAST, search=Search.HEADERS)),
        ("bins", replace(OWN, apart=True)),
        ("sizes", replace(LEAST, search=Search.HEADERS, census=True)),
        ("why", replace(WHOLE, search=Search.MAPPINGS, stale=True, whole=True)),
    ],
)
def test_a_line_says_how_much_of_the_target_to_read(line, scope):
    session = Taken(SNAPSHOT)
    said(line, session, PLAIN)
    assert set(session.asked) == {scope}


@every
def test_only_trim_may_change_the_process(declared):
    assert (declared.needs is Needs.SESSION) == (declared.name == "heapx trim")


# Declarations


def listed(catalogue, arena):
    """List."""


def counted(snapshot, arena):
    """Count."""


THINGS = Schema("things", (Column("name", Kind.TEXT), Column("size", Kind.BYTES)))


@pytest.mark.parametrize(
    ("words", "of", "more"),
    [
        ("declared twice", ("heapx bins", ARENA), {}),
        ("nothing gives arena to counted", ("heapx new",), {}),
        ("counted doesn't take limits", ("heapx new", ARENA, Arg("--limits", "")), {}),
        ("counted doesn't take s", ("heapx new", ARENA), {"needs": Needs.SESSION}),
        ("ARENA twice", ("heapx new", ARENA, ARENA), {}),
        ("--limit twice", ("heapx new", ARENA, Arg("--limit", "", "count")), {}),
        ("--chunks and a function for it", ("heapx new", ARENA), {"chunks": listed}),
        ("--chunks and a function for it", ("heapx new", ARENA, Arg("--chunks", "")), {}),
        (
            "chooses between a snapshot and chunks",
            ("heapx new", ARENA, Arg("--chunks", "")),
            {"chunks": listed, "needs": Needs.CHUNKS},
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_raises_at_once(words, of, more):
    with pytest.raises(ValueError, match=words):
        command(*of, tables=(THINGS,), **more)(counted)
    assert "heapx new" not in REGISTRY


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("no kind is called number", {"kind": "number"}),
        ("a choice has choices", {"kind": "choice"}),
        ("a choice has choices", {"kind": "count", "choices": ("a",)}),
        ("its default c is none", {"kind": "choice", "choices": ("a", "b"), "default": "c"}),
        ("an arena is called ARENA", {"kind": "arena"}),
    ],
)
def test_an_argument_that_contradicts_itself_raises_at_once(words, more):
    with pytest.raises(ValueError, match=words):
        Arg("--this", "what it is", **more)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("two columns name", lambda: Schema("things", (*THINGS.columns, THINGS.columns[0]))),
        ("no column chunks", lambda: Schema("things", THINGS.columns, adds=("chunks",))),
        ("no column chunks", lambda: THINGS.but("chunks", rank=1)),
    ],
)
def test_a_table_that_contradicts_itself_raises_at_once(words, change):
    with pytest.raises(ValueError, match=words):
        change()


class Named(NamedTuple):
    name: str


def test_a_thing_that_lacks_what_a_column_asks_for_is_an_error():
    with pytest.raises(AttributeError, match="size"):
        THINGS.of([Named("one")])
    with pytest.raises(AttributeError, match="size"):
        next(THINGS.of(iter([Named("one")])).rows)


def test_a_row_that_lacks_a_column_is_an_error():
    with pytest.raises(ValueError, match="things: a row"):
        Table("things", THINGS.columns, [("one",)])


def test_a_table_of_a_stream_is_one_and_asks_for_no_more_than_it_yields():
    def stream():
        yield Named("one")
        raise AssertionError("asked for more")

    table = Schema("things", (Column("name", Kind.TEXT), Column("long", Kind.COUNT, of=len))).of(
        stream()
    )
    assert table.streamed
    assert next(table.rows) == ("one", 1)


class Trimming(Taken):
    """A session where malloc_trim gives back what the main arena's top has in memory."""

    def __init__(self, heap):
        super().__init__(take(heap.target()))
        self._heap = heap

    def malloc_trim(self, pad):
        top = self._heap.main.top
        self._heap.residency.mark(top + PAGE, top + self._heap.main.top_size, UNTOUCHED)
        self.snapshot = take(self._heap.target(), Scope(walk=False))
        return 1


def resident_heap(state=RESIDENT):
    """Return a heap in memory with 16 pages of top in a state."""
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.used_up_to(heap.brk + PAGE)
    heap.main.close(16 * PAGE)
    heap.residency.mark(heap.main.top, heap.main.top + 16 * PAGE, state)
    heap.target()
    return heap


def test_trim_now_shows_what_was_predicted_beside_what_was_measured():
    session = Trimming(resident_heap())
    answer = said("trim --now --format json", session, PLAIN)
    (row,) = json.loads(answer.text)["tables"][0]["rows"]
    assert row["returned"] == row["measured"] == 15 * PAGE
    assert session.asked == [
        replace(LEAST, search=Search.NONE, outcomes=True),
        replace(LEAST, walk=False, search=Search.NONE, outcomes=True),
    ]


@pytest.mark.parametrize(("state", "told"), [(RESIDENT, False), (SHARED, True)])
def test_trim_now_tells_where_pages_are_shared_that_they_stay_in_ram(state, told):
    text = said("trim --now", Trimming(resident_heap(state)), PLAIN).text
    assert ("PSS was" in text) == told
    assert ("private" in text) == told


def test_trim_now_refuses_where_a_thread_holds_an_arenas_lock():
    heap = resident_heap()
    heap.field(heap.layout.state, heap.main.address, "mutex", 1)
    with pytest.raises(HeapxError, match="holds the lock of arena 0"):
        said("trim --now", Trimming(heap), PLAIN)
    assert heap.residency.state(heap.main.top + PAGE) == RESIDENT


# Completion


@pytest.mark.parametrize(
    ("words", "last", "matches"),
    [
        ([], "--f", ["--format"]),
        ([], "--no", ["--no-walk"]),
        (["--format"], "", ["text", "ansi", "json", "csv", "folded", "openmetrics"]),
        (["--format"], "j", ["json"]),
        (["--kind"], "s", ["small"]),
        (["--limit"], "", []),
        (["--bytes"], "--l", ["--limit"]),
        ([], "--ar", ["--arena"]),
        (["--arena"], "", []),
        (["--sort"], "chu", ["chunks"]),
        (["--chunks", "--sort"], "max", []),
        (["--sort", "arena", "--chunks", "--columns"], "arena,ad", ["arena,address"]),
        (["--sort"], "ad", []),
        (["--columns"], "chu", ["chunks"]),
        (["--columns"], "arena,chu", ["arena,chunks"]),
        (["--columns"], "chunks,chu", []),
        ([], "x", []),
    ],
)
def test_completion_knows_options_and_choices(words, last, matches):
    assert completed(COMMANDS["heapx bins"], words, last) == matches


def test_completion_of_nothing_offers_every_option():
    declared = COMMANDS["heapx bins"]
    options = [option for arg in declared.all_args for option in arg.options]
    assert completed(declared, [], "") == options
    assert options[0] == "--arena"


# --sort, --limit, --columns, --bytes


def test_sizes_are_sorted_largest_first():
    sizes = [r["bytes"] for r in rows("bins --sort bytes")]
    assert sizes == sorted(sizes, reverse=True)


def test_text_is_sorted_from_a():
    kinds = [r["kind"] for r in rows("bins --sort kind")]
    assert kinds == sorted(kinds)


def test_unknown_values_are_sorted_last():
    values = [r["max_size"] for r in rows("bins --sort max_size")]
    assert None not in values[: values.index(None)]
    assert set(values[values.index(None) :]) == {None}


def test_a_limit_cuts_the_rows_but_not_the_total():
    whole, cut = run_json("bins"), run_json("bins --limit 2")
    assert len(cut["tables"][0]["rows"]) == 2
    assert cut["tables"][0]["total"] == whole["tables"][0]["total"]
    assert "more rows (--limit); the total is of all rows." in run("bins --limit 2").text
    assert "more rows of params (--limit)." in run("params --limit 2").text


def test_a_limit_beyond_the_rows_says_nothing():
    assert run("bins --limit 9999").text == run("bins").text


def test_a_limit_of_nothing_does_not_claim_that_there_is_nothing():
    assert "bins: none" not in run("bins --limit 0").text


def test_columns_are_those_asked_for():
    heading = run("arenas --columns top,arena").text.splitlines()[1]
    assert heading.split() == ["top", "arena"]


def test_bytes_are_exact():
    system = SNAPSHOT.arenas()[0].system
    assert f"{system:,}" in run("arenas --bytes").text


def test_colour_is_for_terminals_that_want_it():
    assert "\x1b[" in run("arenas", terminal=Terminal(80, True)).text
    assert "\x1b[" not in run("arenas --format text", terminal=Terminal(80, True)).text
    assert "\x1b[" in run("arenas --format ansi").text


def test_a_sound_heap_is_status_0_and_a_damaged_one_1():
    heap = HeapBuilder()
    chunk = heap.main.add(USED, 64)
    assert run("arenas", take(heap.target())).status == 0
    heap.poke(chunk + 8, 0)
    assert run("arenas", take(heap.target())).status == 1


@every_text
def test_every_command_shows_a_damaged_heap(declared):
    heap = usual()
    chunk = heap.main.add(USED, 64) if not heap.main.top else heap.brk + 0x290
    heap.poke(chunk + 8, 0)
    heap.poke(heap.arenas[1].address + heap.layout.state["next"].offset, 0x1230)
    target = heap.target()
    said_of = run(line_of(declared, target), take(target), target=target)
    assert "problem" in said_of.text
    assert said_of.status == 1


@pytest.mark.few(8)
@every_text
def test_every_command_works_without_a_walk(declared):
    target = usual().target()
    snapshot = take(target, Scope(walk=False))
    for format_ in ("text", "ansi", "json", "csv"):
        assert run(f"{line_of(declared, target)} --format {format_}", snapshot).text


@pytest.mark.parametrize(
    "name", sorted(set(TOLD) - {f"heapx {name}" for name in (*ONLY, "chunk", "refs")})
)
@pytest.mark.few(5)
def test_every_command_works_before_the_first_malloc(name):
    heap = HeapBuilder()
    target = heap.target()
    state, par = heap.layout.state, heap.layout.par
    heap.field(state, heap.main.address, "top", heap.main.address + state["bins"].offset - 16)
    heap.field(state, heap.main.address, "system_mem", 0)
    heap.field(par, heap.symbols["mp_"], "sbrk_base", 0)
    for format_ in ("text", "json", "csv"):
        line = f"{name.partition(' ')[2]} --format {format_}"
        assert run(line, take(target), target=target).text


# --output


def test_output_goes_to_the_file_only(tmp_path):
    path = tmp_path / "arenas.json"
    assert run(f"arenas --format json --output {path}").text == ""
    assert json.loads(path.read_text())["command"] == "heapx arenas"
    assert os.listdir(tmp_path) == ["arenas.json"]


def test_output_to_a_file_has_no_colour(tmp_path):
    path = tmp_path / "arenas.txt"
    run(f"arenas --output {path}", terminal=Terminal(80, True))
    assert "\x1b" not in path.read_text()


def test_output_replaces_a_file_whole(tmp_path):
    path = tmp_path / "out"
    path.write_text("x" * 100000)
    write_whole(str(path), ["short\n"])
    assert path.read_text() == "short\n"


def test_output_into_a_missing_directory_is_refused_before_the_target_is_read(tmp_path):
    assert "no directory" in refused(f"arenas --output {tmp_path}/missing/out").statement


def test_output_has_the_permissions_of_a_new_file(tmp_path):
    write_whole(str(tmp_path / "out"), [""])
    (tmp_path / "new").touch()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "new").stat().st_mode
    )


def test_output_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(HeapxError, match="cannot write"):
        write_whole(str(tmp_path / "out"), ["text"])
    assert os.listdir(tmp_path) == ["out"]


def test_output_that_cannot_be_finished_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(HeapxError, match="No space left"):
        write_whole(str(path), ["new"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_output_does_not_take_the_place_of_a_device_or_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(str(path), ["text"])
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("line", ["arenas --limit 1", "heapx"])
def test_parse_knows_every_argument_by_its_key(line):
    declared, rest = find([w for w in line.split() if w != "heapx"])
    assert set(parse(declared, rest)) == {arg.key for arg in declared.all_args}


@pytest.mark.parametrize(
    ("line", "order"), [("arenas", ["let go", "run"]), ("chunks", ["run", "let go"])]
)
def test_the_process_is_let_go_before_a_snapshot_is_looked_at(line, order, monkeypatch):
    done = []

    class Watched(Taken):
        @contextmanager
        def opened(self, seconds=None, held=False):
            yield self
            done.append("let go")

    whole = execute.__globals__["_run"]

    def watched(*arguments):
        done.append("run")
        return whole(*arguments)

    monkeypatch.setitem(execute.__globals__, "_run", watched)
    said(line, Watched(SNAPSHOT), PLAIN)
    assert done == order


@pytest.mark.parametrize(
    ("line", "lacks"), [("refs", "ADDRESS"), ("chunk --bytes", "ADDRESS"), ("compare", "OLD")]
)
def test_what_is_missing_is_called_as_in_the_usage_with_what_to_type(line, lacks):
    name = f"heapx {line.split()[0]}"
    with pytest.raises(UsageError) as raised:
        run(line)
    assert lacks in COMMANDS[name].usage
    assert raised.value.statement == f"{name} needs {lacks}"
    assert f"See: {name} --help" in str(raised.value)
