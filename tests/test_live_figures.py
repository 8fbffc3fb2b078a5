"""Every figure on live processes and cores, against glibc's own and a preloaded counter's."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import (
    Inferior,
    Report,
    gcore,
    kernel_core,
    look,
    regions,
    reports,
    running,
    scenes,
    table,
    told,
    without_residency,
)

pytestmark = pytest.mark.live

HUGE = "glibc.malloc.hugetlb=2"
NO_TCACHE = "glibc.malloc.tcache_count=0"


class Case(NamedTuple):
    """How to start a program."""

    program: str
    arguments: tuple[str, ...] = ()
    tunables: str = ""


CASES = {
    "mixed": Case("mixed"),
    "mixed-in-mmaps": Case("mixed", tunables=HUGE),
    "arenas": Case("arenas", ("80",)),
    "tcaches": Case("tcaches"),
    "fast": Case("fast", ("100000",), NO_TCACHE),
    "mmapped": Case("mmapped"),
    "foreign_sbrk": Case("foreign_sbrk"),
    "untouched_top": Case("untouched_top"),
}
LIVE = ("mixed", "arenas", "mmapped")  # bins of every kind; several heaps; chunks of their own
OF_PAGES = ("held", "without_tcaches", "without_tcaches_trim", "free_resident", "free_absent")
PARTS = ("in_use", "tcache", "fast", "binned", "top", "overhead")
LISTS = (
    "system",
    "tcache",
    "tcache_chunks",
    "fast",
    "fast_chunks",
    "binned",
    "binned_chunks",
    "top",
)
TABLES = ("arenas", "heaps", "bins", "tcache", "top", "mmapped", "check")
WALKED = ("heapx", *(f"heapx {name}" for name in TABLES))
COMMANDS = (*WALKED, "heapx arenas --no-walk", "heapx heaps --no-walk", "heapx top --no-walk")


def launch(inferiors: Path, case: Case, directory: Path) -> Any:
    env = {"GLIBC_TUNABLES": case.tunables} if case.tunables else {}
    exe = inferiors / case.program
    return running(exe, *case.arguments, directory=directory, env=env, counted=True)


@pytest.fixture(scope="module", params=scenes(CASES, LIVE))
def inferior(request: Any, inferiors: Path, tmp_path_factory: Any) -> Iterator[Inferior]:
    directory = tmp_path_factory.mktemp(request.param)
    with launch(inferiors, CASES[request.param], directory) as started:
        yield started


@pytest.fixture(scope="module")
def live(inferior: Inferior, tmp_path_factory: Any) -> dict[str, Report]:
    """Return the reports of all commands on the process."""
    return reports(COMMANDS, tmp_path_factory.mktemp("live"), ("-p", inferior.pid))


@contextlib.contextmanager
def deleted(core: Path) -> Iterator[Path]:
    try:
        yield core
    finally:
        core.unlink()


@pytest.fixture(scope="module")
def core(inferior: Inferior, live: Any, tmp_path_factory: Any) -> dict[str, Report]:
    """Return the reports of all commands on a core of the process."""
    directory = tmp_path_factory.mktemp("core")
    with deleted(gcore(inferior.pid, directory / "core")) as file:
        return reports(COMMANDS, directory, (inferior.exe, file))


@pytest.fixture(params=["live", pytest.param("core", marks=pytest.mark.slow)])
def seen(request: Any, inferior: Inferior) -> dict[str, Report]:
    """Return the reports on the process, then those on its core."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def rows(seen: dict[str, Report]) -> list[dict[str, Any]]:
    return table(seen["heapx arenas"])


@pytest.mark.few(1)
def test_fast_equals_malloc_infos(inferior, rows):
    ours = [(row["fast_chunks"], row["fast"]) for row in rows]
    assert ours == [arena.fast for arena in inferior.oracle.arenas]


@pytest.mark.few(1)
def test_binned_and_top_equal_malloc_infos_rest(inferior, rows):
    ours = [(row["binned_chunks"] + 1, row["binned"] + row["top"]) for row in rows]
    assert ours == [arena.rest for arena in inferior.oracle.arenas]


def test_system_and_its_peak_equal_malloc_infos(inferior, rows):
    ours = [(row["system"], row["max_system"]) for row in rows]
    assert ours == [(arena.system, arena.max_system) for arena in inferior.oracle.arenas]


def test_every_bin_equals_malloc_infos(inferior, seen):
    bins = table(seen["heapx bins"])
    kinds = {"fast": "fast", "unsorted": "unsorted", "small": "binned", "large": "binned"}
    for index, arena in enumerate(inferior.oracle.arenas):
        own = [b for b in bins if b["arena"] == index]
        for name, theirs in (
            ("fast", arena.fast_lists),
            ("unsorted", arena.unsorted),
            ("binned", arena.binned_lists),
        ):
            ours = [b for b in own if kinds[b["kind"]] == name]
            assert [(b["chunks"], b["bytes"]) for b in ours] == [
                (sizes.chunks, sizes.bytes) for sizes in theirs
            ]
            for b, sizes in zip(ours, theirs):
                assert b["min_size"] <= sizes.largest
                assert b["max_size"] is None or sizes.largest <= b["max_size"]
                assert name == "fast" or b["min_size"] <= sizes.smallest


def test_sums_equal_mallinfos(inferior, seen, rows):
    total = {name: sum(row[name] for row in rows) for name in LISTS}
    mmapped = table(seen["heapx arenas"], "mmapped_total")[0]
    ours = {
        "arena": total["system"],
        "ordblks": total["binned_chunks"] + len(rows),
        "smblks": total["fast_chunks"],
        "fsmblks": total["fast"],
        "fordblks": total["fast"] + total["binned"] + total["top"],
        "uordblks": total["system"] - total["fast"] - total["binned"] - total["top"],
        "keepcost": rows[0]["top"],
        "hblks": mmapped["chunks"],
        "hblkhd": mmapped["bytes"],
        "usmblks": 0,
    }
    assert ours == inferior.oracle.mallinfo


def test_in_use_equals_what_a_preloaded_counter_counted(inferior, rows):
    counts = inferior.oracle.counts
    for row in rows:
        counted = counts.get("main" if row["main"] else row["address"], (0, 0))
        assert (row["in_use_chunks"], row["in_use"]) == counted, row["arena"]


def test_every_arena_that_the_counter_saw_is_listed(inferior, rows):
    counted = set(inferior.oracle.counts) - {"main", "mmapped"}
    assert counted <= {row["address"] for row in rows}


def test_the_parts_of_an_arena_add_up_to_system(rows):
    assert [sum(row[part] for part in PARTS) for row in rows] == [row["system"] for row in rows]


def test_totals_are_the_sums_of_the_rows(seen):
    for command, report in seen.items():
        for each in report["tables"]:
            for name, value in each.get("total", {}).items():
                column = [row[name] for row in each["rows"]]
                assert value == (None if None in column else sum(column)), (command, name)


def test_the_bins_of_an_arena_are_its_binned_and_fast_chunks(seen, rows):
    sums: Counter = Counter()
    for b in table(seen["heapx bins"]):
        which = "fast" if b["kind"] == "fast" else "binned"
        sums[b["arena"], which] += b["bytes"]
        sums[b["arena"], which + "_chunks"] += b["chunks"]
    for row in rows:
        for name in ("fast", "fast_chunks", "binned", "binned_chunks"):
            assert sums[row["arena"], name] == row[name]


def test_the_heaps_of_an_arena_are_as_large_as_its_system(seen, rows):
    heaps = table(seen["heapx heaps"])
    for row in rows:
        own = [heap for heap in heaps if heap["arena"] == row["arena"]]
        assert len(own) == row["heaps"]
        for heap in (h for h in own if h["resident"] is not None):  # as a core doesn't tell
            assert heap["free_resident"] + heap["free_absent"] == heap["free"]
        assert sum(heap["in_use"] for heap in own) == row["in_use"]
        free = row["tcache"] + row["fast"] + row["binned"] + row["top"]
        assert sum(heap["free"] for heap in own) == free
        assert sum(heap["size"] for heap in own) == row["system"]


def test_every_check_holds(seen):
    assert seen["heapx check"]["problems"] == []
    assert all(row["ok"] for row in table(seen["heapx check"]))


def test_without_a_walk_the_lists_are_the_same_and_in_use_chunks_unknown(seen, rows):
    derived = table(seen["heapx arenas --no-walk"])
    assert [{n: row[n] for n in LISTS} for row in derived] == [
        {n: row[n] for n in LISTS} for row in rows
    ]
    assert {row["in_use_chunks"] for row in derived} == {None}
    assert [sum(row[part] for part in PARTS) for row in derived] == [r["system"] for r in derived]


def test_mmapped_chunks_are_those_that_malloc_counts(inferior, seen):
    rows = table(seen["heapx mmapped"])
    assert {row["state"] for row in rows} <= {"in use"}
    figures = (len(rows), sum(row["mapping"] for row in rows))
    assert figures == (inferior.oracle.mallinfo["hblks"], inferior.oracle.mallinfo["hblkhd"])
    assert figures == inferior.oracle.counts["mmapped"]


def test_an_aligned_mmapped_chunk_is_the_one_that_the_program_has(inferior, live):
    """The oracle is malloc_usable_size; up to 2.42 it takes off two words."""
    sizes = {int(row["address"], 16): row["size"] for row in table(live["heapx mmapped"])}
    aligned = [words[1:] for words in inferior.oracle.known if words[0] == "aligned"]
    assert bool(aligned) == (inferior.exe.name == "mmapped")
    for user, usable in aligned:
        assert sizes[int(user, 16) - 16] - int(usable) in (8, 16)


def test_every_mmapped_chunk_has_malloc_s_header_in_a_mapping(inferior, live):
    """From 2.43 the header is not part of the size: then 16 bytes more are mapped."""
    spans = [(r.start, r.end) for r in regions(inferior.pid) if r.permissions.startswith("rw")]
    own = [int(words[1], 16) for words in inferior.oracle.known if words[0] == "own"]
    taken = []
    with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:
        for row in table(live["heapx mmapped"]):
            address = int(row["address"], 16)
            memory.seek(address)
            header = memory.read(16)
            before, size = (int.from_bytes(header[i : i + 8], "little") for i in (0, 8))
            begin = address - (before & ~1)
            assert size & 7 == 2
            assert row["mapping"] - (before & ~1) - (size & ~7) in (0, 16)
            assert any(start <= begin and begin + row["mapping"] <= end for start, end in spans)
            assert not any(begin <= address < begin + row["mapping"] for address in own)
            taken.append((begin, begin + row["mapping"]))
    taken.sort()
    assert all(end <= start for (_, end), (start, _) in zip(taken, taken[1:]))


@pytest.mark.few(1)
def test_a_core_gives_the_same_figures_as_the_process(live, core):
    for command in COMMANDS:
        ours, theirs = (_comparable(reports[command]) for reports in (live, core))
        assert ours == theirs, command


@pytest.mark.few(1)
def test_in_a_core_a_pin_holds_no_less_than_in_the_process(live, core):
    held = zip(*([row["held"] for row in table(each["heapx top"])] for each in (live, core)))
    assert all(ours == theirs or ours <= theirs for ours, theirs in held)


def _comparable(report: Report) -> Report:
    """Return a report without what a core can't know: residency, threads' names, that it lives.

    What would be returned is in memory, or in a core may be. The overview is of resident memory, or
    of address space: it has no figure in common.
    """
    target = {k: v for k, v in report["target"].items() if k not in ("live", "pid")}
    tables = without_residency(report["tables"])
    for each in tables:
        for row in each["rows"]:
            row.pop("name", None)
        for row in (*each["rows"], each["total"]):
            for column in OF_PAGES:
                row.pop(column, None)
    tables = [each for each in tables if each["name"] != "overview"]
    return {"target": target, "tables": tables, "problems": report["problems"]}


@pytest.mark.few(1)
def test_from_a_shell_process_and_core_give_the_same_figures(inferior, live, tmp_path):
    from_process = look(inferior.pid, "arenas")
    with deleted(gcore(inferior.pid, tmp_path / "core")) as file:
        result = told("--core", file, "--exe", inferior.exe, "arenas", "--format", "json")
    assert (result.status, result.err) == (0, "")
    assert from_process["tables"] == live["heapx arenas"]["tables"]
    assert _comparable(from_process)["tables"] == _comparable(result.report)["tables"]


@pytest.mark.few(1)
def test_check_exits_with_0(inferior):
    assert told("-p", inferior.pid, "check")[::2] == (0, "")


def test_a_kernel_core_gives_the_same_figures(inferiors, tmp_path):
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or "|" in pattern:
        pytest.skip(f"the kernel writes cores elsewhere: {pattern}")
    with launch(inferiors, CASES["mixed"], tmp_path / "mixed") as inferior:
        before = reports(WALKED, tmp_path / "live", ("-p", inferior.pid))
        with deleted(kernel_core(inferior)) as file:
            after = reports(WALKED, tmp_path / "core", (inferior.exe, file))
    for command in WALKED:
        assert _comparable(before[command])["tables"] == _comparable(after[command])["tables"]


def test_a_core_s_program_need_not_be_named(start, tmp_path):
    inferior = start("mixed")
    with deleted(gcore(inferior.pid, tmp_path / "core")) as file:
        result = told("--core", file, "arenas", "--format", "json")
    assert (result.status, result.err) == (0, "")
    seen = look(inferior.pid, "arenas")
    assert _comparable(result.report)["tables"] == _comparable(seen)["tables"]


@pytest.mark.slow
def test_tcaches_hold_the_known_pattern_by_thread_and_size(start, tmp_path):
    inferior = start("tcaches")
    known = {(int(t), int(size)): int(n) for t, size, n in inferior.oracle.known if n != "0"}
    with deleted(gcore(inferior.pid, tmp_path / "core")) as file:
        core = reports(["heapx tcache"], tmp_path, (inferior.exe, file))["heapx tcache"]
    for report in (look(inferior.pid, "tcache"), core):
        ours = {
            (row["thread"], row["min_size"]): row["chunks"]
            for row in table(report)
            if row["thread"] != inferior.pid
        }
        assert ours == known
        assert all(
            row["bytes"] == row["chunks"] * row["min_size"] == row["chunks"] * row["max_size"]
            for row in table(report)
        )


@pytest.mark.slow
def test_a_million_fast_chunks_are_counted(start):
    inferior = start("fast", env={"GLIBC_TUNABLES": NO_TCACHE}, counted=True)
    (row,) = table(look(inferior.pid, "arenas"))
    assert row["fast_chunks"] == 1_000_000
    assert (row["fast_chunks"], row["fast"]) == inferior.oracle.arenas[0].fast
    assert (row["in_use_chunks"], row["in_use"]) == inferior.oracle.counts["main"]


def test_huge_pages_put_the_main_arena_into_mmaps(start):
    inferior = start("mixed", env={"GLIBC_TUNABLES": HUGE})
    heap = [r for r in regions(inferior.pid) if r.name == "[heap]"]
    main = [h for h in table(look(inferior.pid, "heaps")) if h["arena"] == 0]
    assert main
    assert not any(r.start <= int(h["address"], 16) < r.end for r in heap for h in main)
    assert all(row["ok"] for row in table(look(inferior.pid, "check")))


@pytest.fixture(scope="module")
def two_libcs(start_once) -> Inferior:
    return start_once("two_libcs", counted=True)


@pytest.fixture(scope="module")
def both(two_libcs: Inferior) -> Report:
    return look(two_libcs.pid, "arenas")


def _first_and_second(two_libcs: Inferior, report: Report) -> tuple[Any, Any]:
    """Return the two rows, told apart by the counter, which sees the program's own libc only."""
    rows = table(report)
    rows.sort(key=lambda row: row["system"] != two_libcs.oracle.mallinfo["arena"])
    return rows[0], rows[1]


def test_two_libcs_are_both_reported(both):
    assert [row["arena"] for row in table(both)] == [0, 0]
    assert len({row["address"] for row in table(both)}) == len(table(both, "mmapped_total")) == 2


def test_the_program_s_own_libc_comes_first(two_libcs, both):
    assert table(both)[0]["system"] == two_libcs.oracle.mallinfo["arena"]


def test_of_two_libcs_every_row_with_an_arena_names_its_own(two_libcs):
    for command in ("arenas", "heaps", "bins", "top", "check"):
        rows = table(look(two_libcs.pid, command))
        assert all("libc.so.6" in row["libc"] for row in rows), command


def test_of_two_libcs_the_program_s_own_is_exact(two_libcs, both):
    row, _ = _first_and_second(two_libcs, both)
    (theirs,) = two_libcs.oracle.arenas
    assert (row["in_use_chunks"], row["in_use"]) == two_libcs.oracle.counts["main"]
    assert (row["fast_chunks"], row["fast"]) == theirs.fast
    assert (row["binned_chunks"] + 1, row["binned"] + row["top"]) == theirs.rest
    assert (row["system"], row["max_system"]) == (theirs.system, theirs.max_system)


def test_of_two_libcs_the_other_holds_what_was_allocated_from_it(two_libcs, both):
    ((_, chunks, size),) = two_libcs.oracle.known
    _, row = _first_and_second(two_libcs, both)
    assert (row["in_use_chunks"], row["in_use"]) == (int(chunks), int(size))
    assert row["tcache_chunks"] > 0
    assert sum(row[part] for part in PARTS) == row["system"]


def test_of_two_libcs_what_is_counted_is_that_of_each(two_libcs, both):
    """Chunks in use by size and by state: the first libc's as a counter saw it, the other's as the
    program did.
    """
    ((_, chunks, size),) = two_libcs.oracle.known
    known = [two_libcs.oracle.counts["main"], (int(chunks), int(size))]
    sizes, counts = look(two_libcs.pid, "sizes"), look(two_libcs.pid, "chunks", "--count")
    for libc, expected in zip((row["libc"] for row in table(both)), known):
        rows = [row for row in table(sizes) if row["libc"] == libc]
        assert tuple(sum(row[n] for row in rows) for n in ("in_use_chunks", "in_use")) == expected
        states = {row["state"]: row for row in table(counts) if row["libc"] == libc}
        assert (states["in use"]["chunks"], states["in use"]["bytes"]) == expected


def test_of_two_libcs_every_check_holds(two_libcs):
    report = look(two_libcs.pid, "check")
    assert report["problems"] == []
    assert all(row["ok"] for row in table(report))


def test_of_two_libcs_each_has_a_name_of_its_own(two_libcs, both):
    names = [row["libc"] for row in table(both)]
    assert names == [names[0], f"{names[0]} (2)"]
    text = told("-p", two_libcs.pid, "arenas").out
    assert [line.split()[-1] for line in text.splitlines()[2:4]] == ["libc", "(2)"]
