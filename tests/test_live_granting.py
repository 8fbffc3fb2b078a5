"""heapx fit says what the kernel refuses malloc: with limits on its heap at random, malloc then
returns NULL exactly where that was said, and else does what was said.
"""

from __future__ import annotations

import random
import resource
from pathlib import Path
from typing import Any

import pytest
from fitting import Ask, Heap, difference, heap
from live import look, status, table

pytestmark = pytest.mark.live

KIB, MIB = 1 << 10, 1 << 20
USAGE = {"RLIMIT_AS": "VmSize", "RLIMIT_DATA": "VmData"}
ROOM = (0, 4 * KIB, 64 * KIB, MIB, 30 * MIB, 63 * MIB, 128 * MIB, 140 * MIB)
BY_CHANCE = "is chance"
SEEDS = 60


def limit(heap: Heap, name: str, room: int) -> None:
    """Let the process have so much more of what a limit counts."""
    used = int(status(heap.inferior.pid, USAGE[name]).split()[0]) * KIB
    which = {"RLIMIT_AS": resource.RLIMIT_AS, "RLIMIT_DATA": resource.RLIMIT_DATA}[name]
    resource.prlimit(heap.inferior.pid, which, (used + room, resource.RLIM_INFINITY))


def wrong(row: dict[str, Any], heap: Heap, ask: Ask) -> str | None:
    """Return what of a prediction didn't come true; None where all did."""
    answer = heap.in_a_child(ask)
    if row["refused_by"] is None or answer is None:
        return difference(row, answer)
    return None if answer.what == "fails" else f"{answer.what}, not refused"


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_malloc_returns_null_exactly_where_fit_says_so(seed, inferiors, tmp_path):
    chance = random.Random(seed)
    with heap(inferiors / "fit", 1000 + seed, tmp_path) as found:
        limits = chance.choice((("RLIMIT_AS",), ("RLIMIT_DATA",), ("RLIMIT_AS", "RLIMIT_DATA")))
        for name in limits:
            limit(found, name, chance.choice(ROOM))
        sizes = [100 * KIB, *(chance.randrange(1 << chance.randrange(12, 28)) for _ in range(8))]
        asks = [*found.asks(4), *(Ask(chance.choice(found.lwps), size) for size in sizes)]
        rows = found.predicted(asks)
        told = {ask: row for ask, row in rows.items() if BY_CHANCE not in (row["reason"] or "")}
        differing = {ask: text for ask, row in told.items() if (text := wrong(row, found, ask))}
        assert {ask: (text, rows[ask]) for ask, text in differing.items()} == {}


def test_what_is_more_than_ram_and_swap_is_refused(inferiors, tmp_path):
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "0":
        pytest.skip("vm.overcommit_memory isn't 0 here")
    kib = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    whole = (int(kib["MemTotal:"]) + int(kib["SwapTotal:"])) * KIB
    with heap(inferiors / "fit", 0, tmp_path, threads=1, env={}) as found:
        sizes = (whole - 64 * KIB, whole, whole + MIB, 1 << 60)
        asks = [Ask(found.lwps[0], size) for size in sizes]
        rows = found.predicted(asks)
        assert [rows[ask]["source"] for ask in asks[:2]] == [
            "mmap",
            "extend",
        ]  # less by what top has
        assert [rows[ask]["refused_by"] for ask in asks] == [None, None, *["overcommit"] * 2]
        assert [wrong(rows[ask], found, ask) for ask in asks] == [None] * 4


def test_the_note_tells_what_the_limit_is_and_what_is_used_of_it(inferiors, tmp_path):
    with heap(inferiors / "fit", 0, tmp_path, threads=1, env={}) as found:
        pid, lwp = found.inferior.pid, found.lwps[0]
        limit(found, "RLIMIT_AS", MIB)
        report = look(pid, "fit", 5 * MIB, "--thread", lwp)
        (row,) = table(report, "fit")
        (text,) = (each for each in report["notes"] if "RLIMIT_AS" in each)
        assert row["source"] == "mmap"
        assert row["grows"] > 5 * MIB
        assert text.startswith(f"malloc({5 * MIB:,}) returns NULL in thread {lwp}: RLIMIT_AS is ")
