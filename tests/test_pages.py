"""Page states: by the entries of a made-up pagemap, and against the kernel's own Rss."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
from array import array
from contextlib import contextmanager
from pathlib import Path

import pytest
from heapbuilder import PAGE, Pages
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.errors import MemoryFault
from gdb_heapx.target import maps, pages
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.maps import parse_maps, read_maps, read_places
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED, UNTOUCHED, ZERO, PageStates

BASE = 0x10000
# Documentation/admin-guide/mm/pagemap.rst
PRESENT, SWAP, FILE, GUARD, EXCLUSIVE = 1 << 63, 1 << 62, 1 << 61, 1 << 58, 1 << 56
SOFT_DIRTY, WRITE_PROTECTED = 1 << 55, 1 << 57
OPEN = PRESENT | SOFT_DIRTY  # neither file nor exclusive: the zero page, or shared after fork


def usage(resident=0, swapped=0, locked=False, apart=None, shared=0):
    return Usage(resident, resident, swapped, shared, 0, 0, locked, apart)


def mapped(start, number, **kernel):
    """Return a mapping of so many pages, as smaps describes it."""
    return Mapping(start, start + number * PAGE, "rw-p", 0, "", 0, usage(**kernel))


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Return a maker of PageStates: of mappings, and entries from BASE on."""
    path = tmp_path / "pagemap"
    monkeypatch.setattr(pages, "open", lambda *_, **__: path.open("rb", buffering=0), raising=False)

    def make(mappings, *entries):
        with path.open("wb") as file:
            file.seek(BASE // PAGE * 8)
            file.write(array("Q", entries).tobytes())
        return PageStates(4711, PAGE, tuple(mappings))

    return make


# By the entry alone.


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (0, UNTOUCHED),
        (SOFT_DIRTY, UNTOUCHED),
        (FILE, UNTOUCHED),  # of a file, and not in memory
        (PRESENT | EXCLUSIVE, RESIDENT),
        (PRESENT | EXCLUSIVE | SOFT_DIRTY | WRITE_PROTECTED, RESIDENT),
        (PRESENT | EXCLUSIVE | 0x1234567, RESIDENT),  # root sees the frame's number
        (PRESENT | FILE | EXCLUSIVE, RESIDENT),
        (SWAP, SWAPPED),
        (SWAP | 0x1234567, SWAPPED),  # type and offset
        (SWAP | FILE, SWAPPED),  # shared anonymous memory
        (SWAP | GUARD, UNTOUCHED),  # from Linux 6.15 on
        (GUARD, UNTOUCHED),
    ],
)
def test_an_entry_has_its_state(made_up, entry, state):
    states = made_up([mapped(BASE, 1, resident=PAGE, swapped=PAGE)], entry)
    assert states.state(BASE + 8) == state


@pytest.mark.parametrize(
    ("entry", "state"), [(PRESENT | FILE, SHARED), (PRESENT | FILE | EXCLUSIVE, RESIDENT)]
)
def test_a_page_of_a_file_is_shared_if_another_process_has_mapped_it(made_up, entry, state):
    file = Mapping(BASE, BASE + PAGE, "r--p", 7, "/file", 0, usage(resident=PAGE))
    assert made_up([file], entry).state(BASE) == state


@pytest.mark.parametrize(("swapped", "state"), [(0, UNTOUCHED), (PAGE, SWAPPED)])
def test_a_guard_before_linux_6_15_looks_swapped_and_smaps_knows_better(made_up, swapped, state):
    assert made_up([mapped(BASE, 1, swapped=swapped)], SWAP).state(BASE) == state


@pytest.mark.parametrize("apart", ["hugetlb", "device"])
@pytest.mark.parametrize(
    ("entry", "state"),
    [(PRESENT | FILE, ZERO), (PRESENT | EXCLUSIVE, ZERO), (OPEN, ZERO), (SWAP, UNTOUCHED)],
)
def test_what_is_not_in_rss_is_mapped_at_most(made_up, apart, entry, state):
    states = made_up([mapped(BASE, 2, apart=apart)], entry, entry, 0)
    assert states.states(BASE, BASE + 3 * PAGE) == bytes([state, state, UNTOUCHED])
    assert states.missing(BASE, BASE + 2 * PAGE) == (2 * PAGE, 0, 0)


def test_a_mapping_apart_does_not_change_its_neighbours(made_up):
    mappings = [
        mapped(BASE, 1),
        mapped(BASE + PAGE, 1, apart="hugetlb"),
        mapped(BASE + 2 * PAGE, 1),
    ]
    states = made_up(mappings, *[PRESENT | EXCLUSIVE] * 3)
    assert states.states(BASE, BASE + 3 * PAGE) == bytes([RESIDENT, ZERO, RESIDENT])


def test_what_pagemap_does_not_give_is_untouched(made_up):
    states = made_up([mapped(BASE, 1)], PRESENT | EXCLUSIVE)
    assert states.states(BASE, BASE + 3 * PAGE) == bytes([RESIDENT, UNTOUCHED, UNTOUCHED])


# The zero page, or one shared after fork. Before Linux 6.7 (a plain file knows no ioctl either).


@pytest.mark.parametrize(
    ("resident", "state"), [(0, ZERO), (1, ZERO), (2, SHARED), (3, SHARED), (None, RESIDENT)]
)
def test_open_entries_are_what_most_of_them_must_be_by_the_mappings_rss(made_up, resident, state):
    mapping = mapped(BASE, 4, resident=((resident or 0) + 1) * PAGE, shared=PAGE)
    if resident is None:  # without smaps
        mapping = parse_maps(f"{BASE:x}-{BASE + 4 * PAGE:x} rw-p 0 00:00 0")[0]
    states = made_up([mapping], OPEN, PRESENT | EXCLUSIVE, OPEN, OPEN)
    assert states.states(BASE, BASE + 4 * PAGE) == bytes([state, RESIDENT, state, state])


def test_without_a_shared_page_by_smaps_open_entries_are_none(made_up):
    mapping = mapped(BASE, 2, resident=2 * PAGE)  # before Linux 4.2 nothing is called exclusive
    assert made_up([mapping], OPEN, OPEN).states(BASE, BASE + 2 * PAGE) == bytes([RESIDENT] * 2)


def test_each_mapping_has_its_own_rss(made_up):
    states = made_up([mapped(BASE, 2), mapped(BASE + 2 * PAGE, 1, resident=PAGE)], *[OPEN] * 3)
    assert states.states(BASE, BASE + 3 * PAGE) == bytes([ZERO, ZERO, RESIDENT])


# Ranges.


def test_states_are_those_of_the_pages_that_hold_a_range(made_up):
    states = made_up([mapped(BASE, 3, swapped=PAGE)], PRESENT | EXCLUSIVE, SWAP, 0)
    assert states.states(BASE + PAGE - 1, BASE + PAGE + 1) == bytes([RESIDENT, SWAPPED])
    assert states.states(BASE + PAGE, BASE + PAGE + 1) == bytes([SWAPPED])
    assert states.states(BASE + PAGE, BASE + PAGE) == b""


ENTRY = {UNTOUCHED: 0, RESIDENT: PRESENT | EXCLUSIVE, SWAPPED: SWAP, ZERO: OPEN}
FORKED = {UNTOUCHED: 0, RESIDENT: PRESENT | EXCLUSIVE, SWAPPED: SWAP, SHARED: OPEN}
edges = st.tuples(st.integers(0, 20 * PAGE), st.integers(0, 20 * PAGE)).map(sorted)


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_missing_counts_every_byte_by_its_page(made_up, monkeypatch, block):
    monkeypatch.setattr(PageStates, "BLOCK", block)
    monkeypatch.setattr(PageStates, "CAPACITY", 4)

    @tried(100)
    @given(st.sampled_from([ENTRY, FORKED]), st.data(), edges)
    def agrees(entries, data, edge):
        wanted = data.draw(st.lists(st.sampled_from(list(entries)), min_size=20, max_size=20))
        start, end = (BASE + offset for offset in edge)
        model = Pages()
        for number, state in enumerate(wanted):
            model.mark(BASE + number * PAGE, BASE + (number + 1) * PAGE, state)
        kinds = (RESIDENT, SHARED, SWAPPED)
        private, shared, swapped = (PAGE * wanted.count(state) for state in kinds)
        kernel = {"resident": private + shared, "shared": shared, "swapped": swapped}
        mapping = mapped(BASE, 20, **kernel)
        states = made_up([mapping], *(entries[state] for state in wanted))
        assert states.missing(start, end) == model.missing(start, end)
        assert states.states(start, end) == model.states(start, end)

    agrees()


@pytest.mark.parametrize(
    ("start", "end", "missing"),
    [
        (100, 200, (100, 0, 0)),
        (PAGE - 100, PAGE + 100, (100, 0, 0)),
        (PAGE - 100, 2 * PAGE + 7, (107, 7, 0)),
        (2 * PAGE + 8, 2 * PAGE + 9, (1, 1, 0)),
        (3 * PAGE - 16, 4 * PAGE, (PAGE + 16, 16, 0)),
        (PAGE, 2 * PAGE, (0, 0, 0)),
        (4 * PAGE - 8, 4 * PAGE + 24, (8, 0, 24)),
        (5 * PAGE - 8, 5 * PAGE + 16, (0, 0, 8)),
        (4 * PAGE + 1, 4 * PAGE + 2, (0, 0, 1)),
        (100, 100, (0, 0, 0)),
    ],
)
def test_missing_at_unaligned_ends(made_up, start, end, missing):
    mapping = mapped(BASE, 4, resident=PAGE, swapped=PAGE)
    forked = mapped(BASE + 4 * PAGE, 2, resident=2 * PAGE, shared=PAGE)
    entries = (0, PRESENT | EXCLUSIVE, SWAP, OPEN, OPEN, PRESENT | EXCLUSIVE)
    states = made_up([mapping, forked], *entries)
    assert states.missing(BASE + start, BASE + end) == missing


@pytest.mark.parametrize("start", [-PAGE, -1, 1 << 64, 1 << 70])
def test_beyond_the_address_space_there_are_no_pages(made_up, start):
    states = made_up([mapped(BASE, 4)])
    for ask in (states.state, lambda at: states.states(at, at + 8)):
        with pytest.raises(MemoryFault):
            ask(start)


def test_of_a_range_that_is_larger_than_all_mappings_only_those_are_looked_at(made_up, monkeypatch):
    states = made_up([mapped(BASE, 2)], PRESENT | EXCLUSIVE, PRESENT | EXCLUSIVE, SWAP, SWAP)
    read, raw = [], PageStates._raw
    monkeypatch.setattr(PageStates, "BLOCK", 4)
    monkeypatch.setattr(PageStates, "_raw", lambda *args: read.append(args[1:]) or raw(*args))
    whole = 1 << 60
    assert states.missing(BASE, BASE + whole) == (whole - 2 * PAGE, 0, 0)
    assert read == [(BASE, BASE + 4 * PAGE)]
    with pytest.raises(MemoryFault):
        states.states(BASE, BASE + whole)


def test_states_stay_what_they_were_when_first_asked_for(made_up):
    states = made_up([mapped(BASE, 1)], 0)
    assert states.state(BASE) == UNTOUCHED
    made_up([], PRESENT | EXCLUSIVE)
    assert states.state(BASE) == UNTOUCHED


# A real kernel: this process, and a child of it.


class Private:
    """Private anonymous memory of this process."""

    def __init__(self, size, advice=mmap.MADV_NOHUGEPAGE):
        # Two more pages keep it apart from other mappings.
        self._map = mmap.mmap(-1, size + 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.start, self.end = self._base + 2 * PAGE, self._base + 2 * PAGE + size
        for guard in (0, size + 3 * PAGE):
            ctypes.CDLL(None).mprotect(ctypes.c_void_p(self._base + guard), PAGE, 0)
        with contextlib.suppress(OSError):  # a kernel without huge pages
            self._advise(advice, 0, size)

    def _advise(self, advice, offset, size):
        self._map.madvise(advice, 2 * PAGE + offset, size)

    def advise(self, advice, page):
        self._advise(advice, page * PAGE, PAGE)

    def write(self, page):
        self._map[(page + 2) * PAGE] = 1

    def read(self, page):
        return self._map[(page + 2) * PAGE]

    def states(self):
        return own_states(read_maps(os.getpid())).states(self.start, self.end)


def own_states(mappings, pid=None):
    if mmap.PAGESIZE != PAGE:
        pytest.skip(f"written for pages of {PAGE} bytes")
    try:
        return PageStates(pid or os.getpid(), PAGE, mappings)
    except OSError as error:
        pytest.skip(f"/proc/PID/pagemap: {error.strerror}")


def by_either_way(states):
    """Return what `states` gives by PAGEMAP_SCAN, and by the mapping's Rss."""
    with pytest.MonkeyPatch.context() as patch:

        def unknown(*_):
            raise OSError(25, "Inappropriate ioctl for device")

        patch.setattr(pages.fcntl, "ioctl", unknown)
        by_rss = states()
    return states(), by_rss


def test_the_kernel_tells_read_written_and_returned_pages_apart():
    memory = Private(8 * PAGE)
    for page in (1, 2, 3):
        memory.write(page)
    memory.read(5)
    memory.advise(mmap.MADV_DONTNEED, 2)
    expected = bytes(
        [UNTOUCHED, RESIDENT, UNTOUCHED, RESIDENT, UNTOUCHED, ZERO, UNTOUCHED, UNTOUCHED]
    )
    assert by_either_way(memory.states) == (expected, expected)


def test_a_page_that_a_child_has_mapped_too_is_shared():
    memory = Private(4 * PAGE)
    for page in range(4):
        memory.write(page)
    ready, hold = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(hold[1])
        os.write(ready[1], b"x")
        os.read(hold[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        memory.write(1)
        states = bytes([SHARED, RESIDENT, SHARED, SHARED])
        assert by_either_way(memory.states) == (states, states)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (*ready, *hold):
            os.close(end)


def test_more_zero_pages_than_one_scan_returns_are_all_found():
    memory, number = Private(2400 * PAGE), 2400
    for page in range(number):
        memory.read(page) if page % 2 else memory.write(page)
    states = memory.states()
    assert number // 2 > pages._REGIONS
    # Without PAGEMAP_SCAN a mix can't be told apart: half of the open ones would be too many.
    assert states == bytes([RESIDENT, ZERO] * (number // 2))


def test_the_huge_zero_page_is_no_memory():
    huge, used = 2 << 20, Path("/sys/kernel/mm/transparent_hugepage/use_zero_page")
    if not used.exists() or used.read_text() != "1\n":
        pytest.skip("this kernel maps no huge zero page")
    memory = Private(2 * huge, mmap.MADV_HUGEPAGE)
    first = -memory.start % huge // PAGE
    memory.read(first)
    states = memory.states()
    if states.count(UNTOUCHED) == len(states) - 1:
        pytest.skip("transparent huge pages are off, or are not of 2 MiB")
    assert RESIDENT not in states
    assert SHARED not in states


def test_a_guard_region_is_untouched():
    memory = Private(3 * PAGE)
    memory.write(0)
    memory.write(2)
    try:
        memory.advise(102, 1)  # MADV_GUARD_INSTALL, Linux 6.13
    except OSError as error:
        pytest.skip(f"MADV_GUARD_INSTALL: {error.strerror}")
    assert memory.states() == bytes([RESIDENT, UNTOUCHED, RESIDENT])


CHILD = """
import mmap, sys
private = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
shared = mmap.mmap(-1, 64 * 4096)
for page in range(0, 64, 3):
    private[page * 4096] = shared[page * 4096] = 1
    private[page * 4096 + 4096 if page < 63 else 0]
print(flush=True)
sys.stdin.read()
"""


def pages_of(pid: int) -> dict[Mapping, bytes]:
    """Return the states of the pages of each mapping, as the kernel has them at one time: while
    other processes begin and end, what is shared with them changes.
    """
    while True:
        mappings = read_maps(pid)
        states = own_states(mappings, pid)
        found = {m: states.states(m.start, m.end) for m in mappings}
        if read_maps(pid) == mappings:
            return found


@contextmanager
def stopped():
    """Yield a process of many kinds of pages that stands still; it is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        try:
            yield child
        finally:
            child.kill()


def test_the_pages_of_every_mapping_add_up_to_what_smaps_says_is_private_and_shared():
    with stopped() as child:
        found = pages_of(child.pid)
    private, shared = (
        {m: PAGE * states.count(kind) for m, states in found.items()} for kind in (RESIDENT, SHARED)
    )
    assert shared == {m: m.usage.shared for m in found}
    assert private == {m: m.usage.resident - m.usage.shared for m in found}
    assert sum(private.values()) > 64 * PAGE // 3
    assert sum(shared.values()) > 1 << 20


def test_without_the_kernel_s_figures_malloc_s_pages_are_in_the_same_states(monkeypatch):
    if not pages.tells_zero_pages():
        pytest.skip("before Linux 6.7 a mapping's Rss tells zero pages from shared ones")
    monkeypatch.setattr(maps, "MANY", 1)
    with stopped() as child:
        found, places = pages_of(child.pid), read_places(child.pid)
        if places is None:
            pytest.skip("this machine swaps")
        states = PageStates(child.pid, PAGE, places, unswapped=True)
        anonymous = {(m.start, m.end): states.states(m.start, m.end) for m in places if m.anonymous}
    assert anonymous == {(m.start, m.end): of for m, of in found.items() if m.anonymous}
    assert ZERO in b"".join(anonymous.values())
