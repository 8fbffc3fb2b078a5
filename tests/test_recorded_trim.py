"""heapx trim on recorded images foretells what the malloc_trim gave back that then followed.

The claims are those on living processes; the oracle is the kernel's word before and after.
"""

from __future__ import annotations

import pytest
from live import table
from recorded import SOUND, load
from test_live_trim import (  # noqa: F401
    Measured,
    Seen,
    test_all_that_leaves_memory_was_foretold,
    test_no_part_is_negative_or_more_resident_than_large,
    test_the_parts_are_all_that_is_free,
    test_the_total_is_the_sum_of_the_arenas,
    test_what_is_returned_is_whole_resident_pages_at_two_places,
    test_what_leaves_each_arena_was_foretold,
)
from test_recorded_ledger import Present, kernel_of, span

LOWER, TOP, GONE = "returned_below_top", "returned_top", "already_returned"
SHOWS = {  # columns that an image is for: it has 100 KiB there
    "untouched-top": (GONE,),
    "trim-sprinkled": (LOWER,),
    "trim-page-sized": ("kept_partial_page",),
    "trim-crumbs": ("kept_small_bins",),
    "trim-aligned": (LOWER,),
    "trim-fast-beside-top": (TOP,),
    "trim-fast-beside-top-thread": ("kept_top",),
    "trim-fast-between-free": (LOWER, "kept_partial_page"),
    "trim-large-top": (TOP,),
    "trim-large-top-pad": (TOP, "kept_top"),
    "trim-large-top-thread": ("kept_top",),
    "trim-padded-top": (TOP, GONE),
    "trim-untouched-top-pad": (TOP, GONE),
    "trim-foreign-break": (LOWER, "kept_foreign_brk"),
    "trim-break-between": (LOWER, TOP),
    "trim-break-blocked": (LOWER, "kept_foreign_brk"),
    "trim-break-unblocked": (LOWER, TOP),
    "trim-locked": (TOP, "kept_locked"),
    "trim-locked-in-part": (LOWER, "kept_locked"),
    "trim-given-back": (LOWER, GONE),
    "trim-read-since": (LOWER, GONE),
    "trim-much-tcache": ("kept_tcache",),
    "trim-huge": (LOWER, "kept_top"),
    "trim-huge-read-since": (LOWER, GONE),
    "trim-in-mmaps-read-since": (LOWER, GONE),
}


def measured(said, heaps):
    """Return what was resident of the mappings that malloc can have, and of each arena."""
    by_mapping = {
        f"{row.start:x}": resident
        for row, (_, resident, _) in kernel_of(said["smaps"]).mappings.items()
        if row.permissions == "rw-p" and row.name in ("", "[heap]")
    }
    present, by_arena = Present(said["pagemap"]), dict.fromkeys((h["arena"] for h in heaps), 0)
    for heap in heaps:
        by_arena[heap["arena"]] += present.within(*span(heap))
    return Measured(by_mapping, by_arena)


@pytest.fixture(scope="module", params=SOUND)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def seen(name):
    recording = load(name)
    trim = recording.report(f"trim --pad {recording.said['pad']}")
    heaps, arenas = (table(recording.report(command)) for command in ("heaps", "arenas"))
    before, after = (measured(recording.said[when], heaps) for when in ("before", "after"))
    assert trim["problems"] == []
    return Seen(trim["tables"][0], arenas, {}, before, after)


def test_malloc_trim_tells_whether_it_gave_back_memory(name, seen):
    if seen.trim["total"]["returned"]:
        assert int(load(name).said["trimmed"]) == 1


@pytest.mark.parametrize("shown", SHOWS)
def test_the_heap_has_what_it_is_for(shown):
    recording = load(f"2.36-amd64-{shown}")
    (trim,) = recording.report(f"trim --pad {recording.said['pad']}")["tables"]
    assert all(trim["total"][column] >= 100 << 10 for column in SHOWS[shown]), trim["total"]
