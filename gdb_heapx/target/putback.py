"""A process that a killed debugger leaves: its text, stops and steps put right, so that it runs on.

While a traced process runs its text has breakpoints. Only who traces it can answer when a thread
comes to one: where nobody does, the kernel ends the process by SIGTRAP.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from .leaders import DETACH, INTERRUPT, SEIZE, living_threads, tracing
from .procfs import children_of, status_of

# What a breakpoint of gdb's looks like: int3 on x86, brk #0 on aarch64 (the gdbarch's
# sw_breakpoint_from_kind).
BREAKPOINTS = (b"\xcc", b"\x00\x00\x20\xd4")
PATIENCE = 2.0  # seconds for the kernel to let a process go, and for a thread to stop
SHORTLY = 0.001
GETREGSET, SETREGSET, PRSTATUS = 0x4204, 0x4205, 1  # include/uapi/linux/ptrace.h, elf.h
# By the size of all registers on x86, where the instruction pointer is among them and its own size
# (struct user_regs_struct). On aarch64 it stays at a breakpoint.
POINTERS = {27 * 8: (16 * 8, 8), 17 * 4: (12 * 4, 4)}
# Instructions of one byte there, as far as compilers use them (push, pop, nop, cwtl, cltd, ret,
# leave): a thread behind one may have executed it.
OF_ONE_BYTE = bytes((*range(0x50, 0x60), 0x90, 0x98, 0x99, 0xC3, 0xC9))
MOST = 1 << 10  # bytes of registers
ANY_THREAD = 0x40000000  # __WALL (waitpid(2))
Places = Mapping[int, bytes]  # what text has where a breakpoint may be


class Survivor:
    """A process that may outlive its debugger, whatever becomes of its number; OSError where its
    memory may not be written.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        try:
            self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(self._pidfd)
            raise

    def close(self) -> None:
        os.close(self._memory)
        os.close(self._pidfd)

    def stop(self) -> None:
        """Stop it by SIGSTOP: of a process that is still traced no thread then runs an instruction
        between its tracer's end and that stop.
        """
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)

    def let_run(self) -> None:
        """Undo `stop`, whether it has taken effect or not (signal(7): SIGCONT discards SIGSTOP)."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def broken(self, places: Places) -> set[int]:
        """Return at which places a breakpoint is; none in memory that is no more."""
        return {address for address, data in places.items() if self._is_broken(address, data)}

    def put_back(self, places: Places) -> set[int]:
        """Write what text had, but only where a breakpoint is; return where that was.

        OSError where it can't be written.
        """
        found = self.broken(places)
        for address in found:
            os.pwrite(self._memory, places[address], address)
        return found

    def _is_broken(self, address: int, data: bytes) -> bool:
        try:
            there = os.pread(self._memory, len(data), address)
        except OSError:  # it has ended, or become another program
            return False
        return there in BREAKPOINTS and there != data


def forked_just_now(pid: int, places: Places) -> Iterator[Survivor]:
    """Yield the children of a process that have breakpoints at all of these places: a debugger
    takes them out of a child when it learns of it, and lets it go then.
    """
    for child in children_of(pid):
        with suppress(OSError):  # it has ended, or is another user's
            survivor = Survivor(child)
            if survivor.broken(places) == set(places):
                yield survivor
            survivor.close()


def set_right(pid: int, places: Places) -> bool:
    """Set the threads of a process right once its dead tracer has let it go; tell whether all could
    be.

    One that was to execute a single instruction still has the trap flag (kernel/ptrace.c:
    exit_ptrace doesn't clear it, a detach does); one that came to a breakpoint is behind it.
    """
    end = time.monotonic() + PATIENCE
    threads = [_set_right(lwp, places, end) for lwp in sorted(living_threads(pid))]
    return all(threads)


def _set_right(lwp: int, places: Places, end: float) -> bool:
    """Clear a thread's trap flag, and lead it back to the instruction that was a breakpoint; tell
    whether that was possible.
    """
    ptrace = tracing()
    while ptrace(SEIZE, lwp, None, None):
        if time.monotonic() > end or not status_of(lwp):
            return not status_of(lwp)
        time.sleep(SHORTLY)
    ptrace(INTERRUPT, lwp, None, None)
    try:
        return not _stops(lwp, end) or _step_back(lwp, places)
    finally:
        ptrace(DETACH, lwp, None, None)


def _stops(lwp: int, end: float) -> bool:
    """Wait until a thread has stopped for its tracer; tell whether it has."""
    with suppress(ChildProcessError):
        while time.monotonic() < end:
            number, how = os.waitpid(lwp, os.WNOHANG | ANY_THREAD)
            if number:
                return os.WIFSTOPPED(how)
            time.sleep(SHORTLY / 10)
    return False


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _step_back(lwp: int, places: Places) -> bool:
    """Lead a thread that has executed a breakpoint back to it."""
    ptrace, registers = tracing(), ctypes.create_string_buffer(MOST)
    vector = _Vector(ctypes.addressof(registers), MOST)
    if ptrace(GETREGSET, lwp, PRSTATUS, ctypes.byref(vector)):
        return False
    at, size = POINTERS.get(vector.size, (0, 0))
    before = int.from_bytes(registers.raw[at : at + size], "little") - 1
    if not size or places.get(before, OF_ONE_BYTE) in OF_ONE_BYTE:
        return True
    ctypes.memmove(ctypes.addressof(registers) + at, before.to_bytes(size, "little"), size)
    return not ptrace(SETREGSET, lwp, PRSTATUS, ctypes.byref(vector))
