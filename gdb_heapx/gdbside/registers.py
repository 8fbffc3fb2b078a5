"""What is in the registers of every thread, as gdb describes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from typing import Optional

import gdb

from ..target.target import Registers
from .frames import selection_kept
from .values import byteorder, word_size

GROUPS = ("general", "vector")
FLOATS = "float"  # the group of x87's, whose mantissas are MMX's, and of those that no vector has
TAGS, EMPTY = "ftag", 0xFFFF  # what tells which of x87's are in use, and that none is
MOST_NESTED = 4  # unions within one another
CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of struct's, by bytes

Path = Optional[tuple[str, ...]]  # the names of unions in one another, None for an integer


def all_registers(inferior: gdb.Inferior) -> dict[int, Registers]:
    """Return what the registers of each thread hold, by LWP; nothing of a thread that gdb can't
    ask. Of its innermost frame, so no stack is unwound.
    """
    reader, found = _Reader(), dict[int, Registers]()
    with selection_kept():
        for thread in inferior.threads():
            thread.switch()
            with suppress(gdb.error):
                read = reader.read(gdb.newest_frame())
                if read.words:
                    found[thread.ptid[1] or thread.ptid[0]] = read
    return found


class _Reader:
    """Reads registers. How gdb shows each is looked up once, not for each thread."""

    def __init__(self) -> None:
        self._word = word_size()
        self._order = "<" if byteorder() == "little" else ">"
        self._names: dict[str, list[str]] = {}
        self._floats: dict[str, list[str]] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    def read(self, frame: gdb.Frame) -> Registers:
        architecture = frame.architecture()
        called = architecture.name()
        if called not in self._names:
            groups = (architecture.registers(group) for group in GROUPS)
            every = (register.name for group in groups for register in group)
            self._names[called] = list(dict.fromkeys(filter(None, every)))
            floats = (register.name for register in architecture.registers(FLOATS))
            self._floats[called] = [f for f in floats if f not in self._names[called]]
        held = [(name, self._held(frame, called, name)) for name in self._names[called]]
        if self._held(frame, called, TAGS) != (EMPTY,):
            held += [(name, self._raw(frame, name)) for name in self._floats[called]]
        pointer = self._held(frame, called, "sp")  # gdb's own name, on each architecture
        return Registers(pointer[0] if pointer else None, {name: w for name, w in held if w})

    def _held(self, frame: gdb.Frame, called: str, name: str) -> tuple[int, ...]:
        """Return the words that a register holds, () where it isn't known."""
        try:
            value, key = frame.read_register(name), (called, name)
            if key not in self._paths:
                self._paths[key] = _path(value.type, self._word)
            path = self._paths[key]
            if path is None:
                return (int(value) % (1 << 8 * self._word),)
            return self._joined(reduce(gdb.Value.__getitem__, path, value)) if path else ()
        except (gdb.error, ValueError, OverflowError):  # unavailable, or no integers
            return ()

    def _raw(self, frame: gdb.Frame, name: str) -> tuple[int, ...]:
        """Return the whole words that a floating-point register has from its lowest byte on, ()
        where it isn't known: of x87's the mantissa.
        """
        try:
            value = frame.read_register(name)
            if value.type.strip_typedefs().code != gdb.TYPE_CODE_FLT:
                return ()
            number, bits = int(value.format_string(format="x"), 16), 8 * self._word
        except (gdb.error, ValueError):  # unavailable
            return ()
        places = range(0, 8 * value.type.sizeof - bits + 1, bits)
        return tuple(number >> at & (1 << bits) - 1 for at in places)

    def _joined(self, lanes: gdb.Value) -> tuple[int, ...]:
        """Return an array of integers as words, as they lie in memory."""
        kind = lanes.type.strip_typedefs()
        width, (first, last) = kind.target().sizeof, kind.range()
        numbers = [int(lanes[i]) % (1 << 8 * width) for i in range(first, last + 1)]
        if width == self._word:
            return tuple(numbers)
        data = struct.pack(f"{self._order}{len(numbers)}{CODES[width]}", *numbers)
        words = len(data) // self._word
        return struct.unpack_from(f"{self._order}{words}{CODES[self._word]}", data)


def _path(kind: gdb.Type, word: int) -> Path:
    """Return the way to the widest integers, up to a word, that gdb shows a register as; None where
    it is no union.
    """
    if kind.strip_typedefs().code != gdb.TYPE_CODE_UNION:
        return None
    return max(_arrays(kind, word), default=(0, ()))[1]


def _arrays(kind: gdb.Type, word: int, nested: int = 0) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the width of each array of integers in a union, and the way to it."""
    for field in kind.strip_typedefs().fields():
        inner = field.type.strip_typedefs()
        if inner.code == gdb.TYPE_CODE_UNION and nested < MOST_NESTED:
            for width, path in _arrays(inner, word, nested + 1):
                yield width, (field.name, *path)
        elif inner.code == gdb.TYPE_CODE_ARRAY and inner.sizeof == kind.sizeof:
            element = inner.target().strip_typedefs()
            if element.code == gdb.TYPE_CODE_INT and element.sizeof <= word:
                yield element.sizeof, (field.name,)
