"""Memory for a copy, got before a process stands still."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from heapbuilder import PAGE, Pages

from gdb_heapx.held import room as rooms
from gdb_heapx.held.declared import address_of
from gdb_heapx.held.room import Room, room_for
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED, UNTOUCHED, PageStates

BASE = 1 << 20
USAGE = Usage(8 * PAGE, 0, 0, 0, 0, 0, False, None)
HEAP = Mapping(BASE, BASE + 8 * PAGE, "rw-p", 0, "[heap]", usage=USAGE)


def test_room_is_got_for_no_more_than_a_copy_may_take():
    assert room_for([HEAP], Pages(), 8 * PAGE - 1) is None
    assert room_for([HEAP], Pages(), 8 * PAGE).most == 8 * PAGE


def test_a_child_of_gdbs_has_no_share_in_it():
    """Linux says so of a mapping by "dc" (Documentation/filesystems/proc.rst)."""
    room = room_for([HEAP], Pages(), 8 * PAGE)
    address = address_of(room.memory)
    found = re.findall(
        r"^(\w+)-(\w+) [^\0]*?^VmFlags: (.*)", Path("/proc/self/smaps").read_text(), re.M
    )
    (flags,) = (flags for low, high, flags in found if int(low, 16) <= address < int(high, 16))
    assert "dc" in flags.split()


@pytest.mark.parametrize("processors", [1, 2])
@pytest.mark.parametrize(("at_once", "parts"), [(1 << 20, 1024), (3 * PAGE, 2)])
def test_the_kernel_has_given_memory_for_what_may_be_copied(
    processors, at_once, parts, monkeypatch
):
    """It says itself of which pages (Documentation/admin-guide/mm/pagemap.rst)."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    monkeypatch.setattr(rooms, "AT_ONCE", at_once)
    monkeypatch.setattr(rooms, "PARTS", parts)
    some, all_of_it = bytes([RESIDENT, UNTOUCHED, SHARED, SWAPPED] * 50), bytes([RESIDENT] * 99)
    room = Room([(BASE, BASE + 200 * PAGE), (2 * BASE, 2 * BASE + 99 * PAGE)], PAGE)
    room.take([(2 * BASE, all_of_it), (BASE, some)])
    start = address_of(room.memory)
    found = PageStates(os.getpid(), PAGE, ()).states(start, start + 299 * PAGE)
    wanted = some + all_of_it
    assert [state != UNTOUCHED for state in found] == [state != UNTOUCHED for state in wanted]
    assert not any(room.view)


def test_what_proc_does_not_tell_is_an_error_and_no_page_is_got():
    room = Room([(BASE, BASE + 8 * PAGE)], PAGE)

    def parts():
        yield BASE, bytes([RESIDENT] * 8)
        raise ProcessLookupError

    with pytest.raises(ProcessLookupError):
        room.take(parts())
    states = PageStates(os.getpid(), PAGE, ()).states(start := address_of(room.memory), start + 1)
    assert states == bytes([UNTOUCHED])
