"""Calling a function in the process: where, rehearsed before, and put right afterwards.

gdb sets up a call by writing a thread's registers, and writes those from before when it is over.
Where it can't write all of them the thread is lost: gdb 13 can't where the CPU has a large extended
state (AMX), and learns that only when the function has run. A system call that was interrupted then
goes on with a wrong result, and glibc aborts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import gdb

from ..ending import held_back
from ..errors import HeapxError
from ..target.procfs import in_system_call, is_dead
from .frames import selection_kept
from .inferior import is_native
from .passing import breakpoints_off, signals_passed
from .values import setting


class Rehearsed(NamedTuple):
    """A register that the kernel takes together with the vector registers, and a harmless bit."""

    register: str
    bit: int


# By how gdb's name of an architecture begins: mxcsr and fpc have a flag of inexact results there,
# fpcr the format of half-precision numbers.
REHEARSED = {
    "i386": Rehearsed("mxcsr", 1 << 5),
    "aarch64": Rehearsed("fpcr", 1 << 26),
    "s390": Rehearsed("fpc", 1 << 19),
}
WAYS_OUT = (
    "Call malloc_trim(0) in the program itself.",
    "Or use a newer gdb, by --gdb or HEAPX_GDB: 16.3 and 18.1 can.",
)
Registers = dict[str, tuple[str, gdb.Value]]  # each as text, to compare, and as it is


def call(inferior: gdb.Inferior, addresses: Sequence[int], argument: int) -> list[int]:
    """Call functions, `int (unsigned long)`, in a thread that waits, while all others stand still.

    Return their results. HeapxError, before anything was touched, where a call could break the
    process, and else if the call failed.
    """
    thread, pid = calling_thread(inferior), inferior.pid
    with selection_kept(), held_back():
        thread.switch()
        rehearse()
        gdb.write(f"heapx: calling in thread {thread.num}\n", gdb.STDERR)
        before = _registers()
        results, failure = _called(addresses, argument)
        gone = is_dead(pid)
        lost = [] if gone else _put_back(before)
    if gone:
        raise HeapxError(f"process {pid} is gone: it ended during the call", f"gdb says: {failure}")
    if lost:
        raise HeapxError(
            f"the call has broken thread {thread.num}: gdb can't put back its {', '.join(lost)}",
            f"gdb says: {failure or 'nothing of it'}",
            "The process may fail when it goes on.",
        )
    if failure:
        raise HeapxError(f"the call failed: {failure}", "The thread is as it was before.")
    return results


def _called(addresses: Sequence[int], argument: int) -> tuple[list[int], str | None]:
    """Return what functions return, as far as they do, and what gdb says where one doesn't."""
    results: list[int] = []
    try:
        one_thread, in_c = setting("scheduler-locking", "on"), setting("language", "c")
        with one_thread, in_c, signals_passed(), breakpoints_off():
            for address in addresses:
                line = f"((int (*)(unsigned long)) {address})({argument})"
                results.append(int(gdb.parse_and_eval(line)))
    except gdb.error as error:
        return results, str(error).rstrip(".")
    return results, None


def calling_thread(inferior: gdb.Inferior) -> gdb.InferiorThread:
    """Return the thread to call in: the main one where it waits in a system call, else another one
    that does. HeapxError where none does.
    """
    pid = inferior.pid
    for thread in sorted(inferior.threads(), key=lambda each: (each.ptid[1] != pid, each.num)):
        if in_system_call(pid, thread.ptid[1] or pid):
            return thread
    raise HeapxError(
        "no thread waits in a system call, and only there a call is safe",
        "Let the process run on, and try again.",
    )


def refuse_remote(inferior: gdb.Inferior) -> None:
    """Raise HeapxError if the process isn't one of this machine: a stub says that it has written
    registers where it has not.
    """
    if not is_native(inferior):
        raise HeapxError(
            "a call over a remote connection can break the process, and no rehearsal shows that",
            "Run heapx where the process runs. Or call malloc_trim(0) in the program itself.",
        )


def rehearse() -> None:
    """Write to a register of the selected thread and put it back, as a call would; HeapxError where
    gdb can't. What is read back is the thread's, and not what gdb remembers.
    """
    architecture = gdb.newest_frame().architecture().name()
    known = (each for name, each in REHEARSED.items() if architecture.startswith(name))
    rehearsed = next(known, None)
    if rehearsed is None:
        raise HeapxError(
            f"how to call safely on {architecture} is not known to heapx",
            "Call malloc_trim(0) in the program itself.",
        )
    register, bit = rehearsed
    before = _read(register)
    try:
        for value in (before ^ bit, before):
            gdb.execute(f"set var ${register} = {value}", to_string=True)
            if _read(register) != value:
                raise gdb.error(f"what was written to {register} isn't there")
    except gdb.error as error:
        _forget_registers()
        raise HeapxError(
            f"gdb {gdb.VERSION} can't write this CPU's registers: a call would break the process",
            f"gdb says: {str(error).rstrip('.')}. Nothing was called.",
            *WAYS_OUT,
        ) from None


def _read(register: str) -> int:
    """Return a register as the thread has it."""
    _forget_registers()
    try:
        return int(gdb.parse_and_eval(f"${register}"))
    except gdb.error as error:
        raise HeapxError(f"gdb doesn't show the register {register}: {error}", *WAYS_OUT) from None


def _forget_registers() -> None:
    """Make gdb read registers anew."""
    try:
        gdb.execute("maintenance flush register-cache", to_string=True)
    except gdb.error:  # before gdb 11
        gdb.execute("flushregs", to_string=True)


def _registers() -> Registers:
    """Return all registers of the selected thread that gdb can read."""
    _forget_registers()
    frame = gdb.newest_frame()
    groups = map(frame.architecture().registers, ("all", "system"))
    found: Registers = {}
    for name in {each.name for group in groups for each in group}:
        with suppress(gdb.error, ValueError):
            value = frame.read_register(name)
            found[name] = value.format_string(format="x"), value
    return found


def _put_back(before: Registers) -> list[str]:
    """Give the selected thread the registers that it had; return those that it hasn't again."""
    for name in _changed(before):
        gdb.set_convenience_variable("heapx_register", before[name][1])
        with suppress(gdb.error):
            gdb.execute(f"set var ${name} = $heapx_register", to_string=True)
    return _changed(before)


def _changed(before: Registers) -> list[str]:
    now = _registers()
    return sorted(name for name in before if before[name][0] != now.get(name, ("",))[0])
