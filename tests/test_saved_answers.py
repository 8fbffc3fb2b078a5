"""Commands on a saved snapshot say what they say of the process, word for word; without it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache

import pytest
from live import table
from recorded import NAMES, load
from sessions import said

from gdb_heapx.cli.command import REGISTRY, Needs
from gdb_heapx.cli.execute import Terminal
from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.saved.saved import read_saved
from gdb_heapx.saved.session import SavedSession
from gdb_heapx.snapshots import walks

OF_A_SNAPSHOT = (Needs.SNAPSHOT, Needs.LIVE, Needs.SESSION)
LINES = (
    *sorted(each.word for each in REGISTRY.values() if each.needs in OF_A_SNAPSHOT),
    *("ledger --outside", "sizes --group", "arenas 0", "bins --kind small", "top --bytes"),
)
USUAL = "2.36-amd64"


class Kept(SavedSession):
    """A session on a file, as `execute` opens it."""

    @contextmanager
    def opened(self, seconds=None, held=False):
        yield self


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return what makes a session on the file that an image was saved to."""

    @cache
    def saved(name, more=""):
        path = tmp_path_factory.mktemp("saved") / "image.json.gz"
        load(name).answer(f"save {path} {more}")
        return Kept(read_saved(str(path)))

    return saved


def asked(session, line, width=140):
    return said(line, session, Terminal(width, False))


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_answers_as_the_process_does(name, kept):
    for line in LINES:
        for form in ("text", "json", "csv"):
            whole = f"{line} --format {form}"
            assert asked(kept(name), whole) == load(name).answer(whole, 140), whole


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def test_types_are_those_of_the_process_without_its_text(kept):
    of_file = table(asked_json(kept(USUAL), "types"))
    of_process = table(load(USUAL).report("types"))
    assert any(row["contents"] for row in of_process)
    assert not any(row["contents"] for row in of_file)
    assert [without(r, "contents") for r in of_file] == [without(r, "contents") for r in of_process]


def test_pins_are_those_of_the_process_without_its_text(kept):
    said_of_file, said_of_process = asked_json(kept(USUAL), "pins"), load(USUAL).report("pins")
    for name in ("pins", "pin_groups"):
        of_file, of_process = table(said_of_file, name), table(said_of_process, name)
        assert any((row["looks"] or "").startswith('"') for row in of_process)
        assert not any((row["looks"] or "").startswith(('"', "0x")) for row in of_file)
        assert [without(r, "looks") for r in of_file] == [without(r, "looks") for r in of_process]


def asked_json(session, line):
    import json

    return json.loads(asked(session, f"{line} --format json").text)


def test_totals_are_those_of_the_process(kept):
    of_file, of_process = asked_json(kept(USUAL), "types"), load(USUAL).report("types")
    assert of_file["tables"][0]["total"] == of_process["tables"][0]["total"]


def test_types_are_sorted_and_cut_as_ever(kept):
    rows = table(asked_json(kept(USUAL), "types --sort instances --limit 3"))
    assert len(rows) == 3
    assert [row["instances"] for row in rows] == sorted(
        (r["instances"] for r in rows), reverse=True
    )


REFUSED = {
    "chunks": "heapx chunks needs single chunks: this is a saved snapshot",
    "bins --chunks": "heapx bins needs single chunks: this is a saved snapshot",
    "chunk 0x1000": "heapx chunk needs single chunks: this is a saved snapshot",
    "refs 0x1000": "heapx refs needs the memory that is in use: this is a saved snapshot",
    "leaks": "heapx leaks needs the memory that is in use: this is a saved snapshot",
    "holders": "heapx holders needs the memory that is in use: this is a saved snapshot",
    "fit 100": "heapx fit needs single chunks: this is a saved snapshot",
    "growth --seconds 1": "heapx growth needs a process that runs: this is a saved snapshot",
    "save /tmp/x": "heapx save needs a process, or a core: this is a saved snapshot",
    "trim --now": "this is a saved snapshot: nothing can be called in it",
    "trim --pad 1M": "--pad needs the process: saved is what malloc_trim(0) would return",
    "arenas --no-walk": "--no-walk: the chunks were walked over when this was saved",
    "types --by size": "heapx types --by needs the process: a saved snapshot has its answer "
    "without options",
    "pins --arena 1": "heapx pins ARENA needs the process: a saved snapshot has its answer "
    "without options",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_file_cannot_answer_is_refused_in_a_sentence(line, kept):
    with pytest.raises(HeapxError) as error:
        asked(kept(USUAL), line)
    assert error.value.statement == REFUSED[line]


def test_every_command_is_answered_or_refused(kept):
    """Those that aren't answered are named above."""
    answered = {*LINES, "types", "pins", "load", "compare", "report"}
    left = {each.word for each in REGISTRY.values()} - answered
    assert left == {line.partition(" ")[0] for line in REFUSED} - answered


BRIEF = (  # what a brief file can't answer as the process does
    *("", "heaps", "map", "why"),
)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_a_brief_file_answers_what_needs_no_more(name, kept):
    for line in LINES:
        if line not in BRIEF:
            whole = f"{line} --format json"
            assert asked(kept(name, "--brief"), whole) == load(name).answer(whole, 140), whole


def test_a_brief_file_says_what_it_does_not_know(kept):
    brief = kept(USUAL, "--brief")
    for line in ("", "heaps", "why"):
        assert "Saved with --brief: what keeps single pages" in asked(brief, line).text
        assert "Saved with --brief" not in asked(kept(USUAL), line).text
    with pytest.raises(HeapxError, match="--brief: what fills the heaps isn't in it"):
        asked(brief, "map")
    for line in ("types", "pins"):
        with pytest.raises(HeapxError, match=f"saved without {line}"):
            asked(brief, line)


def test_pins_that_take_long_are_left_out_unless_they_are_asked_for(kept, monkeypatch):
    whole = asked(kept(USUAL), "pins").text
    monkeypatch.setattr(walks, "PIN_BYTE", 1.0)
    with pytest.raises(HeapxError, match="saved without pins"):
        asked(kept.__wrapped__(USUAL, "--no-types"), "pins")
    assert asked(kept.__wrapped__(USUAL, "--pins"), "pins").text == whole
    with pytest.raises(UsageError, match="one of them"):
        kept(USUAL, "--pins --no-pins")


def test_without_types_the_file_says_so(kept):
    with pytest.raises(HeapxError, match="saved without types"):
        asked(kept(USUAL, "--no-types"), "types")
    assert asked(kept(USUAL, "--no-types"), "pins").text


def test_without_pins_the_file_says_so(kept):
    with pytest.raises(HeapxError, match="saved without pins"):
        asked(kept(USUAL, "--no-pins"), "pins")
    assert asked(kept(USUAL, "--no-pins"), "types").text
