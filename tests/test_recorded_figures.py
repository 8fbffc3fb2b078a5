"""Every figure on recorded images of several releases, against glibc's own and the counter's.

The claims are those on living processes.
"""

from __future__ import annotations

import pytest
from live import scenes, table
from recorded import SOUND, USUAL, load
from test_live_figures import (  # noqa: F401
    COMMANDS,
    test_an_aligned_mmapped_chunk_is_the_one_that_the_program_has,
    test_binned_and_top_equal_malloc_infos_rest,
    test_every_arena_that_the_counter_saw_is_listed,
    test_every_bin_equals_malloc_infos,
    test_every_check_holds,
    test_fast_equals_malloc_infos,
    test_in_use_equals_what_a_preloaded_counter_counted,
    test_mmapped_chunks_are_those_that_malloc_counts,
    test_of_two_libcs_the_other_holds_what_was_allocated_from_it,
    test_of_two_libcs_the_program_s_own_is_exact,
    test_sums_equal_mallinfos,
    test_system_and_its_peak_equal_malloc_infos,
    test_the_bins_of_an_arena_are_its_binned_and_fast_chunks,
    test_the_heaps_of_an_arena_are_as_large_as_its_system,
    test_the_parts_of_an_arena_add_up_to_system,
    test_the_program_s_own_libc_comes_first,
    test_totals_are_the_sums_of_the_rows,
    test_two_libcs_are_both_reported,
    test_without_a_walk_the_lists_are_the_same_and_in_use_chunks_unknown,
)


@pytest.fixture(scope="module", params=scenes(SOUND, USUAL))
def inferior(request):
    return load(request.param)


@pytest.fixture(scope="module")
def live(inferior):
    """Return the reports of all commands."""
    return {c: inferior.report(c.partition(" ")[2]) for c in COMMANDS}


@pytest.fixture
def seen(live):
    return live


@pytest.fixture
def rows(live):
    return table(live["heapx arenas"])


@pytest.fixture(scope="module")
def two_libcs():
    return load("2.36-amd64-two-libcs")


@pytest.fixture(scope="module")
def both(two_libcs):
    return two_libcs.report("arenas")


def test_of_two_libcs_every_check_holds(two_libcs):
    report = two_libcs.report("check")
    assert report["problems"] == []
    assert all(row["ok"] for row in table(report))


def test_tcaches_hold_the_known_pattern_by_thread_and_size():
    image = load("2.36-amd64-tcaches")
    known = {(int(t), int(size)): int(n) for t, size, n in image.oracle.known if n != "0"}
    rows = [r for r in table(image.report("tcache")) if r["thread"] != image.facts["pid"]]
    assert {(r["thread"], r["min_size"]): r["chunks"] for r in rows} == known
    assert all(
        r["bytes"] == r["chunks"] * r["min_size"] == r["chunks"] * r["max_size"] for r in rows
    )
