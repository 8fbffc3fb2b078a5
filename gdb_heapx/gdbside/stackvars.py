"""What addresses on stacks are: the frame that has each, and by debug info the variable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import gdb

from ..target.target import Local
from .frames import selection_kept
from .strings import exact

FRAMES = 256  # of a thread, the innermost ones
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
    for frames, end in _stack():
        while addresses and addresses[0] < end:
            address = addresses.pop(0)
            yield address, _local(frames, address)
        if not addresses:
            return


def _stack() -> Iterator[tuple[list[gdb.Frame], int]]:
    """Yield the frames from the innermost one on, with where each ends: functions that were inlined
    are in the frame of the one that has them.
    """
    frame, number, together = gdb.newest_frame(), 0, list[gdb.Frame]()
    while frame is not None and number < FRAMES:
        older = frame.older()
        together.append(frame)
        if older is None:
            return  # nobody knows where it ends
        end = _stack_pointer(older)
        if end != _stack_pointer(frame):
            yield together, end
            together = []
        frame, number = older, number + 1


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
