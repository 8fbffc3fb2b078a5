"""heapx params: malloc's settings, against what the process and its environment were told."""

from __future__ import annotations

import json

import pytest
from heapbuilder import AMD64, I386, changed, usual
from live import gcore, look, table, told
from sessions import answer

from gdb_heapx.glibc import releases
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.procfs import malloc_variables

MAPPED = 1 << 20
FIXED = {"no_dyn_threshold": 1, "max_mmapped_mem": MAPPED}  # the user set a limit
TRIM = "MALLOC_TRIM_THRESHOLD_"
ULONG_MAX = (1 << 64) - 1
RELEASES = [(2, minor) for minor in range(23, 45)]


def rows_of(heap, environment=None, **parameters):
    target = heap.target()
    defaults = releases.default_parameters(heap.layout)
    for name, value in {**defaults, **parameters}.items():
        heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
    target = changed(target, environment=environment)
    report = json.loads(answer("params --format json", take(target)).text)
    return {row["name"]: row for row in table(report)}, report


@pytest.mark.parametrize("release", RELEASES)
def test_a_setting_that_nobody_has_changed_is_the_default(release):
    rows, _ = rows_of(usual(AMD64, release), {})
    assert {row["source"] for row in rows.values()} == {"default"}
    assert all(row["value"] == row["default"] for row in rows.values())
    assert set(rows) <= set(releases.lay_out("malloc_par", releases.MALLOC_PAR, 8, release).members)


@pytest.mark.parametrize(
    ("machine", "release", "largest"),
    [
        *((AMD64, (2, 36), 1032), (AMD64, (2, 43), 1041), (AMD64, (2, 44), 1041)),
        (I386, (2, 31), 1020),
    ],
)
def test_the_largest_cached_request_is_as_on_real_processes(machine, release, largest):
    """Read in gdb on processes of these releases."""
    layout = usual(machine, release).layout
    assert releases.default_parameters(layout)["tcache_max_bytes"] == largest


@pytest.mark.parametrize(
    ("environment", "changed", "source"),
    [
        ({"MALLOC_ARENA_MAX": "3"}, {"arena_max": 3}, "MALLOC_ARENA_MAX"),
        ({}, {"arena_max": 3}, "mallopt"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=5"},
            {"tcache_count": 5},
            "glibc.malloc.tcache_count",
        ),
        ({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=5"}, {"arena_max": 3}, "mallopt"),
        ({}, {"mmap_threshold": 1 << 20, "trim_threshold": 2 << 20}, "raised by a free"),
        (
            {},
            {"mmap_threshold": MAPPED, "trim_threshold": 2 * MAPPED, **FIXED},
            "free or mallopt",
        ),
        ({}, {"trim_threshold": 1000000, **FIXED}, "free or mallopt"),
        ({"MALLOC_TOP_PAD_": "131072"}, {"trim_threshold": 1000000, **FIXED}, "mallopt"),
        ({"MALLOC_TRIM_THRESHOLD_": "-1"}, {"trim_threshold": ULONG_MAX, **FIXED}, TRIM),
        ({"MALLOC_TRIM_THRESHOLD_": "9" * 20}, {"trim_threshold": ULONG_MAX, **FIXED}, TRIM),
        ({"MALLOC_MMAP_MAX_": ""}, {"n_mmaps_max": 0, **FIXED}, "MALLOC_MMAP_MAX_"),
        ({"MALLOC_TOP_PAD_": "abc"}, {"top_pad": 0, **FIXED}, "MALLOC_TOP_PAD_"),
        ({}, {"thp_pagesize": 2 << 20}, "unknown"),
        ({}, {"trim_threshold": 2 * MAPPED + 8192, **FIXED}, "mallopt"),
        (None, {"top_pad": 0, **FIXED}, "mallopt or environment"),
        (None, {"trim_threshold": MAPPED, **FIXED}, "free, mallopt or environment"),
        (
            {"MALLOC_TOP_PAD_": "65536", "GLIBC_TUNABLES": "glibc.malloc.top_pad=4096"},
            {"top_pad": 4096, **FIXED},
            "glibc.malloc.top_pad",
        ),
        ({"MALLOC_TOP_PAD_": "0x1000"}, {"top_pad": 4096, **FIXED}, "MALLOC_TOP_PAD_"),
        ({"MALLOC_TOP_PAD_": "8192"}, {"top_pad": 4096, **FIXED}, "mallopt"),
    ],
)
def test_who_set_a_value(environment, changed, source):
    rows, _ = rows_of(usual(), environment, **changed)
    assert {rows[name]["source"] for name in changed if name not in FIXED} == {source}


@pytest.mark.parametrize(
    ("given", "changed", "outcome"),
    [
        ("MALLOC_ARENA_MAX=3", {"arena_max": 3}, "in force"),
        ("MALLOC_ARENA_MAX=3", {}, "not in force: arena_max is 0"),
        ("MALLOC_ARENA_MAX=", {}, "malformed: read as 0"),
        ("MALLOC_ARENA_MAX_=3", {}, "unknown to malloc: no _ belongs at the end of the name"),
        ("MALLOC_TOP_PAD=3", {}, "unknown to malloc: a _ is missing at the end of the name"),
        ("MALLOC_NONSENSE=3", {}, "unknown to malloc"),
        ("MALLOC_TOP_PAD_=64K", {"top_pad": 64}, "malformed: read as 64"),
        ("MALLOC_TOP_PAD_=64K", {}, "not in force: top_pad is 131,072"),
        ("MALLOC_TOP_PAD_=0x40", {"top_pad": 64}, "in force"),
        ("MALLOC_PERTURB_=7", {}, "can't be told"),
        ("GLIBC_TUNABLES=glibc.malloc.tcache_count=0", {"tcache_count": 0}, "in force"),
        ("GLIBC_TUNABLES=glibc.malloc.tcache_max=64", {"tcache_max_bytes": 72}, "in force"),
        (
            "GLIBC_TUNABLES=glibc.malloc.tcache_max=-",
            {},
            "not in force: tcache_max_bytes is 1,032",
        ),
        ("GLIBC_TUNABLES=glibc.malloc.tcache_max=1032", {}, "in force"),
        ("GLIBC_TUNABLES=glibc.malloc.hugetlb=0", {}, "in force"),
        (
            "GLIBC_TUNABLES=glibc.malloc.tcache_count=08",
            {"tcache_count": 0},
            "malformed: read as 0",
        ),
        ("MALLOC_TRIM_THRESHOLD_=-1", {"trim_threshold": ULONG_MAX}, "in force"),
        ("MALLOC_MMAP_MAX_=-1", {}, "not in force: n_mmaps_max is 65,536"),
        ("GLIBC_TUNABLES=glibc.pthread.rseq=0", {}, "not malloc's"),
        ("GLIBC_TUNABLES=glibc.malloc.arena_mx=2", {}, "unknown to malloc"),
    ],
)
def test_what_became_of_a_variable(given, changed, outcome):
    variable, _, setting = given.partition("=")
    _, report = rows_of(usual(), {variable: setting}, **changed)
    row = {"variable": variable, "setting": setting, "outcome": outcome}
    (found,) = table(report, "environment")
    assert row.items() <= found.items()


def test_an_unknown_environment_is_said_to_be_unknown():
    _, report = rows_of(usual(), None)
    assert report["notes"][0] == "The environment of the program is unknown."


def test_only_mallocs_variables_are_read_from_an_environment():
    data = b"A=1\0MALLOC_ARENA_MAX=2\0XMALLOC_TOP=3\0GLIBC_TUNABLES=a=b\0PATH=/\0"
    assert malloc_variables(data) == {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "a=b"}
    assert malloc_variables(b"MALLOC_PERTURB_=1\0") == {"MALLOC_PERTURB_": "1"}
    parsed_by_glibc = b"glibc.no=1\0GLIBC_TUNABLES=glibc.a=1\0glibc.b=2\0HOME=/\0MALLOC_CUT=1"
    assert malloc_variables(parsed_by_glibc) == {"GLIBC_TUNABLES": "glibc.a=1:glibc.b=2"}
    assert malloc_variables(b"") == {}


@pytest.mark.parametrize("width", [80, 100, 140])
def test_long_values_and_sources_fit_the_terminal(width):
    heap = usual()
    tunables = "glibc.malloc.trim_threshold=-1:glibc.malloc.tcache_unsorted_limit=9"
    target = changed(heap.target(), environment={"GLIBC_TUNABLES": tunables})
    for name, value in (("trim_threshold", ULONG_MAX), ("tcache_unsorted_limit", 9)):
        heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
    text = answer("params", take(target), width).text
    assert max(map(len, text.splitlines())) <= width
    assert "trims" in text


@pytest.mark.live
def test_on_a_process_and_its_core_the_environment_is_named(start, tmp_path):
    variables = {
        "MALLOC_ARENA_MAX": "3",
        "MALLOC_TRIM_THRESHOLD_": "1048576",
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=5:glibc.malloc.mmap_threshold=500000",
    }
    inferior = start("mixed", env=variables)
    live = look(inferior.pid, "params")
    rows = {row["name"]: row for row in table(live)}
    assert (rows["arena_max"]["value"], rows["arena_max"]["source"]) == (3, "MALLOC_ARENA_MAX")
    assert rows["trim_threshold"]["source"] == "MALLOC_TRIM_THRESHOLD_"
    for name in ("tcache_count", "mmap_threshold"):
        assert rows[name]["source"] == f"glibc.malloc.{name}"
    assert rows["n_mmaps_max"]["source"] == "default"
    given = {r["setting"]: r["outcome"] for r in table(live, "environment")}
    assert set(given) == {"3", "1048576", *variables["GLIBC_TUNABLES"].split(":")}
    assert set(given.values()) == {"in force"}
    core = gcore(inferior.pid, tmp_path / "core")
    again = told("--core", core, "params", "--format", "json").report
    core.unlink()
    assert again["tables"] == live["tables"]
