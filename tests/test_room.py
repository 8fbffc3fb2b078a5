"""Memory for a copy, got before a process stands still."""

from __future__ import annotations

import re
from pathlib import Path

from heapbuilder import PAGE, Pages

from gdb_heapx.held.declared import address_of
from gdb_heapx.held.room import room_for
from gdb_heapx.target.mappings import Mapping, Usage

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
