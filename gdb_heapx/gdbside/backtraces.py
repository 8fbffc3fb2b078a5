"""The frames of the thread that stands still: where they are, and what debug info says of them."""

from __future__ import annotations

from contextlib import suppress

import gdb

from ..growth.watched import DEEPEST, SourceLine


def register(frame: gdb.Frame, name: str) -> int:
    """Return what a general register of a frame holds."""
    return int(frame.read_register(name)) % (1 << 64)


def stack_of(frame: gdb.Frame | None) -> tuple[int, ...]:
    """Return where a thread's frames are, the innermost first, as far as they unwind."""
    found: list[int] = []
    with suppress(gdb.error):
        while frame is not None and len(found) < DEEPEST:
            if frame.type() != gdb.INLINE_FRAME:
                found.append(int(frame.pc()))
            frame = frame.older()
    return tuple(found)


def code_of(frame: gdb.Frame | None) -> dict[int, tuple[SourceLine, ...]]:
    """Return what debug info says of a thread's frames, by where they stand; () where it lacks."""
    found: dict[int, tuple[SourceLine, ...]] = {}
    inlined: list[SourceLine] = []
    with suppress(gdb.error):
        while frame is not None and len(found) < DEEPEST:
            name, place = frame.name(), frame.find_sal()
            if name and place.symtab and place.line:
                inlined.append(SourceLine(name, place.symtab.filename, place.line))
            if frame.type() != gdb.INLINE_FRAME:
                found[int(frame.pc())], inlined = tuple(inlined), []
            frame = frame.older()
    return found
