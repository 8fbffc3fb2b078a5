"""Where a thread was when a signal came that is handled on a stack of its own.

The kernel has written it there, before it called the handler (sigaltstack).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MemoryFault
from ..glibc.architecture import Architecture
from ..target.target import Target

# arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h: struct rt_sigframe of x86-64. Offsets from
# where it begins, with the address that the handler returns to.
LINK, STACK, STACK_SIZE, POINTER, PROGRAM, SEGMENTS, FLOATS = 16, 24, 40, 168, 176, 192, 232
SIZE = FLOATS + 8  # bytes of it that are looked at
USERS = b"\x33\0\0\0\0\0\x2b\0"  # cs and ss of 64-bit programs (asm/segment.h), between them gs, fs
MOST = 1 << 20  # bytes to search: a handler is seldom deeper
PIECE = 64 << 10


def interrupted(target: Target, pointer: int, end: int) -> Iterator[int]:
    """Yield the stack pointer that a thread had when a signal came, given the one that it has now,
    on its signal stack, and where memory ends there. Only of x86-64: elsewhere nothing tells.
    """
    if (target.facts.machine, target.facts.word) != (Architecture.X86_64, 8):
        return
    end = min(end, pointer + MOST)
    for at in range(pointer, end, PIECE):
        try:
            data = bytes(target.space.memory.read(at, min(PIECE + SIZE, end - at)))
        except MemoryFault:
            continue
        found = data.find(USERS)
        while found >= 0:
            frame = found - SEGMENTS
            if 0 <= frame < PIECE and _is_frame(target, data[frame : frame + SIZE], pointer):
                yield _word(data, frame + POINTER)
            found = data.find(USERS, found + 1)


def _is_frame(target: Target, frame: bytes, pointer: int) -> bool:
    """Tell whether a signal's frame lies there: it leads to code twice, to memory twice, and tells
    of the signal stack that the pointer is on; other ones may be left of signals before.
    """
    if len(frame) < SIZE or _word(frame, LINK):
        return False
    stack = _word(frame, STACK)
    code, data = (0, PROGRAM), (POINTER, FLOATS)
    if not all(_may_be_code(target, _word(frame, offset)) for offset in code):
        return False
    led = (target.space.mapping_at(_word(frame, offset)) for offset in data)
    if not all(mapping and "w" in mapping.permissions for mapping in led):
        return False
    return stack <= pointer < stack + _word(frame, STACK_SIZE)


def _may_be_code(target: Target, address: int) -> bool:
    """Tell whether a program may run there; gcore leaves out much of what is in files."""
    mapping = target.space.mapping_at(address)
    if target.facts.live:
        return mapping is not None and "x" in mapping.permissions
    return mapping is None or "w" not in mapping.permissions


def _word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "little")
