"""heapx and heapx why on recorded images: what they say of memory is what the kernel said."""

from __future__ import annotations

import pytest
from live import scenes, table
from recorded import NAMES, SOUND, USUAL, load
from test_live_why import codes, first_of_all, found, one_screen, told_once
from test_recorded_ledger import kernel_of


@pytest.fixture(scope="module", params=scenes(SOUND, USUAL))
def image(request):
    return load(request.param)


@pytest.fixture(scope="module")
def overview(image):
    return image.report("")


def resident(image, when):
    """Return the bytes in RAM, before or after the malloc_trim, of what malloc can have."""
    kernel = kernel_of(image.said[when]["smaps"])
    return sum(kernel.of(kind)[1] for kind in ("[heap]", "anonymous"))


def test_the_parts_of_the_overview_are_the_kernel_s_rss(image, overview):
    rss = kernel_of(image.said["before"]["smaps"]).rss
    rows = table(overview, "overview")
    assert sum(row["resident"] for row in rows) == rss
    assert sum(row["share"] for row in rows) == 100
    assert all(abs(100 * row["resident"] / rss - row["share"]) < 1 for row in rows)


@pytest.mark.parametrize("name", [name for name in SOUND if not name.endswith("-pad")])
@pytest.mark.few(4)
def test_what_is_returnable_is_what_a_real_malloc_trim_returned(name):
    image = load(name)
    fell = resident(image, "before") - resident(image, "after")
    (row,) = (row for row in table(image.report("")) if row["key"] == "returnable")
    assert row["resident"] == fell
    if "returnable" in codes(image.report("why")):
        assert found(image.report("why"), "returnable")["bytes"] == fell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(16)
def test_what_leads_is_no_more_than_rss(name):
    """Without what is told twice, and but for swap: no byte counts as several causes'."""
    image = load(name)
    rss = sum(mapping.usage.resident for mapping in image.mappings)  # smaps
    assert told_once(image.report("why")["findings"]) <= rss


SETTINGS = {
    "2.36-amd64-trim-huge": ("hugetlb", "returnable"),
    "2.36-amd64-trim-huge-large-top": ("hugetlb", "trim_threshold"),
    "2.36-amd64-trim-locked": ("mlockall", "trim_threshold"),
    "2.36-amd64-trim-locked-in-part": ("mmap_threshold_set", "locked"),
    "2.36-amd64-trim-fast-beside-top": ("mmap_threshold_set", "returnable"),
    "2.36-amd64-trim-fast-beside-top-thread": ("mmap_threshold_set", "other_tops"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_setting_keeps_is_told_with_it(name):
    """Whatever else these bytes are, such as free at the end of an arena."""
    (leader, reason), findings = SETTINGS[name], load(name).report("why")["findings"]
    reasons = {each["code"]: each["reason_of"] for each in findings}
    assert reasons[leader] is None
    assert reasons[reason] == leader


@pytest.mark.few(9)
def test_the_overview_s_findings_are_the_first_of_all(image, overview):
    assert first_of_all(overview["findings"], image.report("why")["findings"])


def test_the_overview_is_one_screen(image):
    one_screen(image.text(""))
