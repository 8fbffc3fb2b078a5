"""What two looks have in common, and what their changes mean."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from heapbuilder import usual
from recorded import load

from gdb_heapx.compare.conclude import conclude
from gdb_heapx.compare.look import Look
from gdb_heapx.compare.parts import Equation, Moved
from gdb_heapx.compare.relation import Relation, relation
from gdb_heapx.compare.verdict import ToldPart
from gdb_heapx.report.notes import note, sentence
from gdb_heapx.report.schema import Column, Kind, Table
from gdb_heapx.report.style import Style
from gdb_heapx.report.tables import table_tokens
from gdb_heapx.snapshots.take import take

MIB = 1 << 20
SNAPSHOT = take(usual().target())


def look(**facts):
    return Look(replace(SNAPSHOT, target=replace(SNAPSHOT.target, **facts)), None, "host", {})


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ({"pid": 7, "born": "b 1"}, {"pid": 7, "born": "b 1"}, Relation.SAME),
        ({"pid": 7, "born": "b 1"}, {"pid": 7, "born": "b 2"}, Relation.OTHER),
        ({"pid": 7, "born": "b 1"}, {"pid": 7, "born": "b 1", "exe": "/x"}, Relation.EXECUTED),
        ({"pid": 7, "born": None}, {"pid": 7, "born": "b 1"}, Relation.LIKELY),
        ({"pid": 7, "born": None}, {"pid": 8, "born": None}, Relation.OTHER),
    ],
)
def test_a_process_is_the_same_by_when_it_began_and_likely_so_in_a_core(old, new, what):
    assert relation(look(**old), look(**new)) is what


def changed(live, free, outside=0):
    """Return the changes of RSS by these, of 100 MiB each before."""
    grown = {"in use": live, "free": free, "outside malloc": outside}
    parts = tuple(Moved(name, 100 * MIB, 100 * MIB + more) for name, more in grown.items())
    whole = Moved("RSS", 300 * MIB, 300 * MIB + live + free + outside)
    return Equation(whole, parts, True), parts[0]


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((0, 0), "still"),
        ((0, 50 * MIB), "retention"),
        ((-20 * MIB, 50 * MIB), "retention"),
        ((50 * MIB, 0), "in use"),
        ((50 * MIB, -20 * MIB), "in use"),
        ((0, 0, 50 * MIB), "outside"),
        ((30 * MIB, 20 * MIB), "mixture"),
        ((-50 * MIB, 50 * MIB), "kept"),
        ((50 * MIB, -50 * MIB), "reused"),
        ((-50 * MIB, 0), "fell"),
    ],
)
def test_what_grew_decides_what_is_said(parts, code):
    assert conclude(*changed(*parts)).code == code


def test_nothing_is_called_retention_where_what_is_in_use_is_unknown():
    assert conclude(changed(0, 50 * MIB)[0], None).code == "mixture"


def test_what_the_program_has_touched_since_is_no_growth_of_what_it_holds():
    grown, _ = changed(50 * MIB, 0)
    assert conclude(grown, Moved("in use", 200 * MIB, 200 * MIB)).code == "touched"
    said = sentence(
        note(
            "change_verdict",
            meaning="touched",
            shares=(),
            kept=False,
            parts=[ToldPart("in use", 0, 50 * MIB, False, None)],
            known=True,
        )
    )
    assert said.startswith("In use unchanged (+50 MiB resident): more of what the program holds ")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    file = tmp_path_factory.mktemp("saved") / "a.json"
    load("2.36-amd64").text(f"save {file} --no-types")
    return file


@pytest.mark.parametrize(
    ("by", "none"),
    [
        ("", "No owner, arena, heap, bin or size of chunk has changed."),
        ("--by owner", "No owner has changed."),
        ("--by size", "No size of chunk has changed."),
    ],
)
def test_where_nothing_changed_words_say_so_and_no_table(saved, by, none):
    said = load("2.36-amd64").text(f"compare {saved} {saved} {by}")
    lines = said.splitlines()
    assert none in lines
    assert not [line for line in lines if line.startswith(("compare", "total", "Unchanged"))]
    assert re.search("^Both were seen at ", said, re.M)


def test_types_that_are_not_known_are_not_called_unchanged(saved):
    said = load("2.36-amd64").text(f"compare {saved} {saved} --by type")
    assert "Types aren't compared: OLD and NEW have none." in said
    assert "type has changed" not in said
    assert "none\n" not in said


def test_a_total_of_what_is_gone_has_what_is_left():
    column = Column("new_resident", Kind.BYTES, 2, title="is")
    table = Table("t", (Column("owner", Kind.TEXT), column), [("top", 0)], {"new_resident": 7})
    assert "7" in "".join(text for _, text in table_tokens(table, Style()))
