"""Threads and their frames: what is selected, and who stands inside malloc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gdb

from ..glibc import releases
from ..target.leaders import held_by, process_of
from .strings import exact

FRAMES = 16  # how deep malloc may be below a system call


@contextmanager
def selection_kept() -> Iterator[None]:
    """Afterwards the thread and frame that were selected before are so again."""
    thread = gdb.selected_thread()
    frame = gdb.selected_frame() if thread else None
    try:
        yield
    finally:
        if thread and thread.is_valid():
            thread.switch()
            if frame and frame.is_valid():
                frame.select()


def inside_malloc(inferior: gdb.Inferior) -> dict[int, str]:
    """Return the function by LWP of every thread that stands inside malloc or free, or may do so:
    of those that gdb doesn't see nobody can tell.
    """
    unseen = dict.fromkeys(unseen_threads(inferior), "what gdb does not see")
    return {**unseen, **_inside(inferior, releases.MALLOC_FUNCTIONS)}


def unseen_threads(inferior: gdb.Inferior) -> set[int]:
    """Return the LWPs of the threads that stand still without gdb: see leaders.others_held."""
    if process_of(inferior.pid) == inferior.pid:
        return set()
    seen = {thread.ptid[1] or thread.ptid[0] for thread in inferior.threads()}
    return held_by(inferior.pid, os.getpid()) - seen


def aborting(inferior: gdb.Inferior) -> frozenset[int]:
    """Return the LWPs of the threads that stand inside abort."""
    return frozenset(_inside(inferior, releases.ABORT_FUNCTIONS))


def _inside(inferior: gdb.Inferior, functions: re.Pattern[str]) -> dict[int, str]:
    """Return the outermost of these functions by LWP of every thread that stands inside one."""
    inside = {}
    with selection_kept():
        for thread in inferior.threads():
            thread.switch()
            for name in _function_names():
                if functions.match(name):
                    inside[thread.ptid[1] or thread.ptid[0]] = name
    return inside


def _function_names() -> Iterator[str]:
    """Yield the names of the selected thread's innermost frames, as far as they unwind."""
    try:
        frame = gdb.newest_frame()
        for _ in range(FRAMES):
            if frame is None:
                return
            yield exact(frame.name) or ""
            frame = frame.older()
    except gdb.error:
        return


# gdb's names of the registers that point at a thread's own variables, by gdb's architecture.
THREAD_POINTERS = {"i386:x86-64": "fs_base", "aarch64": "tpidr"}


def thread_pointers(inferior: gdb.Inferior) -> dict[int, int]:
    """Return the thread pointer of every thread by LWP, {} where gdb has no register for it."""
    register = THREAD_POINTERS.get(inferior.architecture().name())
    pointers = {}
    with selection_kept():
        for thread in inferior.threads() if register else ():
            thread.switch()
            with suppress(gdb.error, ValueError):
                pointer = int(gdb.newest_frame().read_register(register))
                pointers[thread.ptid[1] or thread.ptid[0]] = pointer % (1 << 64)
    return pointers
