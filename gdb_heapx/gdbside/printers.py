"""Pretty-printers for glibc malloc's own structs: print main_arena, print *chunk, print mp_."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gdb
import gdb.printing

from ..glibc.layout import FLAGS, IS_MMAPPED, LAST_BIN, NON_MAIN_ARENA, PREV_INUSE
from ..report.model import size_text

SIZES = re.compile(  # members that are bytes, of all these structs
    "(max_)?(system|mmapped|total)_mem|(trim|mmap)_threshold|top_pad|(thp_|hp_)?pagesize"
    "|tcache_max_bytes|(mprotect_)?size"
)
Child = tuple[str, Any]


def _members(value: gdb.Value, *left_out: str) -> Iterator[Child]:
    """Yield a struct's members as they are, sizes with their unit."""
    for field in value.type.fields():
        if field.name in left_out:
            continue
        member = value[field.name]
        yield field.name, _size(int(member)) if SIZES.fullmatch(field.name) else member


def _size(size: int) -> str:
    return f"{size} ({size_text(size)})"


class ArenaPrinter:
    """A malloc_state: its bins as a count, since empty ones only point at themselves."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        return f"arena, {size_text(int(self._value['system_mem']))} from the system"

    def children(self) -> Iterator[Child]:
        yield from _members(self._value, "bins", "binmap")
        yield "bins in use", ", ".join(map(str, self._filled())) or "none"

    def _filled(self) -> Iterator[int]:
        bins = self._value["bins"]
        word = bins[0].type.sizeof
        for index in range(1, LAST_BIN + 1):
            first = int(bins[2 * (index - 1)])
            head = int(bins[2 * (index - 1)].address) - 2 * word
            if first not in (0, head):
                yield index


class ChunkPrinter:
    """A malloc_chunk by its header; what follows depends on whether it is in use."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def _raw(self) -> int:
        return int(self._value[_named(self._value, "size")])

    def to_string(self) -> str:
        raw = self._raw()
        return f"chunk of {_size(raw & ~FLAGS)}"

    def children(self) -> Iterator[Child]:
        raw = self._raw()
        bits = (("PREV_INUSE", PREV_INUSE), ("IS_MMAPPED", IS_MMAPPED))
        names = [name for name, bit in (*bits, ("NON_MAIN_ARENA", NON_MAIN_ARENA)) if raw & bit]
        yield "flags", " | ".join(names) or "none"
        if not raw & PREV_INUSE:
            yield "prev_size", self._value[_named(self._value, "prev_size")]
        for name in ("fd", "bk"):
            yield name, self._value[name]


def _named(value: gdb.Value, name: str) -> str:
    """Return a member's name in this release (2.25 renamed them)."""
    names = {field.name for field in value.type.fields()}
    return f"mchunk_{name}" if f"mchunk_{name}" in names else name


class ParametersPrinter:
    """A malloc_par."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        return "malloc's parameters"

    def children(self) -> Iterator[Child]:
        return _members(self._value)


class HeapPrinter:
    """A _heap_info: the head of a non-main arena's heap."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        return f"heap of {size_text(int(self._value['size']))}"

    def children(self) -> Iterator[Child]:
        return _members(self._value, "pad")


PRINTERS = {
    "malloc_state": ArenaPrinter,
    "malloc_chunk": ChunkPrinter,
    "malloc_par": ParametersPrinter,
    "_heap_info": HeapPrinter,
}


def register() -> None:
    """Make them gdb's, for these structs in any program."""
    printers = gdb.printing.RegexpCollectionPrettyPrinter("heapx")
    for struct, printer in PRINTERS.items():
        printers.add_printer(struct, f"^{struct}$", printer)
    gdb.printing.register_pretty_printer(None, printers, replace=True)
