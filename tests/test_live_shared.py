"""What a forked process shares, to the page: the oracle is the kernel, and a real malloc_trim.

Each process of a family calls malloc_trim by itself. Its RSS falls by what was returned, the PSS of
the whole family by what of that was private.
"""

from __future__ import annotations

import os
import re
import signal
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import PAGE, Inferior, at_rest, eventually, gcore, heapx, look, reports, table, told

pytestmark = pytest.mark.live

WORKERS, THREADS, MIB = 3, 4, 8
LOOKS = 20
COMMANDS = ("heapx", "heapx why", "heapx ledger", "heapx arenas", "heapx trim")
PRESENT, EXCLUSIVE = 1 << 63, 1 << 56  # Documentation/admin-guide/mm/pagemap.rst
FIELDS = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Shared_Clean", "Shared_Dirty")


class Row(NamedTuple):
    """One mapping by smaps, in bytes."""

    start: int
    end: int
    malloc: bool
    rss: int
    pss: int
    private: int
    shared: int


def smaps(pid: int) -> list[Row]:
    """Return the mappings; `malloc` may be where malloc has put memory."""
    rows = []
    for block in re.split(r"(?m)^(?=[0-9a-f]+-)", Path(f"/proc/{pid}/smaps").read_text())[1:]:
        head, *lines = block.splitlines()
        span, permissions, *_, inode_and_name = head.split(None, 4)
        start, end = (int(part, 16) for part in span.split("-"))
        sizes = {k: int(v.split()[0]) << 10 for k, _, v in (s.partition(":") for s in lines[:-1])}
        rss, pss, *parts = (sizes[name] for name in FIELDS)
        anonymous = permissions == "rw-p" and inode_and_name.split()[0] == "0"
        own = anonymous and "[stack" not in head
        rows.append(Row(start, end, own, rss, pss, sum(parts[:2]), sum(parts[2:])))
    return rows


def of_malloc(pid: int) -> Row:
    """Return the sums over memory that malloc may have: anonymous, but no [stack]."""
    rows = [row for row in smaps(pid) if row.malloc]
    return Row(0, 0, True, *(sum(row[i] for row in rows) for i in range(3, 7)))


class Family(NamedTuple):
    """A parent with its workers, and what heapx says of each: its reports by command."""

    parent: Inferior
    workers: list[int]
    said: dict[int, dict[str, dict[str, Any]]]

    @property
    def pids(self) -> list[int]:
        return [*self.workers, self.parent.pid]


def family_of(parent: Inferior, directory: Path) -> Family:
    workers = [int(pid) for kind, pid in parent.oracle.known if kind == "worker"]
    for pid in workers:
        eventually(lambda pid=pid: at_rest(pid), f"worker {pid} rests")
    said = {p: reports(COMMANDS, directory, ("-p", p)) for p in [parent.pid, *workers]}
    return Family(parent, workers, said)


@pytest.fixture(scope="module")
def family(start_once: Any, tmp_path_factory: Any) -> Family:
    words = (str(WORKERS), str(THREADS), str(MIB))
    parent = start_once("forked", *words, env={"HEAPX_THEN": "0"})
    return family_of(parent, tmp_path_factory.mktemp("forked"))


def finding(report: dict[str, Any], code: str) -> dict[str, Any] | None:
    return next((each for each in report["findings"] if each["code"] == code), None)


def text_of(pid: int, *words: str) -> str:
    """Return what a command says, its lines joined."""
    return " ".join(told("-p", pid, *words).out.split())


# Before anybody trims: the kernel's own figures.


def said_and_counted(pid: int, column: str, *command: str) -> tuple[list[dict[str, Any]], int]:
    """Return a command's first table, and the bytes of a column that the kernel counted before it
    as well as behind it: which pages of files are shared changes as other processes come and go.
    """

    def counted() -> int:
        return sum(getattr(row, column) for row in smaps(pid))

    for _ in range(LOOKS):
        before, rows = counted(), table(look(pid, *command))
        if before == counted():
            return rows, before
    pytest.fail(f"in {LOOKS} looks what others share never stood still")


def test_the_ledgers_shared_bytes_are_the_kernels(family):
    for pid in family.pids:
        rows, counted = said_and_counted(pid, "shared", "ledger")
        assert sum(row["shared"] for row in rows) == counted


@pytest.mark.slow
def test_the_private_parts_of_the_first_screen_are_the_kernels(family):
    for pid in family.pids:
        rows, counted = said_and_counted(pid, "private")
        assert sum(row["private"] for row in rows) == counted
        assert all(0 <= row["private"] <= row["resident"] for row in rows)


def test_a_look_at_what_is_in_use_leaves_what_processes_share_as_it_is(family):
    """Reading must not give a process copies of its own."""
    pid = family.pids[0]
    before = [row for row in smaps(pid) if row.malloc]
    look(pid, "types")
    assert [row for row in smaps(pid) if row.malloc] == before


def test_what_each_arena_shares_is_what_pagemap_says_of_its_pages(family):
    for pid in family.pids:
        heaps = table(look(pid, "heaps"))
        shared = dict.fromkeys({row["arena"] for row in heaps}, 0)
        for row in heaps:
            shared[row["arena"]] += shared_in(pid, int(row["address"], 16), row["size"])
        said = {row["arena"]: row["shared"] for row in table(family.said[pid]["heapx arenas"])}
        assert said == shared
        assert len(said) == THREADS + 1


def shared_in(pid: int, start: int, size: int) -> int:
    """Return how many bytes are in pages that others have mapped; no zero page is there."""
    first, stop = start // PAGE, -(-(start + size) // PAGE)
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        entries = array("Q", os.pread(pagemap.fileno(), 8 * (stop - first), 8 * first))
    return sum(
        min(start + size, (first + i + 1) * PAGE) - max(start, (first + i) * PAGE)
        for i, entry in enumerate(entries)
        if entry & PRESENT and not entry & EXCLUSIVE
    )


def test_arenas_of_the_parents_threads_are_said_to_be_that_in_a_worker_and_only_there(family):
    for pid in family.workers:
        told_of = finding(family.said[pid]["heapx why"], "parents_arenas")
        assert told_of["statement"].startswith(f"{THREADS} arenas came with the fork")
        assert f"process {family.parent.pid}" in told_of["statement"]
        assert told_of["remedy"].startswith("In the parent")
        assert finding(family.said[pid]["heapx why"], "idle_arenas") is None
        assert any(
            "Came with the fork" in note for note in family.said[pid]["heapx arenas"]["notes"]
        )
    of_parent = family.said[family.parent.pid]
    assert finding(of_parent["heapx why"], "parents_arenas") is None
    assert not any("Came with" in note for note in of_parent["heapx arenas"]["notes"])


def test_stacks_of_the_parents_threads_are_said_to_be_that_in_a_worker(family):
    for pid in family.pids:
        notes = " ".join(family.said[pid]["heapx ledger"]["notes"])
        known = f"of {THREADS} threads that stayed in process {family.parent.pid}," in notes
        assert known == (pid != family.parent.pid)
    told_of = finding(family.said[family.workers[0]]["heapx why"], "parents_stacks")
    assert told_of["statement"].startswith(f"{THREADS} stacks came with the fork")
    assert told_of["bytes"] >= THREADS << 16  # each has used so much


def test_the_finding_says_what_is_private_and_that_the_parent_must_trim(family):
    for pid in family.pids:
        report = family.said[pid]["heapx why"]
        told_of = finding(report, "returnable")
        assert "is private: the rest stays in RAM" in told_of["statement"]
        assert told_of["remedy"].startswith("malloc_trim(0) in the parent")
        of_a_worker = f"process {family.parent.pid}," in told_of["remedy"]
        assert of_a_worker == (pid != family.parent.pid)


@pytest.mark.slow
def test_text_tells_private_and_shared_where_pages_are_shared(family):
    pid = family.workers[0]
    assert re.search(r"RSS \S+ MiB \(\S+ \w+ private\) = ", text_of(pid))
    assert "is shared with other processes since a fork; PSS is" in text_of(pid)
    assert "PSS, which divides" in text_of(pid, "ledger")
    assert re.search(r"private .* Of it private: [\d,]+ bytes\.", text_of(pid, "trim"))
    assert "resident shared" in text_of(pid, "ledger")


@pytest.mark.slow
def test_a_process_that_shares_nothing_is_shown_as_ever(start):
    pid = start("mixed").pid
    for words in ((), ("why",), ("trim",), ("ledger",), ("arenas",)):
        text = text_of(pid, *words)
        assert "private" not in text
        assert "shared" not in text.replace("shared memory", "")
    assert all(row["shared"] == 0 for row in table(look(pid, "arenas")))
    (row, *_) = table(look(pid, "trim"))
    assert row["returned_private"] == row["returned"]


# Real malloc_trims, one after the other. Nothing else in the family runs meanwhile.


class Trimmed(NamedTuple):
    """What was said before a process trimmed, and what the kernel then showed of all."""

    said: dict[str, Any]
    before: dict[int, Row]
    after: dict[int, Row]


def trim(family: Family, pid: int) -> Trimmed:
    (total,) = (look(pid, "trim")["tables"][0]["total"],)
    name = "trimmed" if pid == family.parent.pid else f"trimmed-{family.workers.index(pid)}"
    before = {each: of_malloc(each) for each in family.pids}
    os.kill(pid, signal.SIGUSR1)
    done = family.parent.oracle.directory / name
    eventually(lambda: done.exists() and at_rest(pid), "malloc_trim")
    return Trimmed(total, before, {each: of_malloc(each) for each in family.pids})


@pytest.fixture(scope="module")
def trimmed(start_once: Any) -> Iterator[list[tuple[int, Trimmed]]]:
    words = (str(WORKERS), str(THREADS), str(MIB))
    parent = start_once("forked", *words, env={"HEAPX_THEN": "0"})
    workers = [int(pid) for kind, pid in parent.oracle.known if kind == "worker"]
    family = Family(parent, workers, {})
    return [(pid, trim(family, pid)) for pid in family.pids]


def pss(rows: dict[int, Row]) -> int:
    return sum(row.pss for row in rows.values())


def test_rss_falls_by_what_is_returned_to_the_page(trimmed):
    for pid, each in trimmed:
        assert each.said["returned"] == each.before[pid].rss - each.after[pid].rss


def test_private_memory_falls_by_the_private_part_to_the_page(trimmed):
    for pid, each in trimmed:
        assert each.said["returned_private"] == each.before[pid].private - each.after[pid].private


def test_the_pss_of_the_family_falls_by_the_private_part_alone(trimmed):
    for pid, each in trimmed:
        rounded = 1024 * sum(row.malloc for _ in each.before for row in smaps(pid))  # Pss is in kB
        fall = pss(each.before) - pss(each.after)
        assert abs(each.said["returned_private"] - fall) <= rounded
        if pid == trimmed[0][0]:
            assert each.said["returned"] - each.said["returned_private"] > MIB << 20


def test_the_rest_leaves_ram_once_the_last_of_the_family_has_trimmed(trimmed):
    (first, *_, last) = (each for _, each in trimmed)
    assert first.said["returned_private"] < first.said["returned"] // 10
    assert last.said["returned_private"] == last.said["returned"]
    assert last.said["returned"] > MIB << 20


# Where it isn't proven.


def test_what_threads_of_a_worker_have_taken_over_and_left_is_no_longer_the_parents(
    start, tmp_path
):
    parent = start("forked", "1", "2", str(MIB), "later")
    family = family_of(parent, tmp_path)
    said = family.said[family.workers[0]]
    arenas = table(said["heapx arenas"])
    assert len(arenas) > 3  # at once it had more threads than the parent
    assert [row["threads"] for row in arenas[1:]] == [0] * (len(arenas) - 1)
    assert not any("Came with" in note for note in said["heapx arenas"]["notes"])
    assert finding(said["heapx why"], "parents_arenas") is None
    assert finding(said["heapx why"], "idle_arenas") is not None


def test_arenas_of_threads_that_had_ended_before_the_fork_are_not_the_parents(start, tmp_path):
    parent = start("forked", "1", "3", str(MIB), "before")
    family = family_of(parent, tmp_path)
    said = family.said[family.workers[0]]
    assert [row["threads"] for row in table(said["heapx arenas"])] == [1, 0, 0, 0]
    assert all(row["shared"] > MIB << 19 for row in table(said["heapx arenas"]))
    assert finding(said["heapx why"], "parents_arenas") is None
    assert finding(said["heapx why"], "idle_arenas") is not None


@pytest.mark.slow
def test_in_a_core_nothing_is_said_to_be_the_parents(start, tmp_path):
    parent = start("forked", "1", "2", str(MIB))
    (worker,) = (int(pid) for kind, pid in parent.oracle.known if kind == "worker")
    core = gcore(worker, tmp_path / "core")
    result = heapx("--core", core, "--exe", parent.exe, "why", "--format", "json")
    core.unlink()
    assert result.status == 0
    assert finding(result.report, "parents_arenas") is None
    assert finding(result.report, "idle_arenas") is not None


def test_a_program_that_a_shell_started_was_not_forked_from_it(start):
    notes = look(start("trim", "ended").pid, "arenas")["notes"]
    assert not any("fork" in note for note in notes)
