"""What addresses on stacks are: the frame that has each, and by debug info the variable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import gdb

from ..target.target import Local
from .frames import selection_kept
from .strings import exact, said

FRAMES = 256  # of a thread, the innermost ones
LARGEST = 32 << 20  # bytes of a library whose symbols are read for this
ERRORS = (gdb.error, RuntimeError, ValueError)  # no debug info, no such register, unreadable


def locals_at(inferior: gdb.Inferior, addresses: Mapping[int, int]) -> dict[int, Local]:
    """Return what these addresses are, which are given with the LWPs of the threads; nothing of
    those that lie in no frame.
    """
    by_thread: dict[int, list[int]] = {}
    for address, lwp in addresses.items():
        by_thread.setdefault(lwp, []).append(address)
    found: dict[int, Local] = {}
    if not inferior.is_valid():
        return found
    with selection_kept():
        for thread in inferior.threads():
            asked = by_thread.get(thread.ptid[1] or thread.ptid[0])
            if asked:
                with suppress(*ERRORS):
                    thread.switch()
                    found.update(_in_thread(sorted(asked)))
    return found


def _in_thread(addresses: list[int]) -> Iterator[tuple[int, Local]]:
    """Yield what addresses on the selected thread's stack are, upwards."""
    while _reads_symbols():
        pass  # the frames are others now
    for frames, end in _stack():
        while addresses and addresses[0] < end:
            address = addresses.pop(0)
            yield address, _local(frames, address)
        if not addresses:
            return


def _reads_symbols() -> bool:
    """Read the symbols of the first library on the stack that lacks them, so that frames behind it
    can be told; return whether that was done.
    """
    for frame in _frames():
        name = _unread(frame)
        if name is not None:
            if _size(name) <= LARGEST:
                said(f"sharedlibrary ^{re.escape(name)}$")
            return os.path.realpath(name) in _read_files()
    return False


def _frames() -> Iterator[gdb.Frame]:
    frame, number = gdb.newest_frame(), 0
    while frame is not None and number < FRAMES:
        yield frame
        frame, number = frame.older(), number + 1


def _unread(frame: gdb.Frame) -> str | None:
    """Return the library that a frame's function is of, None where its symbols were read."""
    name = exact(lambda: gdb.solib_name(frame.pc()))
    return name if name and os.path.realpath(name) not in _read_files() else None


def _read_files() -> set[str]:
    return {os.path.realpath(_filename(each)) for each in gdb.objfiles() if each.filename}


def _filename(objfile: gdb.Objfile) -> str:
    return exact(lambda: str(objfile.filename))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return LARGEST + 1


def _stack() -> Iterator[tuple[list[gdb.Frame], int]]:
    """Yield the frames from the innermost one on, with where each ends: functions that were inlined
    are in the frame of the one that has them. What is behind a function whose file isn't known, or
    whose symbols were not read, nobody can tell for certain.
    """
    together = list[gdb.Frame]()
    for frame in _frames():
        older = frame.older()
        together.append(frame)
        if older is None or _unread(frame) is not None:
            return  # nobody knows where it ends
        end = _stack_pointer(older)
        if end != _stack_pointer(frame):
            yield together, end
            together = []


def _stack_pointer(frame: gdb.Frame) -> int:
    return int(frame.read_register("sp")) % (1 << 64)


def _local(frames: list[gdb.Frame], address: int) -> Local:
    """Return the variable of one of these frames that has an address, or the function alone."""
    for frame in frames:
        with suppress(*ERRORS):
            for name, start in _variables(frame, address):
                return Local(exact(frame.name), name, address - start)
    return Local(exact(frames[-1].name))


def _variables(frame: gdb.Frame, address: int) -> Iterator[tuple[str, int]]:
    """Yield the variables of a frame that have an address, and where these begin."""
    for block, symbol in _symbols(frame):
        with suppress(*ERRORS):
            value = frame.read_var(symbol, block)
            start = None if value.is_optimized_out else value.address
            if start is not None and 0 <= address - int(start) < value.type.sizeof:
                yield _name(symbol), int(start)


def _name(symbol: gdb.Symbol) -> str:
    return exact(lambda: str(symbol.name))


def _symbols(frame: gdb.Frame) -> Iterable[tuple[gdb.Block, gdb.Symbol]]:
    block = frame.block()
    while block is not None and not block.is_global and not block.is_static:
        yield from ((block, each) for each in block if each.is_variable or each.is_argument)
        if block.function is not None:
            return
        block = block.superblock
