"""What std::function has in a chunk of its own, by the two functions that each of them leads to.

They are of libstdc++ (bits/std_function.h): the manager copies and destroys what is called, the
invoker calls it. What is small lies in the std::function itself, and may be a pointer to any chunk:
only the manager's code tells, which gets memory by operator new, and how much. So it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from ..glibc.architecture import Architecture
from ..target.starts import Starts
from .parts import LoadedPart, Parts

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.images import Image

HANDLER, BASE = "_ZNSt17_Function_handlerI", "_ZNSt14_Function_base13_Base_managerI"
NEW = ("_Znwm", "_Znwj")
LONGEST = 4096  # bytes of a function's code
DEPTH, MOST = 3, 32  # calls from the manager to what gets memory, without optimization; functions

# Instructions of x86-64: calls, jumps through what ld.so has filled in, what an argument is set to.
CALL = re.compile(rb"(?=\xe8(.{4}))", re.S)
JUMP = re.compile(rb"(?=\xe9(.{4}))", re.S)  # instead of a last call
SHORT_JUMP = re.compile(rb"(?=\xeb(.))", re.S)
CALL_BY_TABLE = re.compile(rb"(?=\xff\x15(.{4}))", re.S)
STUB = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25(.{4})", re.S)  # endbr64, bnd
LONGEST_STUB = 16
ARGUMENT = re.compile(rb"\xbf(.{4})|\x6a(.)\x5f", re.S)  # mov $n, %edi; push $n, pop %rdi
GOES_ON = CALL, JUMP, SHORT_JUMP
NEAR = 24  # bytes that lie between the argument and the call, or less


class Functors:
    """How much memory the managers of std::function get for what is called."""

    def __init__(self, held: Held) -> None:
        self._held, self._parts = held, Parts(held.space, held.target.objects)
        self._starts: dict[Image, Starts] = {}

    def size(self, manager: int, invoker: int) -> int:
        """Return the bytes that a std::function with these two has in a chunk, 0 for none: also
        where nothing tells that it is one.
        """
        if not self._readable or manager == invoker or not self._is_invoker(invoker):
            return 0
        part = self._parts.at(manager)
        if part is None or not self._is_of_function(manager, part):
            return 0
        return next(filter(None, map(self._asked, self._called(manager, part))), 0)

    @cached_property
    def _readable(self) -> bool:
        facts = self._held.target.facts
        return (facts.machine, facts.word) == (Architecture.X86_64, 8)

    def _is_invoker(self, address: int) -> bool:
        part = self._parts.at(address)
        return part is not None and part.code and self._begins(address, part, (HANDLER,))

    def _is_of_function(self, address: int, part: LoadedPart) -> bool:
        return part.code and self._begins(address, part, (HANDLER, BASE))

    def _begins(self, address: int, part: LoadedPart, names: tuple[str, ...]) -> bool:
        """Tell whether a function of these names begins there; of files without symbols any."""
        symbol = self._parts.symbol(address)
        if symbol is not None:
            return symbol.offset == 0 and symbol.name.startswith(names)
        elf = part.image.elf
        if elf is None or elf.has_symbol_table:
            return False
        span = self._span(address, part)
        return span is not None and span[0] == address

    def _span(self, address: int, part: LoadedPart) -> tuple[int, int] | None:
        """Return where a function begins and ends, None where that isn't known."""
        image, base = part.image, part.image.base or 0
        symbol = self._parts.symbol(address)
        if symbol is not None and symbol.size:
            return address - symbol.offset, address - symbol.offset + symbol.size
        if image not in self._starts and image.elf is not None:
            self._starts[image] = Starts(image.elf)
        found = self._starts[image].span(address - base) if image in self._starts else None
        return None if found is None else (base + found[0], base + found[1])

    def _called(self, manager: int, part: LoadedPart) -> Iterator[tuple[int, bytes]]:
        """Yield the code of the manager and of what it calls of its own file, by their depth."""
        seen, layer = {manager}, [manager]
        for _ in range(DEPTH + 1):
            below: list[int] = []
            for start in layer:
                code = self._code(start, part)
                yield start, code
                called = (to for how in GOES_ON for _, to in _places(how, start, code))
                below += (to for to in called if self._is_of_function(to, part))
            layer = [each for each in dict.fromkeys(below) if each not in seen]
            seen.update(layer)
            if len(seen) > MOST:
                return

    def _code(self, start: int, part: LoadedPart) -> bytes:
        span = self._span(start, part)
        if span is None:
            return b""
        return self._parts.bytes_at(start, min(span[1] - start, LONGEST))

    def _asked(self, function: tuple[int, bytes]) -> int:
        """Return how many bytes a function gets by operator new, 0 without."""
        start, code = function
        news = [at for at, to in _places(CALL, start, code) if self._is_new(to)]
        news += [at for at, to in _places(CALL_BY_TABLE, start, code) if self._leads_to_new(to)]
        return next(filter(None, (_argument(code, at) for at in sorted(news))), 0)

    def _is_new(self, address: int) -> bool:
        """Tell whether a function is operator new, or jumps there by what ld.so has filled in."""
        stub = STUB.match(self._parts.bytes_at(address, LONGEST_STUB))
        if stub is not None:
            return self._leads_to_new(address + stub.end() + _number(stub[1]))
        symbol = self._parts.symbol(address)
        return symbol is not None and symbol.name in NEW

    def _leads_to_new(self, place: int) -> bool:
        word = self._held.space.word
        symbol = self._parts.symbol(int.from_bytes(self._parts.bytes_at(place, word), "little"))
        return symbol is not None and symbol.offset == 0 and symbol.name in NEW


def _places(what: re.Pattern[bytes], start: int, code: bytes) -> Iterator[tuple[int, int]]:
    """Yield where in code something is called, and where that or its place in a table lies."""
    for found in what.finditer(code):
        yield found.start(), start + found.end(1) + _number(found[1])


def _argument(code: bytes, call: int) -> int:
    """Return what the first argument of a call was set to last, 0 where that isn't near."""
    found = [*ARGUMENT.finditer(code, max(call - NEAR, 0), call)]
    return max(_number(found[-1][1] or found[-1][2]), 0) if found else 0


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)
