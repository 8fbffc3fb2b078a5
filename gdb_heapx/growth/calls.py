"""The calls in malloc's own text by which it gets memory from the system."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import HeapxError
from ..glibc import releases
from ..glibc.architecture import Architecture
from ..target.images import Image
from ..target.named import Function

SYSMALLOC = re.compile(r"sysmalloc(\.\w+)*$")
NEW_HEAP = re.compile(r"new_heap(\.\w+)*$")
# Exported functions of malloc.c and morecore.c: without other symbols these tell its text.
EXPORTED = re.compile(
    r"(__libc_|__)?(malloc|free|calloc|realloc|memalign|valloc|pvalloc|posix_memalign|mallinfo2?"
    r"|aligned_alloc|malloc_(trim|usable_size|stats|info|[gs]et_state)|mallopt|default_morecore"
    r"|malloc_initialize_hook|freeres|free_(sized|aligned_sized))$"
)
SYSTEM = ("sbrk", "mmap", "mprotect", "mremap")


class Call(NamedTuple):
    """A call: its address, that of the next instruction, and what it calls."""

    address: int
    behind: int
    callee: str


class Calls(NamedTuple):
    """The calls to watch; `by_request` where they tell what malloc was asked for."""

    calls: tuple[Call, ...]
    by_request: bool

    @property
    def places(self) -> list[int]:
        """Where to stop: before each call and behind it."""
        return sorted({each for call in self.calls for each in (call.address, call.behind)})


def find_calls(image: Image, read: Callable[[int, int], bytes], machine: Architecture) -> Calls:
    """Return the calls of a libc to watch; HeapxError where they can't be told."""
    if machine not in ENCODINGS:
        raise HeapxError(f"how calls look on {machine.value} is not known to heapx growth")
    functions = image.functions()
    sysmalloc = [f for f in functions if SYSMALLOC.match(f.name)]
    own = [f for f in functions if releases.MALLOC_FUNCTIONS.match(f.name)]
    found = tuple(_inner(own, sysmalloc, read, machine)) if sysmalloc else ()
    if any(call.callee == "sysmalloc" for call in found):
        return Calls((*found, *_calls(own, _named(functions, "mremap"), read, machine)), True)
    if image.static and not sysmalloc:
        raise HeapxError(
            "nothing tells where malloc is in this static program: it has no symbols",
            "Keep the symbols of the program, or link it to libc.so.6.",
        )
    text = _text(functions)
    found = tuple(_calls([text], _named(functions, *SYSTEM), read, machine)) if text else ()
    if not any(call.callee == "sbrk" for call in found):
        raise HeapxError(
            f"the calls by which malloc gets memory were not found in {image.path}",
            "Install libc's debug symbols: apt-get install libc6-dbg",
        )
    return Calls(found, False)


def _inner(
    own: Sequence[Function],
    sysmalloc: Sequence[Function],
    read: Callable[[int, int], bytes],
    machine: Architecture,
) -> Iterator[Call]:
    """Yield the calls of sysmalloc, and those of new_heap that aren't made there."""
    targets = {f.start: "new_heap" for f in own if NEW_HEAP.match(f.name)}
    targets.update((f.start, "sysmalloc") for f in sysmalloc)
    for call in _calls(own, targets, read, machine):
        inside = any(f.start <= call.address < f.end for f in sysmalloc)
        if not inside:
            yield call


def _named(functions: Sequence[Function], *names: str) -> dict[int, str]:
    return {f.start: f.name for f in functions if f.name in names}


def _calls(
    places: Sequence[Function],
    targets: Mapping[int, str],
    read: Callable[[int, int], bytes],
    machine: Architecture,
) -> Iterator[Call]:
    """Yield the calls of these targets in functions, each once: one may have several names."""
    seen = set()
    for place in places:
        if place.start not in seen and place.end > place.start:
            seen.add(place.start)
            text = read(place.start, place.end - place.start)
            yield from calls_in(text, place.start, targets, machine)


def _text(functions: Sequence[Function]) -> Function | None:
    """Return malloc's text where only exported functions have names, None if it isn't one piece.

    Static functions have none. They lie before, between or behind: up to functions of others.
    """
    starts = [f.start for f in functions]
    own = [f for f in functions if EXPORTED.match(f.name)]
    anchors = [f for f in own if f.name == "malloc"]
    if not anchors:
        return None
    at = bisect_right(starts, anchors[0].start) - 1
    mine = {f.start for f in own}
    first = last = at
    while first and starts[first - 1] in mine:
        first -= 1
    while last + 1 < len(functions) and starts[last + 1] in mine:
        last += 1
    start = max((f.end for f in functions[:first]), default=functions[first].start)
    end = functions[last + 1].start if last + 1 < len(functions) else functions[last].end
    return Function(start, end, "malloc")


def calls_in(
    text: bytes, start: int, targets: Mapping[int, str], machine: Architecture
) -> Iterator[Call]:
    """Yield the calls of these targets in machine code that begins at an address."""
    for call, behind, target in ENCODINGS[machine](text, start):
        if target in targets:
            yield Call(call, behind, targets[target])


def _of_x86(text: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield what may be direct calls: E8 and how far away the target is, in 32 bits.

    That these five bytes are part of another instruction, and lead to such a target by chance, is
    as likely as one in 2^32 for each byte.
    """
    for found in re.finditer(rb"(?s)\xe8(?=(....))", text):
        behind = start + found.start() + 5
        target = behind + int(struct.unpack("<i", found[1])[0])
        yield behind - 5, behind, target


def _of_aarch64(text: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield the instructions BL: six bits, and how many words away the target is."""
    for number, (word,) in enumerate(struct.iter_unpack("<I", text[: len(text) & ~3])):
        if word >> 26 == 0b100101:
            away = (word & (1 << 26) - 1) - ((word & 1 << 25) << 1)
            address = start + 4 * number
            yield address, address + 4, address + 4 * away


ENCODINGS = {Architecture.X86_64: _of_x86, Architecture.AARCH64: _of_aarch64}
# The registers of a call's first four arguments, and of its result.
ARGUMENTS = {
    Architecture.X86_64: (("rdi", "rsi", "rdx", "rcx"), "rax"),
    Architecture.AARCH64: (("x0", "x1", "x2", "x3"), "x0"),
}
