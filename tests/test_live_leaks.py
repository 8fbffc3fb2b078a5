"""heapx leaks says of each set of chunks what is known of it: live, in cores, without symbols."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import table
from releases import glibc_of
from sets import Set, sets_of
from ways import Found, Seen, degrees_by_size, in_use, seen

pytestmark = pytest.mark.live

HEADER = 2 * 8
MMAPPED = 128 << 10  # bytes, from which on chunks have mappings of their own
IN_MMAPS = "glibc.malloc.hugetlb=2"
NO_TCACHE = "glibc.malloc.tcache_count=0"
# Where a heap is at addresses of 32 bits, as in programs that aren't PIE, any number or text may be
# the address of a chunk, such as AT_HWCAP: elsewhere the next time.
CHANCES = 4
PROGRAMS = ("leaks", "leaks_threads", "leaks_other_libc")
OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44


class Case(NamedTuple):
    """A program, how it is started, and the way in which heapx sees it."""

    words: str
    way: str = "live"
    tunables: str = ""


def slow(case: Any) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


CASES = [
    *map(Case, (*PROGRAMS, "leaks_forked", "leaks stale", "leaks list 1000000")),
    Case("leaks", "gcore"),
    Case("leaks_threads", "kernel"),
    Case("leaks_threads", "stripped"),
    Case("leaks", tunables=IN_MMAPS),
    slow(Case("leaks", "kernel")),
    slow(Case("leaks", "stripped")),
    slow(Case("leaks_threads", "gcore")),
    slow(Case("leaks_forked", "gcore")),
    slow(Case("leaks_other_libc", "kernel")),
    slow(Case("leaks", "kernel", IN_MMAPS)),
    slow(Case("leaks_threads", tunables=IN_MMAPS)),
    slow(Case("leaks", tunables=NO_TCACHE)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: " ".join(filter(None, case)))
def leaks(request, inferiors, tmp_path_factory):
    name, *arguments = request.param.words.split()
    directory = tmp_path_factory.mktemp(name)
    env = {"GLIBC_TUNABLES": request.param.tunables} if request.param.tunables else {}
    if request.param.tunables == IN_MMAPS:
        env["HEAPX_HEAP_MAX"] = str(4 * huge_page())  # glibc 2.35 to 2.41
    with seen(
        *(request.param.way, inferiors / name, *arguments),
        directory=directory,
        commands=("leaks",),
        counted=True,
        env=env,
    ) as found:
        yield found


def huge_page() -> int:
    """Return the size of the kernel's usual huge page, in bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Hugepagesize:"))


def known(one: Set) -> Counter[str]:
    """Return what is known of a set, but for what is reachable: that isn't told by size."""
    return Counter({d: n for d, n in one.chunks.items() if d != "reachable"})


def told(found: Found, one: Set) -> Counter[str]:
    """Return what is told of a set. From 2.43 on a mmapped chunk is less than its mapping."""
    sizes = (one.size, one.size - HEADER) if one.size >= MMAPPED else (one.size,)
    counted = sum((found.get(size, Counter()) for size in sizes), Counter())
    return Counter({degree: n for degree, n in counted.items() if degree != "reachable"})


def each_set_is_told(seen: Seen) -> None:
    assert wrong(seen) == {}


def wrong(seen: Seen) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Return the sets of which something else is told than what is known."""
    found = degrees_by_size(seen.reports["leaks"])
    sets = sets_of(seen.oracle)
    assert sets
    pairs = {name: (told(found, one), known(one)) for name, one in sets.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def nothing_else_is(seen: Seen) -> None:
    """No chunk that is free, no DTV, no buffer of stdio, nothing of the loader's."""
    own = [one.size for one in sets_of(seen.oracle).values()]
    own += [size - HEADER for size in own if size >= MMAPPED]
    for size, counted in degrees_by_size(seen.reports["leaks"]).items():
        if size not in own:
            assert not counted["leaked"] + counted["indirect"] + counted["red_zone"], size


def test_each_set_is_of_the_degree_that_is_known(leaks):
    each_set_is_told(leaks)


def test_nothing_else_is_leaked(leaks):
    nothing_else_is(leaks)


def test_all_degrees_add_up_to_in_use(leaks):
    rows = table(leaks.reports["leaks"], "degrees")
    total = (sum(row["chunks"] for row in rows), sum(row["bytes"] for row in rows))
    libcs = {row["libc"] for row in table(leaks.reports["leaks"], "leaks")}
    if len(libcs) > 1:
        pytest.skip("the counter knows of one libc only")
    assert total == in_use(leaks.oracle)


@pytest.mark.slow
@pytest.mark.parametrize("program", [*PROGRAMS, "leaks_forked"])
@pytest.mark.parametrize(
    ("suite", "arch"), [*((suite, "amd64") for suite in OTHERS), ("sid", "i386")]
)
def test_on_other_releases_the_same_is_told(suite, arch, program, tmp_path):
    glibc = glibc_of(suite, arch)
    exe = glibc.build(program, tmp_path)
    glibc.build("held", tmp_path, "-shared", "-fPIC").rename(tmp_path / "held.so")
    options = {"commands": ("leaks",), "symbols": glibc.symbols}
    by_chance: set[str] | None = None
    for run in range(CHANCES):
        with seen("live", exe, directory=tmp_path / f"run{run}", **options) as found:
            names = {*wrong(found)}
            by_chance = names if by_chance is None else by_chance & names
            if not names:
                nothing_else_is(found)
        if not by_chance:
            break
    assert not by_chance
