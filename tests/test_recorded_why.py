"""heapx and heapx why on recorded images: what they say of memory is what the kernel said."""

from __future__ import annotations

import pytest
from live import scenes, table
from recorded import SOUND, USUAL, load
from test_live_why import codes, first_of_all, found, one_screen
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
@pytest.mark.few(16)
def test_what_is_returnable_is_what_a_real_malloc_trim_returned(name):
    image = load(name)
    fell = resident(image, "before") - resident(image, "after")
    (row,) = (row for row in table(image.report("")) if row["key"] == "returnable")
    assert row["resident"] == fell
    if "returnable" in codes(image.report("why")):
        assert found(image.report("why"), "returnable")["bytes"] == fell


@pytest.mark.few(9)
def test_the_overview_s_findings_are_the_first_of_all(image, overview):
    assert first_of_all(overview["findings"], image.report("why")["findings"])


def test_the_overview_is_one_screen(image):
    one_screen(image.text(""))
