"""heapx sizes: chunks by size, against what was built, and glibc's own figures on processes."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest
from heapbuilder import FREE, MACHINES, UNSORTED, USED, at_random, changed, usual
from hypothesis import given
from hypothesis import strategies as st
from live import look, table, told
from properties import tried
from sessions import answer

from gdb_heapx.commands import sizes
from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.census import Census, by_size, census_of, joined
from gdb_heapx.heap.states import State
from gdb_heapx.report.tables import format_share
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import take

RELEASES = [(2, 25), (2, 31), (2, 36), (2, 42), (2, 44)]
KINDS = st.tuples(st.sampled_from([*MACHINES.values()]), st.sampled_from(RELEASES))


def rows_of(snapshot, words=""):
    return table(json.loads(answer(f"sizes --format json {words}", snapshot).text))


def built(heap, arenas):
    """Return (in use, free) by size, as the heap was built."""
    counts = Counter(), Counter()
    for arena in arenas:
        for _, size, state in arena.chunks:
            if state == USED:
                counts[0][size] += 1
            elif state in (FREE, UNSORTED, "fast", "tcache"):
                counts[1][size] += 1
    return counts


def counted(rows):
    """Return the same of rows."""
    return tuple(
        Counter({row["size"]: row[name] for row in rows if row[name]})
        for name in ("in_use_chunks", "free_chunks")
    )


def sums(snapshot):
    arenas = snapshot.arenas()
    return (
        sum(arena.chunks[State.IN_USE] for arena in arenas),
        sum(arena.in_use for arena in arenas),
        sum(n for a in arenas for state, n in a.chunks.items() if state is not State.IN_USE),
        sum(a.tcache + a.fast + a.binned for a in arenas),
    )


NAMES = ("in_use_chunks", "in_use", "free_chunks", "free")


@tried(60, deadline=2000)
@given(
    st.randoms(use_true_random=True), st.sampled_from(sorted(MACHINES)), st.sampled_from(RELEASES)
)
def test_sizes_are_those_that_were_built_and_add_up_to_the_arenas(seed, machine, release):
    heap = at_random(seed, MACHINES[machine], release)
    snapshot = take(heap.target())
    for words in ("", "--group"):
        rows = rows_of(snapshot, words)
        assert tuple(sum(row[name] for row in rows) for name in NAMES) == sums(snapshot)
    assert counted(rows_of(snapshot)) == built(heap, heap.arenas)


def test_mmapped_chunks_are_counted_where_no_arena_is_asked_for():
    before = counted(rows_of(take(usual().target())))
    heap = usual()
    for size in (1 << 20, 1 << 20, 3 << 20):
        heap.mmapped(size)
    snapshot = take(heap.target())
    whole = rows_of(snapshot)
    assert counted(whole) == (before[0] + Counter({1 << 20: 2, 3 << 20: 1}), before[1])
    assert sum(row["in_use"] for row in whole) == snapshot.in_use
    assert counted(rows_of(snapshot, "--arena 0")) == built(heap, [heap.main])


@pytest.mark.parametrize("lost", ["arena", "mmapped"])
def test_where_something_was_not_counted_there_is_no_total(lost):
    heap = usual()
    heap.mmapped(1 << 20)
    target = heap.target()
    if lost == "arena":
        heap.poke(heap.arenas[1].chunks[4][0] + 8, 3)
    else:
        mappings = tuple(m for m in target.space.mappings if m.size != 1 << 20)
        target = changed(target, mappings=mappings)
    report = json.loads(answer("sizes --format json", take(target)).text)
    total = report["tables"][0]["total"]
    assert total
    assert set(total.values()) == {None}
    assert report["notes"]


def test_what_to_look_at_next_is_of_the_same_arena():
    snapshot = take(usual().target())
    assert "heapx chunks --state in-use" in answer("sizes", snapshot).text
    assert "heapx chunks --arena 1 --state in-use" in answer("sizes --arena 1", snapshot).text


def test_one_arena_has_its_own_sizes():
    heap = usual()
    snapshot = take(heap.target())
    assert counted(rows_of(snapshot, "--arena 1")) == built(heap, [heap.arenas[1]])


def test_the_rows_with_most_bytes_come_first_and_their_shares_grow_to_all():
    rows = rows_of(take(usual().target()))
    sizes = [row["in_use"] + row["free"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert rows[-1]["cumulative"] == 100
    assert [row["cumulative"] for row in rows] == sorted(row["cumulative"] for row in rows)


def test_a_group_is_a_power_of_two_up_to_the_next():
    census = Census({16: 1, 31: 2, 32: 3, 63: 1}, {64: 1, 127: 1})
    found = {row.size: (row.in_use_chunks, row.in_use, row.free) for row in by_size(census, True)}
    assert found == {16: (3, 16 + 62, 0), 32: (4, 96 + 63, 0), 64: (0, 0, 64 + 127)}


def test_a_list_that_names_chunks_which_are_not_there_gives_no_census():
    tagged = Census({32: 1}, {})
    assert census_of(tagged, [Counter({32: 2})], Counter()) is None
    assert census_of(tagged, [Counter({32: 1})], Counter()) == Census({}, {32: 1})
    assert census_of(tagged, [], Counter({32: 1})) == Census({}, {})


def test_censuses_are_joined():
    assert joined([Census({1: 1}, {2: 1}), Census({1: 2}, {})]) == Census({1: 3}, {2: 1})


def test_an_arena_that_cannot_be_walked_over_is_named_and_not_counted():
    heap = usual()
    target = heap.target()
    heap.poke(heap.arenas[1].chunks[5][0] + 8, 0)
    report = json.loads(answer("sizes --format json", take(target)).text)
    assert report["notes"][0].startswith("Not counted, since it could not be walked over: arena 1,")
    assert counted(table(report)) == built(heap, [heap.arenas[0], heap.arenas[2]])


def test_without_a_walk_nothing_is_counted():
    assert {a.census for a in take(usual().target(), Scope(walk=False)).arenas()} == {None}


def test_text_shows_twenty_rows_and_data_shows_all():
    snapshot = take(at_random(random.Random(7), MACHINES["amd64"], (2, 36)).target())
    rows = rows_of(snapshot)
    lines = answer("sizes --each", snapshot).text.splitlines()
    assert len(rows) > 20
    assert f"{len(rows) - 20:,} more rows (--limit); the total is of all rows." in lines
    assert len(answer("sizes --each --limit 1000", snapshot).text.splitlines()) > len(rows)


def test_more_than_so_many_sizes_are_taken_together_in_text_alone(monkeypatch):
    snapshot = take(usual().target())
    data, known = (answer(f"sizes --format csv{each}", snapshot).text for each in ("", " --each"))
    number = len(rows_of(snapshot))
    for many, title in ((number, "chunk size"), (number - 1, "min size")):
        monkeypatch.setattr(sizes, "MANY", many)
        first, heading, *_ = answer("sizes", snapshot).text.splitlines()
        assert first.startswith("sizes in ")
        assert heading.strip().startswith(title)
        assert answer("sizes --format csv", snapshot).text == data == known
    together, asked = (answer(f"sizes{words}", snapshot).text for words in ("", " --group"))
    assert re.sub(r"heapx sizes --each\s+each size by itself\n", "", together) == asked
    assert "chunk size" in answer("sizes --each", snapshot).text


def test_a_size_is_by_itself_or_with_others():
    with pytest.raises(HeapxError, match="exclude each other"):
        answer("sizes --group --each", take(usual().target()))


@pytest.mark.parametrize(
    ("tenths", "text"),
    [(0, "<0.1"), (1, "0.1"), (9, "0.9"), (14, "1"), (15, "2"), (999, "99"), (1000, "100")],
)
def test_a_share_is_rounded_has_a_decimal_below_one_and_is_100_only_of_all(tenths, text):
    assert format_share(tenths) == text


@pytest.mark.live
@pytest.mark.parametrize("words", ["mixed", "arenas 5"])
def test_on_a_process_sizes_add_up_to_what_glibc_and_the_counter_say(start, words):
    name, *arguments = words.split()
    inferior = start(name, *arguments, counted=True)
    rows = table(look(inferior.pid, "sizes"))
    arenas = inferior.oracle.arenas
    freed = sum(arena.fast[0] + arena.rest[0] - 1 for arena in arenas)  # rest has the top
    cached = sum(row["chunks"] for row in table(look(inferior.pid, "tcache")))
    assert sum(row["free_chunks"] for row in rows) == freed + cached
    in_use = [sum(values) for values in zip(*inferior.oracle.counts.values())]
    assert [sum(row[n] for row in rows) for n in ("in_use_chunks", "in_use")] == in_use
    assert "heapx sizes --each" in told("-p", inferior.pid, "sizes").out
