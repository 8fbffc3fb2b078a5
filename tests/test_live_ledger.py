"""heapx ledger: every byte has one owner, and what is resident is what the kernel says."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from array import array
from collections import defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import (
    PAGE,
    Inferior,
    Region,
    Report,
    at_rest,
    eventually,
    gcore,
    look,
    reports,
    running,
    scenes,
    session,
    status,
    table,
    told,
)

pytestmark = pytest.mark.live

NO_TCACHE = "glibc.malloc.tcache_count=0"
NO_RSEQ = "glibc.pthread.rseq=0"  # the kernel writes to a thread's rseq area whenever it runs


class Case(NamedTuple):
    """How to start a program."""

    program: str
    arguments: tuple[str, ...] = ()
    tunables: str = NO_RSEQ


CASES = {
    "mixed": Case("mixed"),
    "mixed-in-mmaps": Case("mixed", tunables="glibc.malloc.hugetlb=2"),
    "arenas": Case("arenas", ("5",)),
    "tcaches": Case("tcaches"),
    "fast": Case("fast", ("100000",), NO_TCACHE),
    "mmapped": Case("mmapped"),
    "foreign_sbrk": Case("foreign_sbrk"),
    "untouched_top": Case("untouched_top"),
    "two_libcs": Case("two_libcs"),
    "unrandomized": Case("memory", ("unrandomized",)),
    "transparent": Case("memory", ("transparent",)),
}
LIVE = [("mixed", False), ("mixed", True), ("arenas", False), ("mmapped", False)]
STATES = ("in use", "tcache", "fast", "binned", "top", "overhead", "sbrk of others")
TABLES = ("ledger", "arenas", "heaps", "bins", "top", "mmapped")
COMMANDS = tuple(f"heapx {name}" for name in TABLES)
NOT_IN_RSS = "(not in RSS)"


# What the kernel says.


class Page(NamedTuple):
    """The bits of /proc/PID/pagemap for one page."""

    present: bool
    swapped: bool
    file: bool
    exclusive: bool


def page_bits(entry: int) -> Page:
    return Page(*(bool(entry >> bit & 1) for bit in (63, 62, 61, 56)))


class Pages:
    """The pages of a process between two addresses, as pagemap shows them now; none may be open.

    A page that is neither a file's nor exclusive is the zero page, or shared with another process:
    its entry doesn't tell which.
    """

    def __init__(self, pid: int, start: int, end: int) -> None:
        self._first = start // PAGE
        count = -(-end // PAGE) - self._first
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
            data = os.pread(pagemap.fileno(), count * 8, self._first * 8)
        assert len(data) == count * 8
        self._entries = array("Q", data)
        self._kinds = {entry: page_bits(entry) for entry in set(self._entries)}
        kinds = self._kinds.values()
        assert not [k for k in kinds if k.present and not (k.file or k.exclusive)]

    def resident_and_swapped(self, start: int, end: int) -> tuple[int, int]:
        """Return the bytes of [start, end) in RAM and in swap."""
        resident = swapped = 0
        for number in range(start // PAGE, -(-end // PAGE)):
            kind = self._kinds[self._entries[number - self._first]]
            size = min(end, (number + 1) * PAGE) - max(start, number * PAGE)
            resident += size * kind.present
            swapped += size * kind.swapped
        return resident, swapped


def resident_and_swapped(pid: int, start: int, end: int) -> tuple[int, int]:
    return Pages(pid, start, end).resident_and_swapped(start, end)


class Kernel(NamedTuple):
    """What the kernel says of a process: smaps_rollup, VmPTE, and each mapping of smaps."""

    rss: int
    swap: int
    page_tables: str
    mappings: dict[Region, tuple[int, int, int]]  # virtual, resident, swapped

    def of(self, *kinds: str) -> tuple[int, ...]:
        """Return virtual, resident and swapped of all mappings of these kinds."""
        code = {region.name for region in self.mappings if "x" in region.permissions}
        found = self.mappings.items()
        chosen = [figures for region, figures in found if kind_of(region, code) in kinds]
        return tuple(sum(column) for column in zip((0, 0, 0), *chosen))


def kind_of(region: Region, code: Container[str]) -> str:
    """Tell by its name whose a mapping is; everything else is anonymous. `code` are the files that
    have code.
    """
    name = region.name
    if name.startswith("[v"):
        return "the kernel's own"
    if name == "[stack]" or name == "[heap]":
        return name
    if name.startswith(("/dev/shm/", "/dev/zero", "/memfd:", "/SYSV")):
        return "shared memory"
    if name.startswith("/"):
        return "program and library files" if name in code else "data files"
    return "anonymous" if region.permissions != "---p" else "reserved address space"


def _sizes(lines: list[str]) -> dict[str, int]:
    pairs = (line.split(":") for line in lines if line.endswith(" kB"))
    return {name: int(size.split()[0]) << 10 for name, size in pairs}


def rollup(pid: int) -> dict[str, int]:
    return _sizes(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())


def kernel(pid: int) -> Kernel:
    texts: dict[Region, list[str]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word = line.split(None, 1)[0]
        if not word.endswith(":"):
            start, end = (int(part, 16) for part in word.split("-"))
            _, permissions, _, _, _, *name = line.split(None, 5)
            lines = texts[Region(start, end, permissions, name[0] if name else "")] = []
        lines.append(line)
    sums = rollup(pid)
    mappings = {}
    for region, lines in texts.items():
        sizes = _sizes(lines)
        mappings[region] = (region.end - region.start, sizes["Rss"], sizes["Swap"])
    return Kernel(sums["Rss"], sums["Swap"], status(pid, "VmPTE"), mappings)


# What heapx says.

Row = dict[str, Any]


def total(rows: list[Row]) -> tuple[int, ...]:
    """Return virtual, resident and swapped of rows together."""
    return tuple(sum(row[name] for row in rows) for name in ("virtual", "resident", "swapped"))


def owned(rows: list[Row], *owners: str) -> tuple[int, ...]:
    return total([row for row in rows if row["owner"] in owners])


def in_rss(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row["owner"].endswith(NOT_IN_RSS)]


def adds_up(rows: list[Row], says: Kernel) -> None:
    """Check that each byte has an owner, and each resident one."""
    assert total(in_rss(rows))[1:] == (says.rss, says.swap)
    assert sum(row["virtual"] for row in rows) == sum(r.end - r.start for r in says.mappings)


def span(heap: Row) -> tuple[int, int]:
    start = int(heap["address"], 16)
    return start, start + heap["size"]


def trimmed(inferior: Inferior) -> None:
    """Let a program that was started with HEAPX_THEN call malloc_trim."""
    os.kill(inferior.pid, signal.SIGUSR1)
    done = inferior.oracle.directory / "trimmed"
    eventually(lambda: done.exists() and at_rest(inferior.pid), "malloc_trim")


@contextlib.contextmanager
def started(inferiors: Path, case: Case, directory: Path, **env: str) -> Iterator[Inferior]:
    with running(
        inferiors / case.program,
        *case.arguments,
        directory=directory,
        env={"GLIBC_TUNABLES": case.tunables, **env},
        counted=True,
    ) as inferior:
        # A bare attach makes [vdso] resident.
        assert session(target=("-p", inferior.pid)).status == 0
        yield inferior


class Seen(NamedTuple):
    """One process: the kernel's word before and after heapx looked, and what heapx said."""

    inferior: Inferior
    before: Kernel
    after: Kernel
    reports: dict[str, Report]

    @property
    def rows(self) -> list[Row]:
        return table(self.reports["heapx ledger"])

    def table(self, name: str) -> list[Row]:
        return table(self.reports[f"heapx {name}"])

    @property
    def pid(self) -> int:
        return self.inferior.pid


PARAMS = [(name, trim) for name in CASES for trim in (False, True)]


def _id(param: tuple[str, bool]) -> str:
    return f"{param[0]}-{'trimmed' if param[1] else 'untrimmed'}"


def some(*params: tuple[str, bool]) -> Any:
    """Let a test run on these processes only."""
    chosen = scenes(params, LIVE)
    return pytest.mark.parametrize("seen", chosen, indirect=True, ids=_id, scope="module")


@pytest.fixture(scope="module", params=scenes(PARAMS, LIVE), ids=_id)
def seen(request: Any, inferiors: Path, tmp_path_factory: Any) -> Iterator[Seen]:
    name, trim = request.param
    directory = tmp_path_factory.mktemp(name)
    with started(inferiors, CASES[name], directory, HEAPX_THEN="0") as inferior:
        if trim:
            trimmed(inferior)
        before = kernel(inferior.pid)
        said = reports(COMMANDS, directory / "reports", ("-p", inferior.pid))
        yield Seen(inferior, before, kernel(inferior.pid), said)


@pytest.mark.few(1)
def test_the_resident_bytes_add_up_to_the_kernel_s_rss(seen):
    assert total(in_rss(seen.rows))[1:] == (seen.after.rss, seen.after.swap)


def test_the_note_names_the_kernel_s_rss(seen):
    notes = " ".join(seen.reports["heapx ledger"]["notes"])
    assert f"add up to the kernel's RSS: {seen.after.rss:,} bytes" in notes


@pytest.mark.few(1)
def test_every_byte_of_every_mapping_has_an_owner(seen):
    assert total(seen.rows)[0] == sum(r.end - r.start for r in seen.after.mappings)


def test_looking_changes_neither_rss_nor_page_tables(seen):
    assert seen.after == seen.before


def test_an_arena_s_resident_bytes_are_what_pagemap_says_of_its_heaps(seen):
    heaps: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    for heap in seen.table("heaps"):
        figures = (heap["size"], *resident_and_swapped(seen.pid, *span(heap)))
        key = (heap["libc"], heap["arena"])
        heaps[key] = [a + b for a, b in zip(heaps[key], figures)]
    rows: dict[Any, list[Row]] = defaultdict(list)
    for row in seen.rows:
        if row["owner"] in STATES and row["arena"] is not None:
            rows[row["libc"], row["arena"]].append(row)
    assert {key: list(total(own)) for key, own in rows.items()} == dict(heaps)


def test_each_heap_s_resident_bytes_are_what_pagemap_says(seen):
    for heap in seen.table("heaps"):
        expected = resident_and_swapped(seen.pid, *span(heap))
        assert (heap["resident"], heap["swapped"]) == expected


def test_each_top_s_resident_bytes_are_what_pagemap_says(seen):
    for top in seen.table("top"):
        expected = resident_and_swapped(seen.pid, *span(top))
        assert (top["resident"], top["swapped"]) == expected
    expected = (sum(t[n] for t in seen.table("top")) for n in ("size", "resident", "swapped"))
    assert owned(seen.rows, "top") == tuple(expected)


def test_each_mmapped_chunk_s_resident_bytes_are_what_pagemap_says_of_its_mapping(seen):
    figures = [0, 0, 0]
    with open(f"/proc/{seen.pid}/mem", "rb", buffering=0) as memory:
        for row in seen.table("mmapped"):
            memory.seek(int(row["address"], 16))
            start = int(row["address"], 16) - (int.from_bytes(memory.read(8), "little") & ~1)
            expected = resident_and_swapped(seen.pid, start, start + row["mapping"])
            assert (row["resident"], row["swapped"]) == expected
            figures = [a + b for a, b in zip(figures, (row["mapping"], *expected))]
    assert owned(seen.rows, "mmapped chunks") == tuple(figures)


def test_mmapped_chunks_are_all_that_malloc_counts(seen):
    assert owned(seen.rows, "mmapped chunks")[0] == seen.inferior.oracle.mallinfo["hblkhd"]


def _chunks(pid: int, start: int, top: int) -> Iterator[tuple[int, int, bool]]:
    """Yield address, size and PREV_INUSE of each chunk below top, then top's."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while start <= top:
            memory.seek(start + 8)
            word = int.from_bytes(memory.read(8), "little")
            yield start, word & ~7, bool(word & 1)
            start += word & ~7
            assert start <= top or start == top + (word & ~7)


def _free_and_used(
    pid: int, pages: Pages, start: int, top: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return size, resident and swapped of the chunks that are free, and of the others."""
    chunks = list(_chunks(pid, start, top))
    free, used = [(0, 0, 0)], [(0, 0, 0)]
    for (address, size, _), (_, _, in_use) in zip(chunks, chunks[1:]):
        figures = (size, *pages.resident_and_swapped(address, address + size))
        (used if in_use else free).append(figures)
    return tuple(map(sum, zip(*free))), tuple(map(sum, zip(*used)))


@some(*((name, trim) for name in ("mixed", "fast", "untouched_top") for trim in (False, True)))
def test_of_binned_chunks_the_resident_bytes_are_what_pagemap_says(seen):
    """Of chunks that the tag of the next one calls free, where one heap is all of malloc's."""
    ((start, end),) = map(span, seen.table("heaps"))
    (top,) = seen.table("top")
    pages = Pages(seen.pid, start, end)
    free, used = _free_and_used(seen.pid, pages, start, int(top["address"], 16))
    assert owned(seen.rows, "binned") == free
    assert owned(seen.rows, "in use", "tcache", "fast", "overhead") == used


def test_arenas_and_bins_say_the_same(seen):
    rows = seen.table("arenas")
    bins = seen.table("bins")
    for state in ("fast", "binned"):
        lists = [b for b in bins if (b["kind"] == "fast") == (state == "fast")]
        sums = (sum(b[column] for b in lists) for column in ("bytes", "resident", "swapped"))
        assert owned(seen.rows, state) == tuple(sums)
    for state in ("in_use", "binned", "top"):
        columns = (state, f"{state}_resident", f"{state}_swapped")
        expected = tuple(sum(row[column] for row in rows) for column in columns)
        assert owned(seen.rows, state.replace("_", " ")) == expected
    columns = ("system", "resident", "swapped")
    own = [row for row in seen.rows if row["arena"] is not None]
    assert owned(own, *STATES) == tuple(sum(row[c] for row in rows) for c in columns)


@pytest.mark.parametrize(
    "kind", ["program and library files", "data files", "the kernel's own", "shared memory"]
)
def test_what_has_a_name_is_what_smaps_says_of_it(seen, kind):
    assert owned(seen.rows, kind) == seen.after.of(kind)


def test_nothing_is_unknown(seen):
    assert owned(seen.rows, "unknown") == (0, 0, 0)


@some(*((name, False) for name in CASES if name != "two_libcs"))
def test_arenas_are_as_large_as_malloc_info_says(seen):
    sizes = [0] * len(seen.inferior.oracle.arenas)
    for row in seen.rows:
        if row["owner"] in STATES and row["arena"] is not None:
            sizes[row["arena"]] += row["virtual"]
    assert sizes == [arena.system for arena in seen.inferior.oracle.arenas]


def test_malloc_trim_made_the_ledger_s_rss_fall(inferiors, tmp_path):
    """What leaves RSS leaves the ledger's binned and top, and in use stays."""
    with started(inferiors, CASES["mixed"], tmp_path, HEAPX_THEN="0") as inferior:
        was, rows = kernel(inferior.pid), table(look(inferior.pid, "ledger"))
        trimmed(inferior)
        now, after = kernel(inferior.pid), table(look(inferior.pid, "ledger"))
    for states in (("in use",), ("tcache",)):
        assert owned(after, *states) == owned(rows, *states)
    fallen = was.of("[heap]")[1] - now.of("[heap]")[1]
    assert fallen > 0
    assert owned(rows, *STATES)[1] - owned(after, *STATES)[1] == fallen


def test_each_of_two_libcs_has_rows_of_its_own(start):
    """Both are the same file; the counter sees the program's own only."""
    inferior = start("two_libcs", counted=True)
    ((_, _, other),) = inferior.oracle.known
    in_use = [r for r in table(look(inferior.pid, "ledger")) if r["owner"] == "in use"]
    assert sorted(row["virtual"] for row in in_use) == sorted(
        (inferior.oracle.counts["main"].bytes, int(other))
    )


# Memory of other kinds.


class Known(NamedTuple):
    """A range that memory.c tells of: its kind, and the bytes in RAM as the program made it."""

    kind: str
    start: int
    end: int
    resident: int | None


class Scene(NamedTuple):
    """A scenario of memory.c, looked at."""

    inferior: Inferior
    says: Kernel
    rows: list[Row]
    known: list[Known]

    def sums(self, *kinds: str) -> tuple[int, int]:
        """Return size and resident bytes of all that the program tells of these kinds."""
        chosen = [k for k in self.known if k.kind in kinds]
        return sum(k.end - k.start for k in chosen), sum(k.resident or 0 for k in chosen)


@pytest.fixture
def scene(start: Any) -> Any:
    """Start a scenario of memory.c and look at it: everything must add up, without a trace."""

    def look_at(scenario: str) -> Scene:
        inferior = start("memory", scenario, env={"GLIBC_TUNABLES": NO_RSEQ})
        lines = inferior.oracle.known
        if missing := [" ".join(words[1:]) for words in lines if words[0] == "missing"]:
            pytest.skip(f"this machine has no {missing[0]}")
        assert session(target=("-p", inferior.pid)).status == 0
        before = kernel(inferior.pid)
        rows = table(look(inferior.pid, "ledger"))
        says = kernel(inferior.pid)
        assert says == before
        adds_up(rows, says)
        known = []
        for kind, address, size, resident in (words for words in lines if len(words) == 4):
            begin = int(address, 16)
            known.append(
                Known(kind, begin, begin + int(size), None if resident == "-" else int(resident))
            )
        return Scene(inferior, says, rows, known)

    return look_at


def test_a_program_s_own_mapping_is_other_anonymous_memory(scene):
    seen = scene("anonymous")
    assert seen.sums("own") == (40 << 20, 20 << 20)
    (own,) = (k for k in seen.known if k.kind == "own")
    assert resident_and_swapped(seen.inferior.pid, own.start, own.end) == (20 << 20, 0)
    assert owned(seen.rows, "other anonymous memory") == seen.says.of("anonymous")


def test_shared_memory_of_every_kind_is_shared_memory(scene):
    seen = scene("shared")
    assert owned(seen.rows, "shared memory") == (*seen.sums("shared"), 0)
    assert owned(seen.rows, "shared memory") == seen.says.of("shared memory")


def test_a_shared_file_is_not_shared_memory_and_neither_a_program(scene):
    seen = scene("shared")
    assert owned(seen.rows, "data files") == seen.says.of("data files")
    assert owned(seen.rows, "data files") >= (*seen.sums("file"), 0)
    files = owned(seen.rows, "program and library files")
    assert files == seen.says.of("program and library files")


def test_zero_pages_are_not_resident(scene):
    seen = scene("zero")
    (mapped,) = (k for k in seen.known if k.kind == "mmapped")
    assert owned(seen.rows, "mmapped chunks") == (mapped.end - mapped.start, PAGE, 0)
    assert owned(seen.rows, *STATES) == seen.says.of("[heap]")
    assert owned(seen.rows, "other anonymous memory") == _without(
        seen.says.of("anonymous"), owned(seen.rows, "mmapped chunks")
    )
    assert 0 < owned(seen.rows, "in use")[1] - seen.sums("heap")[1] < 2 * PAGE


def _without(whole: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(whole, part))


def test_a_forked_child_and_its_parent_both_add_up(scene):
    seen = scene("forked")
    (child,) = (int(words[1]) for words in seen.inferior.oracle.known if words[0] == "child")
    eventually(lambda: at_rest(child), "the child rests")
    assert session(target=("-p", child)).status == 0
    before = kernel(child)
    child_rows = table(look(child, "ledger"))
    assert kernel(child) == before
    adds_up(child_rows, before)
    for pid, rows, says in ((seen.inferior.pid, seen.rows, seen.says), (child, child_rows, before)):
        assert rollup(pid)["Shared_Dirty"] > 8 << 20
        assert owned(rows, "mmapped chunks") == (*seen.sums("mmapped"), 0)
        assert owned(rows, *STATES) == seen.says.of("[heap]")
        assert owned(rows, "other anonymous memory") == _without(
            says.of("anonymous"), owned(rows, "mmapped chunks")
        )


def test_thread_stacks_are_those_of_all_threads_and_of_one_that_ended(scene):
    """With their guards; nptl keeps the stack of the last thread for the next one."""
    seen = scene("stacks")
    stacks = [k for k in seen.known if k.kind == "stack"]
    assert len(stacks) == 5
    in_ram = [resident_and_swapped(seen.inferior.pid, k.start, k.end)[0] for k in stacks]
    assert all(resident > 1 << 20 for resident in in_ram[:4])
    main = seen.says.of("[stack]")
    expected = (main[0] + seen.sums("stack")[0], main[1] + sum(in_ram), main[2])
    assert owned(seen.rows, "thread stacks") == expected


def test_a_stack_that_the_program_brought_is_its_own_memory(scene):
    seen = scene("stacks")
    (brought,) = (k for k in seen.known if k.kind == "brought")
    resident, _ = resident_and_swapped(seen.inferior.pid, brought.start, brought.end)
    assert resident > 1 << 20
    others = owned(seen.rows, *STATES, "reserved by heaps", "thread stacks")
    every = seen.says.of("[heap]", "[stack]", "anonymous", "reserved address space")
    expected = _without(every, others)
    assert owned(seen.rows, "other anonymous memory", "reserved address space") == expected
    assert expected > (brought.end - brought.start, resident)


def test_what_heaps_have_reserved_is_never_resident(scene):
    virtual, resident, _ = owned(scene("stacks").rows, "reserved by heaps")
    assert virtual > 0
    assert resident == 0


def test_locked_pages_are_resident_though_nobody_wrote_them(scene):
    seen = scene("locked")
    for own in seen.known:
        found = resident_and_swapped(seen.inferior.pid, own.start, own.end)
        assert found == (own.resident, 0)
    assert owned(seen.rows, *STATES) == seen.says.of("[heap]")
    assert owned(seen.rows, "other anonymous memory") == seen.says.of("anonymous")


def test_guard_pages_are_neither_resident_nor_swapped(scene):
    seen = scene("guards")
    assert owned(seen.rows, *STATES) == seen.says.of("[heap]")
    assert owned(seen.rows, *STATES)[2] == 0
    assert owned(seen.rows, "other anonymous memory") == seen.says.of("anonymous")


def test_a_main_arena_that_cannot_be_walked_is_unknown_and_nobody_else_s(start):
    inferior = start("memory", "broken", env={"GLIBC_TUNABLES": NO_RSEQ})
    rows = table(told("-p", inferior.pid, "ledger", "--format", "json").report)
    says = kernel(inferior.pid)
    adds_up(rows, says)
    assert owned(rows, "other anonymous memory") == says.of("anonymous")
    assert owned(rows, *STATES, "unknown") == says.of("[heap]")
    assert {row["arena"] for row in rows if row["owner"] == "unknown"} == {0}


def test_a_mmapped_chunk_that_has_lost_its_header_is_told_and_has_its_place(start):
    """The other one and glibc's count leave one place for it."""
    inferior = start("memory", "lost_header", env={"GLIBC_TUNABLES": NO_RSEQ})
    result = told("-p", inferior.pid, "ledger", "--format", "json")
    rows = table(result.report)
    adds_up(rows, kernel(inferior.pid))
    assert (result.status, [p["code"] for p in result.report["problems"]]) == (1, ["bad_mmapped"])
    assert inferior.oracle.mallinfo["hblks"] == 2
    assert owned(rows, "mmapped chunks")[0] == inferior.oracle.mallinfo["hblkhd"]


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """Have three huge pages in the machine's pool, for the time of the test; in CI only."""
    pool = Path("/proc/sys/vm/nr_hugepages")
    if not pool.exists():
        pytest.skip("this kernel has no huge pages")
    was = pool.read_text()
    if "CI" in os.environ:  # nobody's own machine
        with contextlib.suppress(PermissionError):
            pool.write_text(str(int(was) + 3))
    try:
        yield
    finally:
        if pool.read_text() != was:
            pool.write_text(was)


def test_huge_pages_of_the_pool_are_listed_and_not_in_rss(huge_pages, scene):
    seen = scene("hugetlb")
    (huge,) = (k for k in seen.known if k.kind == "huge")
    (row,) = (row for row in seen.rows if row["owner"].endswith(NOT_IN_RSS))
    assert row["owner"] == f"huge pages {NOT_IN_RSS}"
    assert row["virtual"] == huge.end - huge.start
    assert seen.says.rss < huge.resident


@pytest.fixture
def swap() -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) < 2:
        pytest.skip("this machine has no swap")


def test_swapped_pages_add_up_to_the_kernel_s_swap(swap, start):
    """Reading headers brings pages back: the kernel is asked before."""
    inferior = start("memory", "paged_out", env={"GLIBC_TUNABLES": NO_RSEQ})
    assert session(target=("-p", inferior.pid)).status == 0
    says = kernel(inferior.pid)
    assert says.of("[heap]")[2] > 0
    assert says.of("anonymous")[2] > 0
    (heap,) = (r for r in says.mappings if r.name == "[heap]")
    pages = Pages(inferior.pid, heap.start, heap.end)
    rows = table(look(inferior.pid, "ledger"))
    adds_up(rows, says)
    (top,) = table(look(inferior.pid, "top"))
    free, _ = _free_and_used(inferior.pid, pages, heap.start, int(top["address"], 16))
    assert owned(rows, "binned") == free
    assert owned(rows, *STATES) == says.of("[heap]")
    assert owned(rows, "mmapped chunks", "other anonymous memory") == says.of("anonymous")


# Cores.


def core_segments(core: Path) -> list[tuple[int, int]]:
    """Return address and size of each PT_LOAD of a 64-bit little-endian core."""
    with open(core, "rb") as file:
        head = file.read(64)
        offset, size, count = (
            *struct.unpack_from("<Q", head, 0x20),
            *struct.unpack_from("<HH", head, 0x36),
        )
        file.seek(offset)
        headers = [struct.unpack_from("<IIQQQQQQ", file.read(size)) for _ in range(count)]
    return [(h[3], h[6]) for h in headers if h[0] == 1]


class Cored(NamedTuple):
    """A core: its segments, what heapx says of it, and what of the process before."""

    segments: list[tuple[int, int]]
    reports: dict[str, Report]
    live: dict[str, Report]
    main_stack: int

    def virtual(self, *owners: str) -> list[tuple[Any, ...]]:
        """Return owner, arena and size in the core, of these owners."""
        return _virtual(self.reports, owners)

    def virtual_live(self, *owners: str) -> list[tuple[Any, ...]]:
        return _virtual(self.live, owners)


def _virtual(said: dict[str, Report], owners: tuple[str, ...]) -> list[tuple[Any, ...]]:
    rows = table(said["heapx ledger"])
    return [(r["owner"], r["arena"], r["virtual"]) for r in rows if r["owner"] in owners]


CORES = {"arenas": ("arenas", "5"), "mmapped": ("mmapped",), "stacks": ("memory", "stacks")}


@pytest.fixture(scope="module", params=CORES)
def cored(request: Any, start_once: Any, tmp_path_factory: Any) -> Cored:
    inferior = start_once(*CORES[request.param])
    directory = tmp_path_factory.mktemp("core")
    live = reports(COMMANDS, directory / "live", ("-p", inferior.pid))
    core = gcore(inferior.pid, directory / "core")
    try:
        segments = core_segments(core)
        said = reports(COMMANDS, directory, (inferior.exe, core))
    finally:
        core.unlink()
    return Cored(segments, said, live, kernel(inferior.pid).of("[stack]")[0])


@pytest.mark.slow
def test_in_a_core_every_residency_is_unknown(cored):
    for command, report in cored.reports.items():
        cells = [
            (name, value)
            for each in report["tables"]
            if each["rows"]
            for row in [*each["rows"], each.get("total", {})]
            for name, value in row.items()
            if name.endswith(("resident", "swapped"))
        ]
        assert not [cell for cell in cells if cell[1] is not None], command


@pytest.mark.few(1)
def test_in_a_core_one_note_says_why(cored):
    for report in cored.reports.values():
        notes = [note for note in report["notes"] if "resident" in note]
        assert notes == ["What is resident is unknown: a core doesn't tell."]


def test_every_byte_of_a_core_has_an_owner(cored):
    rows = table(cored.reports["heapx ledger"])
    assert sum(row["virtual"] for row in rows) == sum(size for _, size in cored.segments)


def test_a_core_s_malloc_is_the_process_s(cored):
    owners = (*STATES, "reserved by heaps", "mmapped chunks")
    assert cored.virtual(*owners) == cored.virtual_live(*owners)


def test_a_core_s_thread_stacks_are_nptl_s_as_far_as_they_were_touched(cored):
    """In units of 64 KiB. The main thread's is known by its name only, which a core lacks."""
    rows = table(cored.live["heapx ledger"])
    (live,) = (row for row in rows if row["owner"] == "thread stacks")
    own = sum(size for *_, size in cored.virtual("thread stacks"))
    edges = 8 * 2 * (64 << 10)  # of as many stacks as there are at most
    assert live["resident"] - cored.main_stack <= own <= live["resident"] + edges
    assert own < live["virtual"] // 4


def test_from_a_shell_a_core_is_looked_at_with_status_0(start, tmp_path):
    inferior = start("mixed")
    core = gcore(inferior.pid, tmp_path / "core")
    try:
        result = told("--core", core, "--exe", inferior.exe, "ledger")
    finally:
        core.unlink()
    assert (result.status, result.err) == (0, "")
    assert "?" in result.out
