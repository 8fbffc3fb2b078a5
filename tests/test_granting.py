"""What the kernel refuses, as its own rules have it (mm/mmap.c, mm/util.c, mm/mprotect.c)."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from gdb_heapx.target.granting import (
    NOTHING_KNOWN,
    Granting,
    Quota,
    Refusal,
    granting_of,
)

PAGE = os.sysconf("SC_PAGESIZE")
MIB = 1 << 20
SPACE, DATA = Quota("RLIMIT_AS", 100 * MIB, 60 * MIB), Quota("RLIMIT_DATA", 50 * MIB, 45 * MIB)


def test_what_no_limit_is_known_of_is_granted():
    for asked in (NOTHING_KNOWN.mapping, NOTHING_KNOWN.reserving, NOTHING_KNOWN.writing):
        assert asked(1 << 60) is None
    assert NOTHING_KNOWN.breaking(0, 1 << 60, 1 << 60) is None


def test_all_that_is_mapped_counts_to_the_byte():
    granting = Granting(space=SPACE)
    assert granting.mapping(40 * MIB) is None
    assert granting.mapping(40 * MIB + 1) == Refusal(*SPACE, 40 * MIB + 1)
    assert granting.less(MIB, 0).mapping(40 * MIB) is not None


def test_what_is_only_reserved_is_no_data():
    granting = Granting(space=SPACE, data=DATA)
    assert granting.reserving(40 * MIB) is None
    assert granting.mapping(6 * MIB) == Refusal(*DATA, 6 * MIB)
    assert granting.writing(6 * MIB) == Refusal(*DATA, 6 * MIB)


def test_where_all_address_space_is_used_what_becomes_writable_is_not_counted():
    granting = Granting(space=SPACE._replace(used=SPACE.allows), data=DATA)
    assert granting.writing(6 * MIB) is None


def test_the_break_counts_by_its_bytes_and_by_its_pages():
    granting = Granting(broken=Quota("RLIMIT_DATA", 10 * MIB, MIB), start_break=1 << 30)
    assert granting.breaking((1 << 30) + 8 * MIB, (1 << 30) + 9 * MIB, MIB) is None
    refused = granting.breaking((1 << 30) + 8 * MIB, (1 << 30) + 9 * MIB + 1, MIB)
    assert refused == Refusal("RLIMIT_DATA", 10 * MIB, 9 * MIB, MIB + 1)
    assert Granting(space=SPACE).breaking(0, 1, 41 * MIB) is not None


def test_only_a_kernel_that_never_overcommits_counts_what_malloc_has_reserved():
    committed = Quota("overcommit", 10 * MIB, 9 * MIB)
    assert Granting(committed=committed).writing(2 * MIB) is None
    assert Granting(committed=committed, counts_reserved=True).writing(2 * MIB) is not None
    assert Granting(committed=committed).mapping(2 * MIB) is not None


def test_limits_are_those_that_the_kernel_has():
    limits = {"space": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA}
    for name, which in limits.items():
        soft, hard = resource.getrlimit(which)
        resource.setrlimit(which, (1 << 50, hard))
        try:
            found = vars(granting_of(os.getpid(), PAGE))[name]
        finally:
            resource.setrlimit(which, (soft, hard))
        assert found.allows == 1 << 50
        assert found.limit == {"space": "RLIMIT_AS", "data": "RLIMIT_DATA"}[name]


def test_a_process_that_is_gone_is_refused_nothing():
    assert granting_of(1 << 30, PAGE) == NOTHING_KNOWN


def test_no_request_is_larger_than_ram_and_swap_where_the_kernel_guesses():
    found = granting_of(os.getpid(), PAGE).committed
    kib = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "0":
        whole = (int(kib["MemTotal:"]) + int(kib["SwapTotal:"])) << 10
        assert found == Quota("overcommit", whole, 0)
