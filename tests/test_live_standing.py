"""What gdb's side keeps while a process stands still, and when it must read again."""

from __future__ import annotations

import re

import pytest
from live import gdb, session

pytestmark = pytest.mark.live

COUNT = (
    "python from gdb_heapx.gdbside import standing; counted, real = [], standing.open_target",
    "python standing.open_target = lambda *a: counted.append(1) or real(*a)",
)
AS_BEFORE = ("python standing.open_target = real", "set heapx swap-in")
SHOW = "python print('read', len(counted))"


@pytest.fixture(scope="module")
def mixed(start_once):
    return start_once("mixed")


def readings(process, *lines):
    """Return how often the process had been read after each line."""
    asked = [word for line in lines for word in (line, SHOW)]
    result = session(*COUNT, *asked, *AS_BEFORE, target=("-p", process.pid))
    assert "Traceback" not in result.err
    return [int(number) for number in re.findall(r"^read (\d+)$", result.out, re.M)]


def test_a_second_look_at_a_process_that_stands_still_reads_nothing_again(mixed):
    lines = ("heapx arenas", "heapx trim", "heapx chunks --count", "print $_heapx_in_use()")
    assert readings(mixed, *lines) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "moved",
    [
        "set var *(char *) $sp = *(char *) $sp",
        "stepi",
        "python gdb.selected_inferior().write_memory(int(gdb.parse_and_eval('$sp')), b'x')",
        "detach\nattach {pid}",
    ],
    ids=["written", "run", "written by Python", "attached again"],
)
@pytest.mark.few(2)
def test_what_has_moved_is_read_again(start, moved):
    process = start(*(("spinning", "0") if moved == "stepi" else ("mixed",)))
    lines = moved.format(pid=process.pid).splitlines()
    assert readings(process, "heapx arenas", *lines, "heapx arenas")[-1] == 2


def test_other_wishes_of_the_user_are_another_reading(mixed):
    lines = ("heapx arenas", "set heapx swap-in 1M", "heapx arenas", "heapx arenas --swap-in 2M")
    assert readings(mixed, *lines) == [1, 1, 2, 3]


def test_a_process_that_was_killed_meanwhile_has_no_old_answer(start):
    """gdb tells of no event: it doesn't know yet."""
    process = start("mixed")
    lines = ("heapx arenas", f"shell kill -9 {process.pid}", "shell sleep 0.2", "heapx arenas")
    result = gdb(*lines, target=("-p", process.pid))
    assert result.out.count("arenas, sizes in") == 1
    assert "Traceback" not in result.err
