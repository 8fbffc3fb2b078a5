"""What two looks have in common, and what their changes mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
from heapbuilder import usual

from gdb_heapx.compare.conclude import conclude
from gdb_heapx.compare.look import Look
from gdb_heapx.compare.parts import Equation, Moved
from gdb_heapx.compare.relation import Relation, relation
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
