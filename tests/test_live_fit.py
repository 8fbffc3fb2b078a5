"""heapx fit says what malloc then does: on heaps at random, in any thread, on every release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fitting import Ask, Heap, difference, heap
from live import kernel_core, reports, table
from releases import glibc_of

pytestmark = pytest.mark.live

OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44
MANY, ON_OTHERS = 200, 40
USUAL = (*range(19), 49)  # 20 seeds; 49 has more than 10,000 unsorted chunks
ASKS = 12
BEYOND = (1 << 63, (1 << 64) - 1)  # bytes, beyond PTRDIFF_MAX
ELSEWHERE = ("other arenas", "arenas without a thread")
FAST, TOO_SMALL = "fast chunks, not merged", "too small"


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def some(many: range, few: int) -> list[Any]:
    """Return these as parameters, all but the first few slow."""
    return [*many[:few], *map(slow, many[few:])]


def differences(heap: Heap, asks: list[Ask], word: int = 8) -> dict[Ask, Any]:
    """Return the asks of which something doesn't come true in a child, and what."""
    said = heap.predicted(asks)
    done = {ask: heap.in_a_child(ask) for ask in asks}
    found = {ask: difference(said[ask], done[ask], word) for ask in asks}
    return {ask: (text, said[ask], done[ask]) for ask, text in found.items() if text}


@pytest.mark.few(8)
@pytest.mark.parametrize("seed", [s if s in USUAL else slow(s) for s in range(MANY)])
def test_malloc_does_what_fit_says(seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path) as found:
        assert not differences(found, found.asks(ASKS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "arch"), [*((suite, "amd64") for suite in OTHERS), ("sid", "i386")]
)
def test_malloc_of_other_releases_does_what_fit_says(suite, arch, tmp_path):
    glibc = glibc_of(suite, arch)
    exe, word = glibc.build("fit", tmp_path), 4 if arch == "i386" else 8
    for seed in range(ON_OTHERS):
        with heap(exe, seed, tmp_path / str(seed), glibc.symbols) as found:
            wrong = differences(found, found.asks(ASKS), word)
            assert (seed, wrong) == (seed, {})


@pytest.mark.slow
@pytest.mark.parametrize("seed", some(range(MANY, MANY + 20), 1))
def test_malloc_does_what_fit_says_one_time_after_the_other(seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path) as found:
        for turn in range(8):
            (ask,) = found.asks(1)
            row = found.predicted([ask])[ask]
            if row["source"] is None:  # the program would end
                assert not differences(found, [ask])
                continue
            wrong = difference(row, found.here(ask))
            assert (turn, ask, wrong) == (turn, ask, None)
            if turn % 3 == 2:
                found.change()


@pytest.mark.parametrize("size", BEYOND)
def test_malloc_fails_as_fit_says(size, inferiors, tmp_path):
    with heap(inferiors / "fit", 0, tmp_path) as found:
        ask = Ask(found.lwps[0], size)
        assert found.predicted([ask])[ask]["source"] == "fails"
        assert not differences(found, [ask])


@pytest.mark.parametrize("seed", some(range(20), 2))
def test_without_a_thread_each_arena_gives_what_it_gives_a_thread_without_tcache(
    seed, inferiors, tmp_path
):
    env = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    with heap(inferiors / "fit", seed, tmp_path, threads=3, env=env) as found:
        asks = found.asks(6)
        own = {ask: row["arena"] for ask, row in found.predicted(asks).items()}
        lines = {ask: f"heapx fit {ask.size}" for ask in asks}
        said = reports([*dict.fromkeys(lines.values())], tmp_path / "all", found.target)
        for ask in asks:
            rows = table(said[lines[ask]], "fit")
            assert {row["thread"] for row in rows} == {None}
            for row in rows:
                if row["arena"] == own[ask]:
                    assert not difference(row, found.in_a_child(ask)), (ask, row)


# Cores.


def tables_of(asks: list[Ask], found: dict[str, Any]) -> dict[Ask, Any]:
    return {ask: found[ask.command]["tables"] for ask in asks}


@pytest.mark.parametrize("seed", some(range(20, 30), 1))
@pytest.mark.parametrize("way", ["gcore", slow("kernel")])
def test_of_a_core_fit_says_the_same(way, seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path, threads=2) as found:
        asks = found.asks(ASKS)
        commands, exe = [ask.command for ask in asks], found.inferior.exe
        live = tables_of(asks, reports(commands, tmp_path / "live", found.target))
        core = kernel_core(found.inferior) if way == "kernel" else found.core(tmp_path / "core")
        dead = tables_of(asks, reports(commands, tmp_path / "dead", (exe, core)))
        core.unlink()
    assert dead == live


# What of the free memory can't serve a request, beside what glibc says is free (malloc_info).


class Lost(NamedTuple):
    """A request, its row, and the rows of what can't serve it by reason."""

    ask: Ask
    row: dict[str, Any]
    rows: dict[str, dict[str, Any]]


def lost(heap: Heap, asks: list[Ask]) -> Iterator[Lost]:
    """Yield what is said of each request, in one session of gdb."""
    said = reports([ask.command for ask in asks], heap.directory / "lost", heap.target)
    for ask in asks:
        report = said[ask.command]
        assert not report["problems"]
        (row,) = table(report, "fit")
        found = [each["rows"] for each in report["tables"] if each["name"] == "fit_unusable"]
        yield Lost(ask, row, {each["reason"]: each for rows in found for each in rows})


def bytes_of(rows: dict[str, dict[str, Any]], *reasons: str) -> int:
    return sum(rows[reason]["bytes"] for reason in reasons if reason in rows)


@pytest.mark.parametrize("seed", some(range(30, 60), 3))
def test_all_that_glibc_calls_free_can_serve_or_is_told_why_not(seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path) as found:
        free = found.inferior.oracle.mallinfo["fordblks"]
        for ask, row, rows in lost(found, found.asks(4)):
            told = bytes_of(rows, *(reason for reason in rows if "tcache" not in reason))
            in_its_bin = row["usable"] + told - free  # of the thread's tcache
            assert (in_its_bin > 0) == (row["source"] == "tcache"), ask
            assert in_its_bin % (row["chunk_size"] or 1) == 0, ask


@pytest.mark.parametrize("seed", some(range(30, 60), 3))
def test_what_is_free_in_other_arenas_is_what_glibc_says(seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path) as found:
        arenas = found.inferior.oracle.arenas
        for ask, row, rows in lost(found, found.asks(4)):
            others = [each for n, each in enumerate(arenas) if n != row["arena"]]
            free = sum(each.fast.bytes + each.rest.bytes for each in others)
            assert bytes_of(rows, *ELSEWHERE) == free, ask


@pytest.mark.parametrize("seed", some(range(30, 60), 3))
def test_what_is_too_small_is_what_glibc_has_of_smaller_sizes(seed, inferiors, tmp_path):
    """Of one list of a large bin glibc says only the smallest and the largest size."""
    with heap(inferiors / "fit", seed, tmp_path) as found:
        arenas = found.inferior.oracle.arenas
        for ask, row, rows in lost(found, found.asks(6)):
            if row["arena"] is None or (arenas[row["arena"]].fast.bytes and FAST not in rows):
                continue  # a new one; or one whose fast chunks merge first
            own, nb = arenas[row["arena"]], row["chunk_size"] or ask.size
            lists = (*own.binned_lists, *own.unsorted)
            top = own.rest.bytes - sum(each.bytes for each in lists)
            most = sum(each.bytes for each in lists if each.smallest < nb)
            least = sum(each.bytes for each in lists if each.largest < nb)
            assert least <= bytes_of(rows, TOO_SMALL) <= most + top, ask
