"""What a remedy is worth: the program is run again with it, and the kernel's RSS compared."""

from __future__ import annotations

import re
from typing import Any

import pytest
from live import PAGE, Report, look, status, told
from test_live_why import MIB, found, rss

from gdb_heapx.report.model import size_text

pytestmark = pytest.mark.live

SLACK = 1 * MIB  # ld.so's and libc's pages differ between two runs of a program


def fell(start: Any, scenario: str, given: dict[str, str], remedy: dict[str, str]) -> Any:
    """Return what heapx why says of a program, and by how much less it has with the remedy."""
    before = start("remedies", scenario, env=given)
    report, size = look(before.pid, "why"), rss(before.pid)
    return report, size - rss(start("remedies", scenario, env=remedy).pid)


DEFAULT = {"MALLOC_MMAP_THRESHOLD_": "131072"}
ESTIMATED = ("large", "upwards", "downwards", "at_random", "mixed", "small_over_large", "thread")


@pytest.mark.parametrize("scenario", ESTIMATED)
@pytest.mark.slow
def test_a_lower_mmap_threshold_gives_what_is_likely_and_no_more_than_at_most(start, scenario):
    """Likely within a twentieth of what is at most, which is all of the large free chunks."""
    report, less = fell(start, scenario, {}, DEFAULT)
    finding = found(report, "mmap_threshold_raised")
    assert finding["worth_is"] == "at most"
    assert less <= finding["worth"] + SLACK
    assert abs(finding["likely"] - less) <= finding["worth"] / 20 + SLACK


def test_what_is_likely_is_no_more_than_that_where_large_blocks_lay_over_small_ones(start):
    """The small ones need as much memory by themselves: nothing that is left tells of them."""
    report, less = fell(start, "large_over_small", {}, DEFAULT)
    finding = found(report, "mmap_threshold_raised")
    assert less <= finding["worth"] + SLACK
    assert finding["reason_of"] == "returnable"


def test_the_first_screen_says_at_most_and_reads_nothing_for_an_estimate(start):
    report = look(start("remedies", "mixed").pid)
    assert not [each for each in report["findings"] if each["likely"] is not None]


@pytest.mark.slow
def test_a_bound_far_beyond_what_is_likely_is_left_out_and_the_remedy_gives_what_is_likely(start):
    before = start("remedies", "tops_of_threads")
    finding = found(look(before.pid, "why"), "other_tops")
    assert finding["worth_is"] == "at most"
    assert finding["worth"] > 100 * finding["likely"]
    text = " ".join(told("-p", before.pid, "why").out.split())
    assert f"Likely {size_text(finding['likely'])}: malloc_trim never returns the tops" in text
    remedy = dict(re.findall(r"(MALLOC_\w+_)=(\d+)", finding["remedy"]))
    less = without_files(before.pid) - without_files(
        start("remedies", "tops_of_threads", env=remedy).pid
    )
    one_more = 128 << 10  # the main arena's top, where a thread had that
    assert abs(finding["likely"] - less) <= finding["likely"] / 20 + one_more


def without_files(pid: int) -> int:
    """Return the kernel's RSS without the pages of files."""
    return int(status(pid, "RssAnon")) << 10


def tunable(name: str, value: int) -> dict[str, str]:
    return {"GLIBC_TUNABLES": f"glibc.malloc.{name}={value}"}


# By code: the scenario, and the setting that is in force there.
BOUNDED = {
    "mmap_threshold_low": ("many", tunable("mmap_threshold", 2048)),
    "hugetlb": ("untouched", tunable("hugetlb", 1)),
    "trim_threshold": ("tops", {"MALLOC_TRIM_THRESHOLD_": str(1 << 30)}),
    "top_pad_set": ("tops", {"MALLOC_TOP_PAD_": str(64 * MIB)}),
    "mmap_threshold_set": ("large", {"MALLOC_MMAP_THRESHOLD_": str(1 << 30)}),
    "mmap_disabled": ("large", {"MALLOC_MMAP_MAX_": "0"}),
}
UNKNOWN = {
    "tcache_count_set": ("cached", tunable("tcache_count", 20000)),
    "many_arenas": ("threads", {"MALLOC_ARENA_MAX": "64"}),
    "malloc_perturb": ("untouched", {"MALLOC_PERTURB_": "165"}),
    "mlockall": ("locked", {"REMEDIES_LOCK": "future"}),
}


def is_first(report: Report, code: str) -> dict[str, Any]:
    """Return a finding that must be the first one, a setting in force; no headline denies it."""
    first = report["findings"][0]
    assert (first["code"], first["in_force"]) == (code, True)
    assert not [note for note in report["notes"] if "no malloc setting" in note]
    return first


@pytest.mark.parametrize("code", BOUNDED)
@pytest.mark.few(1)
def test_without_a_setting_that_makes_it_worse_rss_falls_by_no_more_than_at_most(start, code):
    scenario, given = BOUNDED[code]
    remedy = DEFAULT if scenario == "large" else {}
    report, less = fell(start, scenario, given, remedy)
    first = is_first(report, code)
    if code == "hugetlb" and not first["bytes"]:
        pytest.skip("the kernel gives no transparent huge pages")
    assert first["worth_is"] == "at most"
    assert first["worth"] / 2 < less <= first["worth"] + SLACK


@pytest.mark.parametrize("code", UNKNOWN)
@pytest.mark.slow
def test_a_setting_whose_worth_cannot_be_computed_is_first_and_makes_it_worse(start, code):
    scenario, given = UNKNOWN[code]
    remedy = {"MALLOC_ARENA_MAX": "2"} if code == "many_arenas" else {}
    report, less = fell(start, scenario, given, remedy)
    first = is_first(report, code)
    assert first["worth"] is None
    assert first["bytes"] / 2 < less <= first["bytes"] + SLACK


@pytest.mark.slow
def test_mappings_that_are_nearly_used_up_are_told(start):
    report = look(start("remedies", "many", env=tunable("mmap_threshold", 2048)).pid, "why")
    (used, *_) = is_first(report, "mmap_threshold_low")["evidence"]
    assert "of 65,536 mappings that M_MMAP_MAX allows are used; the blocks beyond" in used


def test_locked_on_fault_nothing_is_said_to_be_filled(start):
    report = look(start("remedies", "locked", env={"REMEDIES_LOCK": "on fault"}).pid, "why")
    first = is_first(report, "mlockall")
    assert "what was touched once stays" in first["statement"]
    assert first["worth_is"] == "exact"
    assert first["worth"] % PAGE == 0
