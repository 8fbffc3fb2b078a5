"""heapx ledger on recorded images: every byte has one owner, and what is resident is the kernel's.

The claims are those on living processes; the oracle is what the kernel said when gdb had left.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
import test_live_ledger
from live import PAGE, table
from recorded import SOUND, load
from recording import mappings
from test_live_ledger import (  # noqa: F401
    COMMANDS,
    STATES,
    Kernel,
    Known,
    Scene,
    Seen,
    adds_up,
    owned,
    span,
    test_a_program_s_own_mapping_is_other_anonymous_memory,
    test_a_shared_file_is_not_shared_memory_and_neither_a_program,
    test_a_stack_that_the_program_brought_is_its_own_memory,
    test_arenas_and_bins_say_the_same,
    test_every_byte_of_every_mapping_has_an_owner,
    test_guard_pages_are_neither_resident_nor_swapped,
    test_locked_pages_are_resident_though_nobody_wrote_them,
    test_mmapped_chunks_are_all_that_malloc_counts,
    test_nothing_is_unknown,
    test_shared_memory_of_every_kind_is_shared_memory,
    test_the_note_names_the_kernel_s_rss,
    test_the_resident_bytes_add_up_to_the_kernel_s_rss,
    test_thread_stacks_are_those_of_all_threads_and_of_one_that_ended,
    test_what_has_a_name_is_what_smaps_says_of_it,
    test_what_heaps_have_reserved_is_never_resident,
    test_zero_pages_are_not_resident,
    total,
)

ONE_HEAP = [
    *("2.36-amd64-fast", "2.36-amd64-mmapped", "2.36-amd64-untouched-top"),
    *(f"2.36-amd64-trim-{name}" for name in ("crumbs", "page-sized", "given-back", "read-since")),
]


def kernel_of(smaps: str) -> Kernel:
    """Return what smaps says."""
    figures = {}
    for row, block in zip(mappings(smaps), re.split(r"^(?=\w+-\w+ )", smaps, flags=re.M)[1:]):
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", block, re.M))
        figures[row] = (row.end - row.start, *(int(sizes[n]) << 10 for n in ("Rss", "Swap")))
    rss, swap = (sum(each[i] for each in figures.values()) for i in (1, 2))
    return Kernel(rss, swap, "", figures)


class Present:
    """The pages of memory without a file that were in RAM, by the bits of pagemap."""

    def __init__(self, pagemap: list[Any]) -> None:
        self._pages = {}
        for start, runs in pagemap:
            at = start // PAGE
            for count, bits in runs:  # 8: present; 1: exclusive, which a zero page isn't
                self._pages.update(dict.fromkeys(range(at, at + count), bits & 9 == 9))
                at += count

    def within(self, start: int, end: int) -> int:
        """Return the bytes of [start, end) that are in RAM."""
        numbers = (n for n in range(start // PAGE, -(-end // PAGE)) if self._pages.get(n))
        return sum(min(end, (n + 1) * PAGE) - max(start, n * PAGE) for n in numbers)


@pytest.fixture(scope="module", params=SOUND)
def recording(request):
    return load(request.param)


@pytest.fixture(scope="module")
def seen(recording):
    kernel = kernel_of(recording.said["before"]["smaps"])
    reports = {c: recording.report(c.partition(" ")[2]) for c in COMMANDS}
    return Seen(recording, kernel, kernel, reports)


@pytest.fixture(scope="module")
def present(recording):
    return Present(recording.said["before"]["pagemap"])


def test_an_arena_s_resident_bytes_are_what_pagemap_says_of_its_heaps(seen, present):
    heaps = defaultdict(int)
    for heap in seen.table("heaps"):
        heaps[heap["libc"], heap["arena"]] += present.within(*span(heap))
    rows = defaultdict(list)
    for row in seen.rows:
        if row["owner"] in STATES and row["arena"] is not None:
            rows[row["libc"], row["arena"]].append(row)
    assert {key: total(own)[1] for key, own in rows.items()} == heaps


def test_each_heap_s_resident_bytes_are_what_pagemap_says(seen, present):
    for row in (*seen.table("heaps"), *seen.table("top")):
        assert row["resident"] == present.within(*span(row))


def test_each_mmapped_chunk_s_resident_bytes_are_what_pagemap_says(seen, present):
    """Its mapping begins where its first word says, before the header."""
    for row in seen.table("mmapped"):
        at, word = int(row["address"], 16), seen.inferior.facts["word"]
        header = seen.inferior.pages[at - at % PAGE][at % PAGE : at % PAGE + word]
        start = at - (int.from_bytes(header, "little") & ~1)
        assert row["resident"] == present.within(start, start + row["mapping"])


def chunks(image, start, top):
    """Yield address, size and PREV_INUSE of each chunk from `start` to top."""
    word, page, at = image.facts["word"], image.facts["page"], start
    while at <= top:
        place = (at + word) % page
        value = int.from_bytes(image.pages[at + word - place][place : place + word], "little")
        yield at, value & ~7, value & 1
        at += value & ~7


@pytest.mark.parametrize("recording", ONE_HEAP, indirect=True, scope="module")
def test_of_binned_chunks_the_resident_bytes_are_what_pagemap_says(seen, present):
    """Of chunks that the tag of the next one calls free, where one heap is all of malloc's."""
    ((start, _),), (top,) = map(span, seen.table("heaps")), seen.table("top")
    row = list(chunks(seen.inferior, start, int(top["address"], 16)))
    free = [(at, size) for (at, size, _), (_, _, used) in zip(row, row[1:]) if not used]
    resident = sum(present.within(at, at + size) for at, size in free)
    assert owned(seen.rows, "binned")[:2] == (sum(size for _, size in free), resident)


def test_arenas_are_as_large_as_malloc_info_says(seen):
    sizes = defaultdict(int)
    for row in seen.rows:
        if row["owner"] in STATES and row["arena"] is not None:
            sizes[row["arena"]] += row["virtual"]
    assert list(sizes.values()) == [arena.system for arena in seen.inferior.oracle.arenas]


def test_what_is_in_use_is_what_the_counter_counted(seen):
    counts = seen.inferior.oracle.counts
    held = sum(count.bytes for name, count in counts.items() if name != "mmapped")
    assert owned(seen.rows, "in use")[0] == held
    assert owned(seen.rows, "mmapped chunks")[0] == counts["mmapped"].bytes


@pytest.fixture
def scene(monkeypatch):
    """Return what is known and told of a scenario of memory.c."""

    def look_at(scenario):
        image = load(f"2.36-amd64-memory-{scenario}")
        present = Present(image.said["before"]["pagemap"])
        monkeypatch.setattr(
            test_live_ledger,
            "resident_and_swapped",
            lambda _, start, end: (present.within(start, end), 0),
        )
        says, rows = kernel_of(image.said["before"]["smaps"]), table(image.report("ledger"))
        adds_up(rows, says)
        lines = (words for words in image.oracle.known if len(words) == 4)
        known = [
            Known(kind, int(at, 16), int(at, 16) + int(size), None if ram == "-" else int(ram))
            for kind, at, size, ram in lines
        ]
        return Scene(image, says, rows, known)

    return look_at
