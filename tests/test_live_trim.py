"""heapx trim foretells to the page what a real malloc_trim then gives back."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import (
    PAGE,
    Inferior,
    at_rest,
    eventually,
    gcore,
    heapx,
    look,
    reports,
    running,
    scenes,
    table,
)

pytestmark = pytest.mark.live

MIB = 1 << 20
NO_TCACHE = "glibc.malloc.tcache_count=0"
MUCH_TCACHE = "glibc.malloc.tcache_count=10000"
HUGE = "glibc.malloc.hugetlb=1"
IN_MMAPS = "glibc.malloc.hugetlb=2"
ONE_ARENA = "glibc.malloc.arena_max=1"

FREE = ("binned", "fast", "tcache", "top")
RETURNED = ("returned_below_top", "returned_top")
PARTS = (
    *RETURNED,
    "already_returned",
    "kept_top",
    "kept_tcache",
    "kept_partial_page",
    "kept_small_bins",
    "kept_locked",
    "kept_foreign_brk",
)


class Case(NamedTuple):
    """How to start a program; `shows` are columns that its heap is for, where it has 100 KiB."""

    words: str
    tunables: str = ""
    shows: tuple[str, ...] = ("returned_below_top",)
    pad: int = 0


CASES = {
    "live chunks sprinkled over the main arena": Case("trim sprinkled"),
    "live chunks sprinkled over four arenas": Case("trim sprinkled 4"),
    "heaps of 64 MiB, a quarter of their pages touched": Case(
        "trim patchwork 2", shows=("returned_below_top", "already_returned")
    ),
    "eight arenas of several heaps": Case("arenas 80"),
    "bins of every kind": Case("mixed"),
    "bins of every kind, in mmaps": Case("mixed", IN_MMAPS),
    "free chunks of one and two pages": Case("trim page_sized", shows=("kept_partial_page",)),
    "free chunks of one and two pages, in a thread": Case(
        "trim page_sized 1", shows=("kept_partial_page",)
    ),
    "no page is whole": Case("trim crumbs", shows=("kept_small_bins",)),
    "no page is whole, in two arenas": Case("trim crumbs 2", shows=("kept_small_bins",)),
    "aligned chunks and what alignment left over": Case("trim aligned"),
    "aligned chunks, in two arenas": Case("trim aligned 2"),
    "a fast chunk makes top reach lower": Case(
        "trim fast_beside_top", NO_TCACHE, ("returned_top",)
    ),
    "a fast chunk gives its neighbour to a top that stays": Case(
        "trim fast_beside_top 2", NO_TCACHE, ("kept_top",)
    ),
    "fast chunks make parts of pages whole": Case(
        "trim fast_between_free", NO_TCACHE, ("returned_below_top", "kept_partial_page")
    ),
    "fast chunks make parts of pages whole, in a thread": Case(
        "trim fast_between_free 1", NO_TCACHE, ("returned_below_top", "kept_partial_page")
    ),
    "fast chunks in long rows": Case("fast 100000", NO_TCACHE, ()),
    "a top hardly touched": Case("trim untouched_top", shows=("returned_top", "already_returned")),
    "a top of pad that nobody touched": Case("untouched_top", shows=("already_returned",)),
    "a large top": Case("trim large_top", shows=("returned_top",)),
    "a large top of a thread's arena": Case("trim large_top 1", shows=("kept_top",)),
    "a top that top_pad holds": Case("trim padded_top", shows=("returned_top", "already_returned")),
    "one arena for four threads": Case("trim sprinkled 4", ONE_ARENA),
    "no tcache": Case("trim sprinkled 2", NO_TCACHE),
    "32 threads with full tcaches": Case("trim cached 32"),
    "tcaches that hold everything": Case("trim cached 2", MUCH_TCACHE, ("kept_tcache",)),
    "the break has moved on": Case(
        "trim foreign_break", shows=("returned_below_top", "kept_foreign_brk")
    ),
    "the break has moved between": Case(
        "trim break_between", shows=("returned_below_top", "returned_top")
    ),
    "the break has moved between, twice": Case("foreign_sbrk", shows=("kept_partial_page",)),
    "the break was blocked": Case(
        "trim break_blocked", shows=("returned_below_top", "kept_foreign_brk")
    ),
    "the break was blocked for a while": Case(
        "trim break_unblocked", shows=("returned_below_top", "returned_top")
    ),
    "all memory locked": Case("trim locked", shows=("returned_top", "kept_locked")),
    "memory locked in part": Case(
        "trim locked_in_part", shows=("returned_below_top", "kept_locked")
    ),
    "memory locked in part, in a thread": Case(
        "trim locked_in_part 1", shows=("returned_below_top", "kept_locked")
    ),
    "much given back before": Case(
        "trim given_back", shows=("returned_below_top", "already_returned")
    ),
    "much given back before, in two arenas": Case(
        "trim given_back 2", shows=("returned_below_top", "already_returned")
    ),
    "given-back pages that were read since": Case(
        "trim read_since", shows=("returned_below_top", "already_returned")
    ),
    "given-back pages that were read since, in a thread": Case(
        "trim read_since 1", shows=("returned_below_top", "already_returned")
    ),
    "heaps that free has shrunk": Case("trim shrunk 2"),
    "pages shared with a child": Case("trim forked"),
    "arenas that no thread is left in": Case("trim ended"),
    "huge pages": Case("trim sprinkled", HUGE, ("returned_below_top", "kept_top")),
    "huge pages in four arenas": Case("trim sprinkled 4", HUGE),
    # What stays of top is below a huge page, down to nothing: it depends on where the break began.
    "huge pages in top": Case("trim large_top", HUGE, ("returned_top",)),
    "huge pages in a top hardly touched": Case(
        "trim untouched_top", HUGE, ("returned_top", "already_returned")
    ),
    "huge pages, given back and read since": Case(
        "trim read_since", HUGE, ("returned_below_top", "already_returned")
    ),
    "huge pages, locked in part": Case(
        "trim locked_in_part", HUGE, ("returned_below_top", "kept_locked")
    ),
    "huge pages, shared with a child": Case("trim forked", HUGE),
    "a main arena in mmaps": Case("trim sprinkled", IN_MMAPS),
    "a main arena in mmaps, given back and read since": Case(
        "trim read_since", IN_MMAPS, ("returned_below_top", "already_returned")
    ),
    "a pad within a large top": Case("trim large_top", "", ("returned_top", "kept_top"), MIB),
    "a pad larger than top": Case("trim large_top", "", ("kept_top",), 100 * MIB),
    "a pad that isn't whole pages": Case(
        "trim untouched_top", "", ("returned_top", "already_returned"), 3 * MIB + 17
    ),
    "a pad with huge pages": Case("trim large_top", HUGE, ("returned_top", "kept_top"), MIB),
    "a pad with four arenas": Case("trim sprinkled 4", "", ("returned_below_top",), MIB),
}


LIVE = (  # one for each mechanism
    "live chunks sprinkled over four arenas",
    "free chunks of one and two pages",
    "a fast chunk makes top reach lower",
    "fast chunks make parts of pages whole, in a thread",
    "a top that top_pad holds",
    "tcaches that hold everything",
    "the break has moved on",
    "the break was blocked",
    "memory locked in part",
    "given-back pages that were read since",
    "pages shared with a child",
    "huge pages in top",
    "a main arena in mmaps",
    "a pad that isn't whole pages",
)


class Heap(NamedTuple):
    """The addresses of one heap, and its arena."""

    arena: int
    start: int
    end: int


class Measured(NamedTuple):
    """What the kernel calls resident: by mapping that may be malloc's, and by arena."""

    by_mapping: dict[str, int]
    by_arena: dict[int, int]


class Seen(NamedTuple):
    """What heapx said, and what the kernel said before that, after it, and after the trim."""

    trim: dict[str, Any]
    arenas: list[dict[str, Any]]
    untouched: dict[str, int]
    before: Measured
    after: Measured

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.trim["rows"]


def _rss(pid: int) -> dict[str, int]:
    """Return the Rss in bytes of each mapping that malloc may have made.

    Not [stack]: malloc_trim's own calls may need another page of it.
    """
    rss, mapping = {}, ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            span, permissions, _offset, _device, inode, *name = words
            ours = (permissions, inode) == ("rw-p", "0") and name in ([], ["[heap]"])
            mapping = span if ours else ""
        elif mapping and words[0] == "Rss:":
            rss[mapping] = int(words[1]) << 10
    return rss


def _measure(pid: int, heaps: list[Heap]) -> Measured:
    by_arena = dict.fromkeys((heap.arena for heap in heaps), 0)
    for heap in heaps:
        by_arena[heap.arena] += _resident(pid, heap)
    return Measured(_rss(pid), by_arena)


def _resident(pid: int, heap: Heap) -> int:
    """Return how many bytes are in memory of the pages of a heap, by /proc/PID/pagemap.

    That is what is present (bit 63) and exclusively mapped (bit 56): a zero page isn't.
    """
    first, stop = heap.start // PAGE, -(-heap.end // PAGE)
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        entries = array("Q", os.pread(pagemap.fileno(), 8 * (stop - first), 8 * first))
    return PAGE * sum(entry >> 63 & entry >> 56 & 1 for entry in entries)


def _huge_pages() -> str:
    mode = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return mode.read_text().strip() if mode.exists() else "never"


@contextlib.contextmanager
def launch(inferiors: Path, case: Case, directory: Path) -> Iterator[Inferior]:
    program, *arguments = case.words.split()
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if "locked" in case.words and os.geteuid() and 0 <= limit < 8 * MIB:
        pytest.skip(f"only {limit} bytes may be locked here")
    if case.tunables == HUGE and "[madvise]" not in _huge_pages():
        pytest.skip(f"glibc asks for huge pages only in the mode madvise: {_huge_pages()}")
    env = {"HEAPX_THEN": str(case.pad), "GLIBC_TUNABLES": case.tunables}
    with running(inferiors / program, *arguments, directory=directory, env=env) as inferior:
        yield inferior


def _trim(inferior: Inferior) -> int:
    """Make the program call malloc_trim, and return what that returned."""
    os.kill(inferior.pid, signal.SIGUSR1)
    trimmed = inferior.oracle.directory / "trimmed"
    eventually(lambda: trimmed.exists() and at_rest(inferior.pid), "malloc_trim")
    return int(trimmed.read_text())


@pytest.fixture(scope="module", params=scenes(CASES, LIVE))
def name(request: Any) -> str:
    return request.param


@pytest.fixture(scope="module")
def seen(name: str, inferiors: Path, tmp_path_factory: Any) -> Seen:
    directory, case = tmp_path_factory.mktemp("trim"), CASES[name]
    with launch(inferiors, case, directory) as inferior:
        pid = inferior.pid
        untouched = _rss(pid)
        commands = ("heapx heaps", "heapx arenas", f"heapx trim --pad {case.pad}")
        said = reports(commands, directory, ("-p", pid))
        heaps, arenas, trim = said.values()
        places = [_heap(row) for row in table(heaps)]
        before = _measure(pid, places)
        _trim(inferior)
        after = _measure(pid, places)
    assert trim["problems"] == []
    return Seen(trim["tables"][0], table(arenas), untouched, before, after)


def _heap(row: dict[str, Any]) -> Heap:
    start = int(row["address"], 16)
    return Heap(row["arena"], start, start + row["size"])


@pytest.mark.few(6)
def test_all_that_leaves_memory_was_foretold(seen):
    before, after = (sum(each.by_mapping.values()) for each in (seen.before, seen.after))
    assert seen.trim["total"]["returned"] == before - after


def test_what_leaves_each_arena_was_foretold(name, seen):
    if "child" in name:
        pytest.skip("the pages are not mapped exclusively: see the sum of all arenas")
    before, after = seen.before.by_arena, seen.after.by_arena
    fall = {arena: before[arena] - after[arena] for arena in before}
    assert {row["arena"]: row["returned"] for row in seen.rows} == fall


@pytest.mark.few(3)
def test_looking_changes_nothing(seen):
    assert seen.before.by_mapping == seen.untouched


def test_the_parts_are_all_that_is_free(seen):
    free = {row["arena"]: sum(row[state] for state in FREE) for row in seen.arenas}
    assert {row["arena"]: sum(row[part] for part in PARTS) for row in seen.rows} == free


def test_no_part_is_negative_or_more_resident_than_large(seen):
    for row in seen.rows:
        for part in PARTS:
            assert 0 <= row[f"{part}_resident"] <= row[part], part


def test_what_is_returned_is_whole_resident_pages_at_two_places(seen):
    for row in seen.rows:
        assert row["returned"] == sum(row[f"{part}_resident"] for part in RETURNED)
        assert all(row[f"{part}_resident"] % PAGE == 0 for part in RETURNED)
        assert row["already_returned_resident"] == 0


def test_the_total_is_the_sum_of_the_arenas(seen):
    for column in ("returned", *PARTS, *(f"{part}_resident" for part in PARTS)):
        assert seen.trim["total"][column] == sum(row[column] for row in seen.rows)


def test_the_heap_has_what_it_is_for(name, seen):
    small = [part for part in CASES[name].shows if seen.trim["total"][part] < 100 << 10]
    assert not small, seen.trim["total"]


def test_without_a_pad_it_is_malloc_trim_0(start):
    inferior = start("trim", "large_top")
    assert table(look(inferior.pid, "trim")) == table(look(inferior.pid, "trim", "--pad", "0"))


def test_of_two_libcs_what_the_program_s_own_returns_was_foretold(start):
    inferior = start("two_libcs", env={"HEAPX_THEN": "0"})
    own, other = table(look(inferior.pid, "trim"))
    before = sum(_rss(inferior.pid).values())
    _trim(inferior)
    assert own["returned"] == before - sum(_rss(inferior.pid).values())
    assert table(look(inferior.pid, "trim"))[1] == other


UNKNOWN_IN_A_CORE = ("returned", *RETURNED, "already_returned")


@pytest.mark.parametrize("words", ["sprinkled 2", "given_back", "fast_beside_top 1", "large_top"])
@pytest.mark.slow
def test_a_core_tells_what_is_kept_but_not_what_is_in_memory(start, tmp_path, words):
    inferior = start("trim", *words.split())
    live = look(inferior.pid, "trim")
    core = gcore(inferior.pid, tmp_path / "core")
    result = heapx("--core", core, "--exe", inferior.exe, "trim", "--format", "json")
    core.unlink()
    assert (result.status, result.err) == (0, "")
    assert result.report["problems"] == []
    totals = [each["tables"][0]["total"] for each in (live, result.report)]
    for ours, theirs in (*zip(table(live), table(result.report)), totals):
        for column in ("returned", *PARTS):
            unknown = column in UNKNOWN_IN_A_CORE
            assert theirs[column] == (None if unknown else ours[column]), column
        assert all(theirs[f"{part}_resident"] is None for part in PARTS)
