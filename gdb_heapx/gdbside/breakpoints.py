"""Breakpoints of heapx's own, which none knows of but gdb, and which are gone in the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import gdb

from ..errors import HeapxError
from .strings import said

Place = tuple[int, bytes]
Keep = Callable[[Sequence[Place]], object]
LISTED = re.compile(r"^-?\d+(?:\.\d+)?\s.*?\s(0x[0-9a-f]+)\s", re.M)


@contextmanager
def stopping_at(
    addresses: Sequence[int], read: Callable[[int, int], bytes], keep: Keep
) -> Iterator[list[gdb.Breakpoint]]:
    """In here a process stops at these addresses, and when it calls exec: then the breakpoints are
    gone at once, because gdb would set them anew, in another program.

    `keep` gets all places that gdb may write to, with the bytes that are there, before it writes;
    and in the end, when the process stands still and they are as before, none.
    """
    breakpoints: list[gdb.Breakpoint] = []
    numbers: list[str] = []

    def remove(_event: object = None) -> None:
        while breakpoints:
            each = breakpoints.pop()
            if each.is_valid():
                each.delete()

    gdb.events.clear_objfiles.connect(remove)  # before gdb reads the new program's symbols
    try:
        for address in addresses:
            breakpoints.append(gdb.Breakpoint(f"*{address:#x}", internal=True))
            breakpoints[-1].silent = True
        numbers += re.findall(r"Catchpoint (\d+)", said("tcatch exec"))
        keep(_written(set(addresses), read))
        yield breakpoints
    finally:
        gdb.events.clear_objfiles.disconnect(remove)
        remove()
        for number in numbers:
            with suppress(gdb.error):  # it was hit
                said(f"delete {number}")
        keep(())


def _written(own: set[int], read: Callable[[int, int], bytes]) -> list[Place]:
    """Return where gdb may write, and what is there now: gdb's own breakpoints are listed by
    `maint info breakpoints` alone. HeapxError where one of these can't be read.
    """
    inferior = gdb.selected_inferior()
    listed = {int(each, 16) for each in LISTED.findall(said("maint info breakpoints"))}
    size = 4 if inferior.architecture().name().startswith("aarch64") else 1
    places = []
    for address in sorted(own | listed):
        with suppress(OSError):  # of a file that isn't there any more
            places.append((address, read(address, size)))
    lost = own - {address for address, _ in places}
    if lost:
        raise HeapxError(f"malloc's code at {min(lost):#x} can't be read")
    return places
