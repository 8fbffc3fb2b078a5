"""heapx compare: what has changed is what the process itself counted, and what the kernel says."""

from __future__ import annotations

import re

import pytest
from changing import changing, compared, rows
from live import look, status

from gdb_heapx.compare.arenas import malloc_change
from gdb_heapx.compare.owners import whole_change
from gdb_heapx.compare.relation import Relation
from gdb_heapx.target.amounts import sum_of

pytestmark = pytest.mark.live

MIB = 1 << 20
SMALL = 32  # the chunk that stays behind the others
GROWS = ("grow,1,20000,2064", "grow,2,500,5008")
FREES = ("free,1", "map,8388608")


def verdict(report) -> str:
    """Return the note that is the verdict."""
    return next(n for n in report["notes"] if n.startswith("In use ") and n.endswith("."))


@pytest.fixture(scope="module")
def scene(start_once, tmp_path_factory):
    """Return a process with a file of before, after it grew, and after it freed that."""
    base, process = tmp_path_factory.mktemp("compare"), changing(start_once, *GROWS, *FREES)
    files, counts = [process.save(base / "0.json")], [process.counts]
    for number in (1, 2):
        counts.append(process.step(2))
        files.append(process.save(base / f"{number}.json.gz"))
    return process, files, counts


def test_what_grew_in_use_is_what_the_process_has_counted(scene):
    _, files, (before, after, _) = scene
    changes = compared(files[0], files[1])
    more = after.held - before.held
    assert sum(row.in_use or 0 for row in changes.arenas) == more
    assert changes.new.snapshot.in_use - changes.old.snapshot.in_use == more
    sizes = {row.size: row.in_use_chunks for row in changes.sizes or ()}
    assert sizes == {2064: 20_000, 5008: 500, SMALL: 2}
    assert sum(sizes.values()) == after.chunks - before.chunks


def test_by_arena_it_is_what_each_thread_has(scene):
    """The second thread's arena goes in behind the main one: that of the first moves on."""
    _, files, _ = scene
    changes = compared(files[0], files[1])
    assert {row.number: row.in_use for row in changes.arenas if row.number} == {
        2: 20_000 * 2064 + SMALL,
        1: 500 * 5008 + SMALL,
    }


def test_what_was_freed_is_free_and_resident_in_its_arena(scene):
    _, files, (_, before, after) = scene
    changes = compared(files[1], files[2])
    (arena,) = [row for row in changes.arenas if row.in_use]
    freed = before.held - after.held
    assert (arena.in_use, arena.free.amount.bytes, arena.free.amount.resident) == (
        -freed,
        freed,
        freed,
    )


def test_the_differences_by_owner_are_the_difference_of_rss(scene):
    """Exactly, and those of arenas and mmapped chunks that of malloc."""
    _, files, _ = scene
    for old, new in (files[:2], files[1:], (files[0], files[2])):
        changes = compared(old, new)
        rss = [look.snapshot.target.rss for look in (changes.old, changes.new)]
        assert whole_change(changes.owners).resident == rss[1] - rss[0]
        malloc = malloc_change(changes.old, changes.new)
        arenas = sum_of(row.change.amount for row in changes.arenas)
        assert (arenas.bytes, arenas.resident) == (malloc.bytes, malloc.resident)
        parts = changes.equation.parts
        assert (
            sum(part.change for part in parts) == changes.equation.whole.change == rss[1] - rss[0]
        )


def test_other_memory_is_told_by_its_owner(scene):
    _, files, _ = scene
    changes = compared(files[1], files[2])
    (row,) = [row for row in changes.owners if row.name == "other anonymous memory"]
    assert (row.change.amount.bytes, row.change.amount.resident) == (8 * MIB, 8 * MIB)


def test_from_a_file_to_now_is_as_from_a_file_to_a_file(scene):
    process, files, _ = scene
    report = look(process.pid, "compare", files[1])
    # Pages of the program's and libc's files come and go: they are outside malloc, too.
    assert re.sub(r"\+8\.\d MiB", "+8 MiB", verdict(report)) == (
        "In use -39.4 MiB; free resident +39.4 MiB, all in arena 2; outside malloc +8 MiB: "
        "the growth isn't malloc's; what the program freed stays in malloc: retention."
    )
    assert rows(report)["binned"]["resident_change"] == 20_000 * 2064
    assert not [n for n in report["notes"] if "processes" in n]


def test_the_same_process_is_known_by_when_it_began(scene, tmp_path):
    process, files, _ = scene
    now = process.save(tmp_path / "now.json")
    assert compared(files[0], now).relation is Relation.SAME
    assert int(status(process.pid, "Tgid")) == process.pid
