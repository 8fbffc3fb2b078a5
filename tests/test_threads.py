"""heapx threads: arenas and tcaches by thread, on built heaps and on a real process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from heapbuilder import PAGE, changed, usual
from live import look, table
from sessions import answer

from gdb_heapx.report.notes import sentence
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.facts import Thread


def rows_of(snapshot):
    return table(json.loads(answer("threads --format json", snapshot).text))


def test_each_thread_has_its_arena_and_what_its_tcache_holds():
    heap = usual()
    snapshot = take(heap.target())
    rows = rows_of(snapshot)
    assert [(row["thread"], row["name"], row["arena"]) for row in rows] == [
        (cache.lwp, cache.name, cache.arena.index) for cache in heap.caches
    ]
    assert [row["address"] for row in rows] == [f"{cache.address:#x}" for cache in heap.caches]
    held = [sum(map(len, cache.entries.values())) for cache in heap.caches]
    assert [row["tcache_chunks"] for row in rows] == held
    assert sum(row["tcache"] for row in rows) == sum(a.tcache for a in snapshot.arenas())


def test_a_thread_whose_data_was_not_found_holds_an_unknown_amount():
    target = usual().target()
    target = changed(target, threads=(*target.facts.threads, Thread(999, "late")))
    (late,) = (row for row in rows_of(take(target)) if row["thread"] == 999)
    assert {late[name] for name in ("arena", "address", "tcache_chunks", "tcache")} == {None}


def test_threads_that_share_an_arena_are_counted():
    heap = usual()
    heap.thread(heap.arenas[1], 200, "second")
    notes = json.loads(answer("threads --format json", take(heap.target())).text)["notes"][:1]
    assert notes == ["4 threads share 3 arenas, 2 at most in one."]


@pytest.mark.live
def test_on_a_process_every_thread_has_a_row_and_the_known_pattern_of_its_tcache(start):
    inferior = start("tcaches")
    rows = table(look(inferior.pid, "threads"))
    tasks = {int(task.name) for task in Path(f"/proc/{inferior.pid}/task").iterdir()}
    assert [row["thread"] for row in rows] == sorted(tasks)
    assert {row["name"] for row in rows} == {
        (Path(f"/proc/{inferior.pid}/task/{lwp}/comm").read_text().strip()) for lwp in tasks
    }
    cached = table(look(inferior.pid, "tcache"))
    for row in rows:
        own = [each for each in cached if each["thread"] == row["thread"]]
        assert row["tcache_chunks"] == sum(each["chunks"] for each in own)
        assert row["tcache"] == sum(each["bytes"] for each in own)


# Cores whose stacks are zeros.


def without_stacks(heap):
    """Return the process with the one thread's struct pthread on a page of zeros."""
    target = heap.target()
    stack = 0x7F5000000000
    heap.memory.regions[stack] = bytearray(PAGE)
    used, _ = heap._heads()[0]
    heap.poke(used, stack + 64)
    return target


def test_a_stack_that_is_zeros_in_a_core_was_not_dumped():
    (malloc,) = take(changed(without_stacks(usual()), live=False)).mallocs
    assert not malloc.problems
    (told,) = (sentence(note) for note in malloc.notes if note.code == "tcaches_missing")
    assert "of 3 of 3 threads are missing: their stacks are zeros in this core" in told


def test_a_stack_that_is_zeros_in_a_process_is_damage():
    (malloc,) = take(without_stacks(usual())).mallocs
    assert [problem.code for problem in malloc.problems] == ["thread_list"]
