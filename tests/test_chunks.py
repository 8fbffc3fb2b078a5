"""heapx chunks, heapx chunk and heapx bins --chunks, against what was built, and on processes."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import weakref
from collections import Counter

import pytest
from heapbuilder import (
    AMD64,
    FAST,
    FREE,
    MACHINES,
    STRUCT,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    Pages,
    at_random,
    changed,
    usual,
)
from hypothesis import given
from hypothesis import strategies as st
from live import gdb, look, session, table, told
from properties import tried
from sessions import Taken, catalogue_of, said

from gdb_heapx.cli.execute import Terminal
from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.heap.states import NAMES
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.inventory.chunk import BINNED, IN_USE, MMAPPED, OVERHEAD, TOP, Wanted
from gdb_heapx.report.arrange import arrange
from gdb_heapx.report.model import Notes, Report
from gdb_heapx.report.notes import note
from gdb_heapx.report.schema import Column, Kind, Table
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.pages import SWAPPED

RELEASES = [(2, 25), (2, 31), (2, 36), (2, 42), (2, 44)]
KINDS = st.tuples(st.sampled_from([*MACHINES.values()]), st.sampled_from(RELEASES))
STATE_OF = {USED: IN_USE, FREE: BINNED, UNSORTED: BINNED, STRUCT: OVERHEAD}


def built(arena):
    """Return address, size and state of each chunk of an arena, as it was built, with its top."""
    chunks = [(a, size, STATE_OF.get(state, state)) for a, size, state in arena.chunks]
    return sorted([*chunks, (arena.top, arena.top_size, TOP)])


def run(line, target, width=80):
    return said(line, Taken(take(target), target=target), Terminal(width, False))


def rows(line, target):
    return table(json.loads(run(f"{line} --format json", target).text))


# The stream.


@tried(60)
@given(st.integers(0, 1 << 30), KINDS)
def test_the_chunks_are_those_that_were_built(seed, kind):
    heap = at_random(random.Random(seed), *kind)
    catalogue = catalogue_of(heap.target())
    for arena in heap.arenas:
        found = list(catalogue.chunks(Wanted(arena=arena.address)))
        assert [chunk[:3] for chunk in found] == built(arena)
        assert {chunk.arena for chunk in found} == {arena.index}
    assert not catalogue.problems


@tried(40)
@given(st.integers(0, 1 << 30), KINDS)
def test_the_counts_are_the_figures_of_the_arenas(seed, kind):
    target = at_random(random.Random(seed), *kind).target()
    snapshot, catalogue = take(target), catalogue_of(target)
    for arena in snapshot.arenas():
        counts = catalogue.count(Wanted(arena=arena.address))
        for state, chunks in arena.chunks.items():
            assert counts[NAMES[state]] == (chunks, arena.amounts[state].bytes)
        assert counts[TOP][1] == arena.top


@tried(40)
@given(st.integers(0, 1 << 30), KINDS)
def test_each_chunk_is_in_the_list_that_holds_it(seed, kind):
    heap = at_random(random.Random(seed), *kind)
    catalogue, number = catalogue_of(heap.target()), Counter()
    for chunk in catalogue.chunks():
        assert (chunk.list is not None) == (chunk.state in (TCACHE, FAST, BINNED))
        number[chunk.arena, chunk.list] += 1
    for arena in heap.arenas:
        for index, chunks in arena.bins.items():
            kind_ = "unsorted" if index == 1 else "small" if index < 64 else "large"
            assert number[arena.index, f"{kind_} bin {index}"] == len(chunks)
        for index, chunks in arena.fast.items():
            assert number[arena.index, f"fastbin {index}"] == len(chunks)


def test_a_tcached_chunk_names_its_thread():
    lists = {
        chunk.list for chunk in catalogue_of(usual().target()).chunks() if chunk.state == TCACHE
    }
    assert lists == {f"tcache bin {b} of thread {t}" for b in (2, 4) for t in (100, 101, 102)}


def test_mmapped_chunks_come_last_and_have_no_arena():
    heap = usual()
    address = heap.mmapped(1 << 20)
    last = list(catalogue_of(heap.target()).chunks())[-1]
    assert (last.address, last.state, last.arena, last.heap) == (address, MMAPPED, None, None)


# What is wanted.


TARGET = usual().target()
EVERY = rows("chunks", TARGET)


def test_the_columns_are_those_of_the_issue():
    names = ["address", "size", "state", "arena", "heap", "list", "libc"]
    assert [list(row) for row in EVERY] == [names] * len(EVERY)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--arena 1", lambda row: row["arena"] == 1),
        ("--state in-use", lambda row: row["state"] == "in use"),
        ("--state free", lambda row: row["state"] in ("tcache", "fast", "binned")),
        ("--min-size 1K", lambda row: row["size"] >= 1024),
        ("--max-size 48", lambda row: row["size"] <= 48),
        (f"--from {EVERY[7]['address']}", lambda row: row["address"] >= EVERY[7]["address"]),
        (f"--to {EVERY[7]['address']}", lambda row: row["address"] < EVERY[7]["address"]),
        (
            "--state binned --arena 2 --min-size 1000 --max-size 2000",
            lambda row: (
                (row["state"], row["arena"]) == ("binned", 2) and 1000 <= row["size"] <= 2000
            ),
        ),
    ],
)
def test_options_choose_chunks(words, wanted):
    chosen = [row for row in EVERY if wanted(row)]
    assert 0 < len(chosen) < len(EVERY)
    assert rows(f"chunks {words}", TARGET) == chosen
    counts = rows(f"chunks --count {words}", TARGET)
    states = Counter(row["state"] for row in chosen)
    assert {row["state"]: row["chunks"] for row in counts} == states
    assert sum(row["bytes"] for row in counts) == sum(row["size"] for row in chosen)


def test_an_arena_that_is_none_is_refused():
    for line in ("chunks --arena 7", "bins --chunks --arena 7"):
        with pytest.raises(UsageError, match="no arena 7: there are arenas 0 to 2"):
            run(line, TARGET)


def test_from_an_address_inside_a_chunk_that_chunk_is_the_first():
    chunk, following = EVERY[4], EVERY[5]
    for address in (chunk["address"], hex(int(chunk["address"], 16) + 16)):
        assert rows(f"chunks --from {address} --limit 2", TARGET) == [chunk, following]


def test_sizes_that_exclude_each_other_are_refused():
    with pytest.raises(UsageError, match="more than --max-size"):
        run("chunks --min-size 2M --max-size 1M", TARGET)


def test_text_shows_forty_and_says_how_to_see_more():
    lines = run("chunks", TARGET).text.splitlines()
    assert lines[0] == "chunks, sizes in bytes"
    assert len(lines) == 2 + 40 + 5
    assert lines[42] == "A wider terminal shows also: heap."
    assert lines[44] == "More rows follow the first 40: --limit shows them."
    assert len(run("chunks --limit 1000", TARGET).text.splitlines()) == 2 + len(EVERY) + 3


def test_where_there_is_none_nothing_is_to_be_looked_at_next():
    assert run("chunks --min-size 1G", TARGET).text == "chunks: none\n"


def test_a_limit_ends_the_walk(monkeypatch):
    """Of three arenas only the first is gone through."""
    walked = []
    original = Catalogue._places

    def places(self, wanted: Wanted):
        for place in original(self, wanted):
            walked.append(place.arena.index)
            yield place

    monkeypatch.setattr(Catalogue, "_places", places)
    assert len(rows("chunks --limit 3", TARGET)) == 3
    assert walked == [0]


def test_the_rows_can_be_sorted_and_written_as_csv():
    sizes = [row["size"] for row in rows("chunks --sort size --limit 5", TARGET)]
    assert sizes == sorted((row["size"] for row in EVERY), reverse=True)[:5]
    lines = list(csv.DictReader(io.StringIO(run("chunks --format csv", TARGET).text)))
    assert [line["address"] for line in lines] == [row["address"] for row in EVERY]


def test_damage_ends_its_arena_and_is_told_behind_the_rows():
    heap = usual()
    address, _, _ = heap.arenas[1].chunks[5]
    heap.poke(address + 8, 3)
    target = heap.target()
    answer = run("chunks --format json", target)
    report = json.loads(answer.text)
    assert answer.status == 1
    assert [problem["arena"] for problem in report["problems"]] == [1]
    found = Counter(row["arena"] for row in table(report))
    of_damaged = 5 + len(("unknown", "top"))
    assert found == {0: len(built(heap.arenas[0])), 1: of_damaged, 2: len(built(heap.arenas[2]))}


def test_the_last_chunk_before_what_may_be_a_fencepost_is_whole():
    heap = HeapBuilder()
    sizes = (32, 4096, 64)
    chunks = [heap.main.add(USED, size) for size in sizes]
    heap.put(chunks[-1] + 8, 1)
    found = rows("chunks --state in-use", heap.target())
    assert [(row["address"], row["size"]) for row in found] == [
        (f"{chunk:#x}", size) for chunk, size in zip(chunks[:-1], sizes)
    ]


# bins --chunks


def test_bins_lists_the_chunks_of_each_bin_in_order():
    heap = usual()
    found = rows("bins --chunks", heap.target())
    for arena in heap.arenas:
        listed = {}
        for row in found:
            if row["arena"] == arena.index and row["kind"] != "fast":
                listed.setdefault(row["bin"], []).append(int(row["address"], 16))
        assert listed == arena.bins
    assert [row["place"] for row in found if (row["arena"], row["bin"]) == (0, 1)] == [1, 2, 3] * 2


def test_bins_of_one_kind_and_number():
    found = rows("bins --chunks --arena 1 --kind unsorted", TARGET)
    assert {(row["arena"], row["kind"], row["bin"]) for row in found} == {(1, "unsorted", 1)}
    assert rows("bins --arena 1 --bin 1 --kind unsorted", TARGET)[0]["chunks"] == len(found)


def test_a_list_in_a_circle_ends():
    heap = usual()
    first, *_, last = heap.arenas[1].fast[1]
    heap.poke(last + 16, heap.protect(last + 16, first))
    answer = run("bins --chunks --arena 1 --format json", heap.target())
    assert answer.status == 1
    assert any("circle" in p["statement"] for p in json.loads(answer.text)["problems"])


# One chunk.


@tried(30)
@given(st.integers(0, 1 << 30), KINDS, st.data())
def test_any_address_inside_finds_the_chunk(seed, kind, data):
    catalogue = catalogue_of(at_random(random.Random(seed), *kind).target())
    every = list(catalogue.chunks())
    at = data.draw(st.integers(0, len(every) - 1))
    inside = data.draw(st.integers(every[at].address, every[at].end - 1))
    if 0 < inside - every[at].address < kind[0].word and _shared(every[at - 1], every[at]):
        at -= 1
    chunk = every[at]
    found = catalogue.around(inside, 2)
    assert found.chunk == chunk
    heap = [each for each in every if each.heap == chunk.heap]
    place = heap.index(chunk)
    assert list(found.before) == heap[max(place - 2, 0) : place]
    assert list(found.after) == heap[place + 1 : place + 3]


def _shared(before, chunk):
    """Tell whether the memory of the chunk before ends in this one's header."""
    in_use = before.state in (IN_USE, TCACHE, FAST, OVERHEAD)
    return before.end == chunk.address and before.heap == chunk.heap and in_use


@tried(30)
@given(st.integers(0, 1 << 30), KINDS)
def test_the_memory_of_a_chunk_in_use_ends_a_word_behind_it(seed, kind):
    catalogue = catalogue_of(at_random(random.Random(seed), *kind).target())
    word, every = kind[0].word, list(catalogue.chunks())
    for chunk, following in zip(every, every[1:]):
        more = word if _shared(chunk, following) else 0
        if chunk.end == following.address:
            assert catalogue.memory(chunk) == (chunk.address + 2 * word, chunk.end + more)


@tried(30)
@given(st.integers(0, 1 << 30), KINDS)
def test_the_place_in_the_list_is_that_of_bins(seed, kind):
    catalogue = catalogue_of(at_random(random.Random(seed), *kind).target())
    lists = {}
    for each in catalogue.listed():
        lists.setdefault((each.arena, each.kind, each.bin), []).append(each.address)
    for chunk in catalogue.chunks():
        if chunk.state in (FAST, BINNED):
            position = catalogue.position(chunk)
            around = next([None, *a, None] for a in lists.values() if chunk.address in a)
            assert position.chunks == len(around) - 2
            at = position.place
            assert around[at - 1 : at + 2] == [position.previous, chunk.address, position.following]


def test_chunk_says_where_the_address_lies():
    address, size, _ = next(c for c in usual().arenas[1].chunks if c[2] == USED)
    for offset, words in (
        (0, "is the header of"),
        (8, "is in the header of"),
        (16, "what malloc returned for"),
        (56, "40 bytes into the memory"),
    ):
        text = " ".join(run(f"chunk {address + offset:#x}", TARGET).text.split())
        assert words in text
        assert f"{size:,} bytes, in use" in text


def test_a_chunk_that_its_list_does_not_lead_to_is_told():
    heap = usual()
    fast = heap.arenas[0].bins[1]
    lost = fast[1]
    heap.poke(fast[0] + 16, fast[2])
    answer = run(f"chunk {lost:#x}", heap.target())
    assert "no list leads to it" in " ".join(answer.text.split())
    assert answer.status == 1


def test_what_the_words_are():
    heap = usual()
    holder, _, _ = heap.arenas[0].chunks[1]
    other, other_size, _ = next(c for c in heap.arenas[1].chunks if c[2] == USED)
    for offset, value in ((16, other + 16), (24, other + 40)):
        heap.poke(holder + offset, value)
    for offset, text in ((32, b"a string"), (40, b" of two\0")):
        heap.poke(holder + offset, int.from_bytes(text, "little"))
    heap.poke(holder + 48, 7)
    words = {
        row["offset"]: row["meaning"]
        for row in json.loads(run(f"chunk {holder:#x} --format json", heap.target()).text)[
            "tables"
        ][-1]["rows"]
    }
    named = f"chunk {other:#x}, {other_size} bytes, in use"
    assert words == {
        "0x0": named,
        "0x8": f"+0x18 in {named}",
        "0x10": '"a string of two"',
        "0x18": "",
        "0x20": "",
        "0x28": "",
        "0x30": "",
    }


def test_a_pointer_at_or_behind_the_end_of_memory_means_that_memory():
    """As the end of a vector does; it lies in the header of the next chunk."""
    heap = usual()
    (holder, size, _), after = heap.arenas[0].chunks[1], heap.arenas[0].chunks[2][0]
    heap.poke(holder + 16, after)
    heap.poke(holder + 24, after + 8)
    report = json.loads(run(f"chunk {holder + 20:#x} --format json", heap.target()).text)
    meanings = [row["meaning"] for row in table(report, "words")]
    named = f"chunk {holder:#x}, {size} bytes, in use"
    assert meanings[:2] == [f"+{size - 16:#x} in {named}", f"end of {named}"]


def test_the_last_word_of_a_string_is_shown_though_it_lies_in_the_next_header():
    heap = HeapBuilder()
    chunk = heap.main.add(USED, 32)
    heap.main.add(USED, 64)
    heap.main.close(4096)
    for offset, text in ((16, b"twenty-f"), (24, b"our char"), (32, b"acters.\0")):
        heap.poke(chunk + offset, int.from_bytes(text, "little"))
    report = json.loads(run(f"chunk {chunk:#x} --format json", heap.target()).text)
    assert table(report, "words")[0]["meaning"] == '"twenty-four characters."'
    assert bytes.fromhex(report["dump"]["hex"]) == b"twenty-four characters.\0"
    inside = json.loads(run(f"chunk {chunk + 36:#x} --format json", heap.target()).text)
    assert table(inside)[0]["address"] == f"{chunk:#x}"


def test_the_header_of_a_chunk_is_its_own_though_the_memory_before_ends_there():
    first, second = (f"{usual().arenas[0].chunks[at][0]:#x}" for at in (0, 1))
    shown = run(f"chunk {second}", TARGET).text
    assert shown.startswith(f"{second} is the header of chunk {second}: ")
    assert f"The last word of chunk {first}'s memory lies there, too." in " ".join(shown.split())


def test_a_chunk_of_a_large_bin_has_four_links():
    heap = usual()
    large = next(i for i in heap.main.bins if i >= 64)
    first = heap.main.bins[large][0]
    report = json.loads(run(f"chunk {first:#x} --format json", heap.target()).text)
    names = [row["name"] for row in table(report, "words")]
    assert names == ["fd", "bk", "fd_nextsize", "bk_nextsize", None, None, None, None]


@pytest.mark.parametrize("release", [(2, 31), (2, 36)])
def test_a_protected_link_is_followed(release):
    heap = usual(AMD64, release)
    first, second = (heap.arenas[0].fast[1][i] for i in (0, 1))
    report = json.loads(run(f"chunk {first:#x} --format json", heap.target()).text)
    link = report["tables"][-1]["rows"][0]
    protected = "protected link to " if release >= (2, 32) else ""
    assert link["name"] == "fd"
    assert link["meaning"] == f"{protected}header of chunk {second:#x}, 48 bytes, fast"


@pytest.mark.parametrize("arena", [0, 1])
def test_the_ends_of_a_list_lead_to_the_head_of_its_bin(arena):
    heap = usual()
    unsorted = heap.arenas[arena].bins[1]
    target = heap.target()
    first, last = (
        table(json.loads(run(f"chunk {chunk:#x} --format json", target).text), "words")
        for chunk in (unsorted[0], unsorted[-1])
    )
    head = f"head of unsorted bin 1 of arena {arena}"
    assert (first[1]["name"], first[1]["meaning"]) == ("bk", head)
    assert (last[0]["name"], last[0]["meaning"]) == ("fd", head)


def test_outside_of_malloc_it_names_what_is_there():
    heap = usual()
    target = heap.target()
    with pytest.raises(HeapxError, match="no chunk at 0x10: nothing is mapped there"):
        run("chunk 0x10", target)
    with pytest.raises(HeapxError, match="no chunk at 0X10: nothing is mapped there"):
        run("chunk 0X10", target)
    with pytest.raises(HeapxError, match=r"the head of heap 0x[0-9a-f]+ of arena 1"):
        run(f"chunk {heap.arenas[1].heaps[0][0]:#x}", target)
    with pytest.raises(HeapxError, match="arena 2 itself, its malloc_state"):
        run(f"chunk {heap.arenas[2].address + 8:#x}", target)
    assert HeapxError.status == 3


def test_what_is_behind_a_damaged_header_is_one_unknown_chunk_with_its_neighbours_and_dump():
    heap = usual()
    arena = heap.arenas[1]
    (before, _, _), (address, _, _), *_, (last, _, _) = arena.chunks[4:]
    heap.poke(address + 8, 0x4141414141414141)
    for inside in (address, last + 16):
        answer = run(f"chunk {inside:#x} --format json", heap.target())
        report = json.loads(answer.text)
        assert answer.status == 1
        (row,) = table(report)
        assert (row["address"], row["state"]) == (f"{address:#x}", "unknown")
        assert row["size"] == arena.top - address
        around = {r["place"]: r["address"] for r in table(report, "neighbours")}
        assert (around["before"], around["after"]) == (f"{before:#x}", f"{arena.top:#x}")
        assert any("its size word is 0x4141414141414141" in note for note in report["notes"])
    dump = json.loads(run(f"chunk {address:#x} --format json", heap.target()).text)["dump"]
    assert dump["address"] == f"{address:#x}"
    assert dump["hex"][16:32] == "41" * 8
    assert [r["state"] for r in rows("chunks --state unknown", heap.target())] == ["unknown"]


@pytest.mark.parametrize("index", [0, 1])
def test_a_smashed_top_is_shown_as_smashed(index):
    heap = usual()
    top = heap.arenas[index].top
    heap.poke(top + 8, 0x4141414141414141)
    report = json.loads(run(f"chunk {top + 32:#x} --format json", heap.target()).text)
    (row,) = table(report)
    assert (row["state"], row["size"]) == ("top", heap.arenas[index].top_size)
    assert any("smashed: its size word is 0x4141414141414141" in note for note in report["notes"])
    assert report["dump"]["address"] == f"{top:#x}"


def test_a_sound_top_is_not_smashed_and_has_no_dump():
    heap = usual()
    report = json.loads(run(f"chunk {heap.main.top:#x} --format json", heap.target()).text)
    assert "dump" not in report
    assert not any("smashed" in note for note in report["notes"])


def test_where_damage_hides_a_chunk_that_is_said():
    heap = usual()
    (address, _, _), *_, (last, _, _) = heap.arenas[1].chunks[5:]
    heap.poke(address + 8, 3)
    target = heap.target()
    catalogue = catalogue_of(target)
    with pytest.raises(HeapxError, match="is unknown\n  the chunks end at"):
        catalogue.at(last)
    assert catalogue.at(heap.arenas[2].chunks[0][0]).arena == 2
    assert catalogue.at(16) is None


def test_a_cached_chunk_that_lies_where_no_chunk_is_is_told():
    heap = usual()
    chunks = heap.arenas[1].chunks
    first, size = next((address, size) for address, size, state in chunks if state == TCACHE)
    inside = next(address for address, size, _ in chunks if size == 4096) + 64
    heap.poke(inside + 8, size | 1)
    heap.poke(first + 16, heap.protect(first + 16, inside + 16))
    answer = run("chunks --format json", heap.target())
    codes = {problem["code"] for problem in json.loads(answer.text)["problems"]}
    assert answer.status == 1
    assert "cached_misplaced" in codes


def _lost_heap(broken):
    """Return a heap, and a chunk of arena 1 in a heap that nothing leads to."""
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    heap.main.close()
    arena = heap.arena()
    chunk = arena.add(USED, 128)
    arena.supersede(512)
    arena.add(USED, 64)
    arena.close(4096)
    if broken == "chain":
        newest = arena.heaps[1][0]
        heap.poke(newest + heap.layout.heap_info["prev"].offset, newest)
    else:
        heap.poke(heap.main.address + heap.layout.state["next"].offset, 0x10)
    return heap.target(), chunk


@pytest.mark.parametrize(("broken", "code"), [("chain", "heap_chain"), ("ring", "ring_broken")])
def test_a_chunk_in_a_heap_that_is_lost_is_unknown_and_not_outside(broken, code):
    target, chunk = _lost_heap(broken)
    catalogue = catalogue_of(target)
    assert [problem.code for problem in catalogue.problems] == [code]
    with pytest.raises(HeapxError, match="is unknown"):
        catalogue.at(chunk)
    with pytest.raises(HeapxError, match=r"\n  .*(chain|ring)"):
        run(f"chunk {chunk:#x}", target)


@pytest.mark.parametrize("word", [0, 0x4141414141414140, 0x4141414141414141])
@pytest.mark.parametrize(
    ("kind", "state"),
    [(USED, "in use"), (TCACHE, "tcache"), (FAST, "fast"), (FREE, "binned"), (UNSORTED, "binned")],
)
def test_the_last_chunk_before_damage_is_what_it_was(kind, state, word):
    """Whether a chunk is in use the next header tells, which is what an overflow overwrites."""
    heap = HeapBuilder()
    arena = heap.arena()
    cache = heap.thread(arena, 100)
    last = arena.add(kind, 96, cache)
    heap.poke(arena.add(USED, 128) + heap.word, word)
    arena.close(4096)
    catalogue = catalogue_of(heap.target())
    found = [chunk for chunk in catalogue.chunks() if chunk.arena == 1]
    *_, chunk, unknown, top = found
    assert [chunk.address, chunk.state] == [last, state]
    assert [unknown.state, top.state] == ["unknown", "top"]
    assert catalogue.problems


def test_a_chunk_that_no_list_leads_to_is_told_as_in_every_command():
    heap = usual()
    before, lost, after, *_ = heap.main.bins[1]
    heap.poke(before + 16, after)
    heap.poke(after + 24, before)
    target = heap.target()
    told = [p.statement for p in take(target).problems]
    assert told
    for line in ("chunks", "chunks --count", "chunks --arena 0"):
        answer = json.loads(run(f"{line} --format json", target).text)
        assert [p["statement"] for p in answer["problems"]] == told
    assert run("chunks", target).status == 1
    one = json.loads(run(f"chunk {lost:#x} --format json", target).text)
    assert "not_listed" in [problem["code"] for problem in one["problems"]]


def _cycle():
    """Return a heap whose fastbin 1 of arena 1 runs in a circle."""
    heap = usual()
    first, *_, last = heap.arenas[1].fast[1]
    heap.poke(last + 16, heap.protect(last + 16, first))
    return heap


def test_damage_of_another_arena_hides_nothing():
    heap = _cycle()
    catalogue = catalogue_of(heap.target())
    assert list(catalogue.chunks())
    assert catalogue.problems
    assert catalogue.at(heap.arenas[2].address + 8) is None
    assert catalogue.at(heap.arenas[2].chunks[0][0]) is not None


@pytest.mark.parametrize("line", ["bins --chunks", "chunks"])
@pytest.mark.parametrize("inside", [{}, {101: "_int_free"}])
def test_a_broken_list_is_told_once_and_is_no_damage_in_motion(line, inside):
    heap = _cycle()
    heap.inside = inside
    answer = run(f"{line} --format json", heap.target())
    problems = json.loads(answer.text)["problems"]
    found = [(p["code"], p["arena"], p["in_motion"]) for p in problems]
    assert found == [("in_motion" if inside else "list_cycle", 1, bool(inside))]
    assert answer.status == (0 if inside else 1)


def test_single_chunks_bring_back_no_more_from_swap_than_a_snapshot():
    heap = HeapBuilder()
    heap.residency = Pages(heap.page)
    for _ in range(50):
        heap.main.add(USED, 200 << 10)
    heap.main.close(4096)
    target = heap.target()
    heap.residency.mark(*heap.main.heaps[0], SWAPPED)
    read = {}
    for name, act in (
        ("take", take),
        ("count", lambda target: catalogue_of(target).count()),
    ):
        before = len(heap.memory.reads)
        act(target)
        read[name] = {at // heap.page for at, _ in heap.memory.reads[before:]}
    assert read["count"] <= read["take"]


@pytest.mark.parametrize("sort", ["size", "state", "list"])
@pytest.mark.parametrize("limit", [0, 1, 7, 60])
@pytest.mark.few(4)
def test_the_first_rows_of_a_sorted_stream_are_those_of_all(sort, limit):
    every = rows(f"chunks --sort {sort}", TARGET)
    assert rows(f"chunks --sort {sort} --limit {limit}", TARGET) == every[:limit]


def test_a_sorted_stream_is_not_kept():
    kept = []

    def stream():
        for number in range(5000):
            kept[:] = [r for r in kept if r() is not None]
            row = Weak([number, number])
            kept.append(weakref.ref(row))
            yield row

    columns = (Column("address", Kind.ADDRESS), Column("size", Kind.BYTES, exact=True))
    report = Report((Table("chunks", columns, stream()),))
    best = arrange(report, "size", 3, None, True)
    assert [size for _, size in best.tables[0].rows] == [4999, 4998, 4997]
    assert best.blocks[1:] == (
        Notes((note("more_rows", number=4997, summed=False, noun="row", of=None),)),
    )
    assert len(kept) < 200


class Weak(list):
    """A row that can be watched."""


def test_text_of_bins_chunks_is_bounded_too():
    heap = HeapBuilder()
    for _ in range(60):
        heap.main.add(USED, 32)
        heap.main.add(FREE, 2000)
    heap.main.add(USED, 32)
    heap.thread(heap.main, 100)
    heap.main.close(4096)
    assert len(run("bins --chunks", heap.target()).text.splitlines()) == 2 + 40 + 2
    assert len(rows("bins --chunks", heap.target())) == 60


def test_a_mmapped_chunk_that_was_not_found_is_unknown_and_not_outside():
    heap = usual()
    chunk, other = heap.mmapped(1 << 20), heap.mmapped(1 << 20)
    target = heap.target()
    heap.poke(chunk + 8, 3)
    heap.poke(other + 8, 3)  # of two neighbours nobody can tell where one ends
    catalogue = catalogue_of(target)
    with pytest.raises(HeapxError, match="is unknown"):
        catalogue.at(chunk + 64)
    with pytest.raises(HeapxError, match="glibc counts 2 mmapped chunks of 2 MiB"):
        run(f"chunk {chunk + 64:#x}", target)
    assert catalogue.at(heap.symbols["mp_"]) is None


def test_chunks_say_what_is_missing():
    heap = usual()
    heap.mmapped(1 << 20)
    target = heap.target()
    fewer = changed(target, mappings=tuple(m for m in target.space.mappings if m.size != 1 << 20))
    assert "1 mmapped chunk of 1 MiB, which were not found" in " ".join(
        run("chunks --count", fewer).text.split()
    )


def test_an_address_is_needed():
    with pytest.raises(UsageError, match="heapx chunk needs ADDRESS"):
        run("chunk", TARGET)


@pytest.mark.parametrize("offset", [0, 100, 127, 128, 1001, 1983])
def test_the_dump_shows_the_place_that_was_asked_about(offset):
    heap = HeapBuilder()
    chunk = heap.main.add(USED, 2000)
    heap.main.close(4096)
    heap.poke(chunk + 16 + offset // 8 * 8, 0x4847464544434241)
    answer = run(f"chunk {chunk + 16 + offset:#x}", heap.target()).text
    assert "ABCDEFGH" in answer
    dump = json.loads(run(f"chunk {chunk + 16 + offset:#x} --format json", heap.target()).text)
    place = int(dump["dump"]["address"], 16) - chunk - 16
    assert place == (0 if offset < 128 else offset // 16 * 16)
    assert f"\n{place:08x}  " in answer


def test_a_string_that_a_pointer_leads_to_is_quoted():
    heap = HeapBuilder()
    heap.residency = Pages(heap.page)
    holder = heap.main.add(USED, 64)
    text = heap.main.add(USED, 128)
    heap.main.close(4096)
    heap.poke(holder + 16, text + 16)
    heap.poke(text + 16, int.from_bytes(b"hello\0\0\0", "little"))
    words = table(json.loads(run(f"chunk {holder:#x} --format json", heap.target()).text), "words")
    assert words[0]["meaning"].endswith('in use: "hello"')


def test_the_top_is_a_chunk_too():
    heap = usual()
    report = json.loads(run(f"chunk {heap.main.top + 100:#x} --format json", heap.target()).text)
    assert table(report)[0]["state"] == "top"
    assert "dump" not in report


def test_nothing_at_all_is_listed_without_trouble():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    heap.main.close(4096)
    assert [row["state"] for row in rows("chunks", heap.target())] == ["in use", "top"]


# On processes.


@pytest.fixture(scope="module")
def arenas(start_once):
    return start_once("arenas", "5")


@pytest.mark.live
def test_every_chunk_of_a_process_adds_up_to_glibc_s_own_figures(arenas):
    found = told("-p", arenas.pid, "chunks", "--format", "csv")
    assert (found.status, found.err) == (0, "")
    chunks = list(csv.DictReader(io.StringIO(found.out)))
    for index, glibc in enumerate(arenas.oracle.arenas):
        mine = [row for row in chunks if row["arena"] == str(index)]
        for states, said_by_glibc in ((("fast",), glibc.fast), (("binned", "top"), glibc.rest)):
            sizes = [int(row["size"]) for row in mine if row["state"] in states]
            assert (len(sizes), sum(sizes)) == said_by_glibc


@pytest.mark.slow
@pytest.mark.live
def test_the_memory_of_a_chunk_is_what_malloc_usable_size_says(start, calling_gdb):
    process = start("mixed")
    small = ("--state", "in-use", "--max-size", "96", "--limit", "4")
    memories = [
        look(process.pid, "chunk", row["address"])["dump"]
        for row in table(look(process.pid, "chunks", *small))
    ]
    call = "print ((unsigned long (*)(void *)) malloc_usable_size)"
    lines = [f"{call}({m['address']})" for m in memories]
    answers = gdb(*lines, target=("-p", process.pid), program=calling_gdb).out
    usable = re.findall(r"^\$\d = (\d+)$", answers, re.M)
    assert [str(len(memory["hex"]) // 2) for memory in memories] == usable != []


@pytest.mark.live
@pytest.mark.parametrize(
    "expression",
    ["malloc(100)", '"a string"', "number=9", "number++", "handle_request()", "kept[0]=&number"],
)
@pytest.mark.slow
def test_an_expression_neither_writes_to_the_process_nor_calls_in_it(inferiors, expression):
    """The program stands still at its breakpoint, so only an expression could change anything."""
    shown = ("print number", "print kept[0]", "print main_arena.top")
    lines = ("break handle_request", "run", *shown)
    asked = (f"heapx chunk '{expression}'", f"heapx chunks --count --from '{expression}'")
    functions = (f"print $_heapx_size({expression})",) if "string" in expression else ()
    out = gdb(*lines, *asked, *functions, *shown, "kill", target=(inferiors / "requests",))
    values = re.findall(r"^\$\d+ = (.*)$", out.out, re.M)
    assert values[:3] == values[-3:]
    assert len(values) == 6
    assert out.err.count(f"{expression} is no address: ") == len(asked)
    assert "Traceback" not in out.err


@pytest.mark.live
def test_a_reference_is_what_it_refers_to(arenas):
    top = "main_arena.top"
    line = f"with language c++ -- print $_heapx_chunk((struct malloc_chunk &) *{top})"
    objects = (f"print $_heapx_chunk(*{top})", f"print (long) {top}")
    out = session(line, *objects, target=("-p", arenas.pid)).out
    assert len(set(re.findall(r"^\$\d+ = (\d+)$", out, re.M))) == 1, out


@pytest.mark.live
def test_chunk_takes_any_expression_and_names_symbols(arenas):
    lines = ("heapx chunk main_arena.top", "heapx chunk &main_arena", "heapx chunk no_such_symbol")
    result = session(*lines, "heapx chunk $sp", target=("-p", arenas.pid))
    assert " is the header of chunk " in result.out
    assert "no chunk at" in result.err
    assert ": main_arena in libc" in result.err
    assert 'no_such_symbol is no address: No symbol "no_such_symbol"' in result.err
    assert ": [stack] (rw-p, " in result.err
    assert "Traceback" not in result.err
