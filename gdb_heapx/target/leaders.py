"""Processes by any of their threads: whose main thread has ended, too, which gdb can't attach to.

gdb then attaches to one of the threads that live. The others are held here meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import HeapxError, escape
from .procfs import number_of, parse_state, stands_still, status_of, text_of, thread_name

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # include/uapi/linux/ptrace.h
PATIENCE = 2.0  # seconds for threads to stop: one that waits for a disk may take longer
ENDED = "ZX"


def process_of(lwp: int) -> int:
    """Return the process that a thread is of, itself if /proc doesn't tell."""
    return number_of(status_of(lwp).get("Tgid")) or lwp


def living_threads(pid: int) -> set[int]:
    """Return the LWPs of a process's threads that haven't ended; empty if it is gone."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                if parse_state(text_of(f"/proc/{pid}/task/{name}/stat")) not in ENDED:
                    found.add(int(name))
    return found


def to_attach(lwp: int) -> int:
    """Return what gdb must attach to for a process or a thread: the process, or a thread that lives
    where the main one has ended. HeapxError if there is nothing to look at.
    """
    pid = process_of(lwp)
    living, status = living_threads(pid), status_of(pid)
    if not living and status.get("State", "").startswith(("Z", "X")):
        parent = number_of(status.get("PPid"))
        name = parent and thread_name(parent, parent)
        raise HeapxError(
            f"process {pid} has ended: it is a zombie, without memory",
            f"Its parent, process {parent} ({escape(name or '?')}), has not waited for it.",
        )
    if living and all("VmSize" not in status_of(pid, each) for each in living):
        raise HeapxError(f"process {pid} is a kernel thread: it has no memory of its own")
    return pid if pid in living or not living else min(living)


@contextmanager
def others_held(lwp: int) -> Iterator[None]:
    """All other threads stand still meanwhile, where gdb has attached to one that isn't the main
    one. The kernel lets them go if this process ends.
    """
    if process_of(lwp) == lwp:
        yield
        return
    ptrace = tracing()
    held = {lwp}
    try:
        while new := living_threads(lwp) - held:
            for each in sorted(new):
                held.add(each)
                if ptrace(SEIZE, each, None, None) and ctypes.get_errno() != errno.ESRCH:
                    raise HeapxError(f"not permitted to hold thread {each}")
                ptrace(INTERRUPT, each, None, None)
        end = time.monotonic() + PATIENCE
        while not stands_still(lwp) and time.monotonic() < end:
            time.sleep(0.001)
        yield
    finally:
        for each in held - {lwp}:
            ptrace(DETACH, each, None, None)


def held_by(pid: int, tracer: int) -> set[int]:
    """Return the LWPs of a process's threads that are traced by this process."""
    return {e for e in living_threads(pid) if status_of(pid, e).get("TracerPid") == str(tracer)}


def tracing() -> ctypes._NamedFuncPointer:
    """Return ptrace(2); a thread's requests are about what this same thread traces."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    return ptrace
