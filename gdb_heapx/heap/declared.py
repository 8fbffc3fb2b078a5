"""What walk.c is given and returns, declared for ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, c_uint32, c_uint64
from functools import cache
from typing import Any

from ..target.amounts import Amount
from .cells import FILLS, Cells
from .chains import declared as with_chains
from .fast import Looks
from .folds import LinkSums

WORD, UNIT = 8, 16  # bytes: of a word, and what every chunk's size is a multiple of
SIZES, FAST_SIZES, EVENTS, TRAIL = 4096, 64, 512, 512
LANDMARK, BIG_USED, BIG_FREE, FLAW, MOSTLY_FREE = range(5)
OWN, MET = 1, 2
LOCKED = 0x80
NOWHERE, HEADS = (1 << 32) - 1, 127


class CAmount(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("bytes", "resident", "swapped", "shared")]

    def amount(self, known: bool) -> Amount:
        """Return it; without what is in memory, where that isn't known."""
        if not known:
            return Amount(self.bytes, None, None)
        return Amount(self.bytes, self.resident, self.swapped, self.shared)


class CLinks(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in LinkSums._fields]

    @property
    def sums(self) -> LinkSums:
        return LinkSums(self.chunks, self.fds, self.bks, self.twist)


class CFast(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in Looks._fields]


class CEvent(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in ("kind", "address", "size")]


def _numbers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_uint64) for name in names.split()]


class CTable(ctypes.Structure):
    """struct table of table.h."""

    _fields_ = [
        *_numbers("base places heads part width room count size"),
        *((name, POINTER(c_uint32)) for name in ("rows", "latest")),
        *((name, c_uint32 * 2) for name in ("at", "behind")),
    ]


class CCells(ctypes.Structure):
    """struct cells of cells.h."""

    _fields_ = [
        ("amounts", ctypes.c_void_p),
        *_numbers("bits first page"),
        ("filled", c_uint64 * FILLS),
    ]

    @classmethod
    def of(cls, cells: Cells) -> CCells:
        """Return these, to be filled; they must outlive it."""
        return cls(cells.table.buffer_info()[0], cells.bits, cells.first)


Tables = Mapping[int, CTable]  # one of all free chunks by FREE, of fast ones by their size


class CWalk(ctypes.Structure):
    """struct walk of walk.c."""

    _fields_ = [
        *_numbers("limit smallest bad large page_bits states_at"),
        ("states", ctypes.c_char_p),
        *_numbers("holes trimmed header"),
        ("cached", POINTER(c_uint64)),
        ("fast", POINTER(c_uint64)),
        *_numbers("cached_left fast_left met told low high"),
        ("tables", POINTER(CTable) * FAST_SIZES),
        ("cells", CCells),
        *((name, c_uint64 * SIZES) for name in ("used", "free", "absent", "swapped", "shared")),
        ("looks_fast", CFast * FAST_SIZES),
        ("linked", CLinks),
        ("skipped", CLinks),
        *((n, CAmount) for n in ("in_large", "returned", "kept", "into_top", "gained", "before")),
        *_numbers("whole largest hole_first hole_start hole_end hole_fast hole_cached"),
        *_numbers("last last_size tail_free tail_end island gap first chunks alike alike_size"),
        *_numbers("other trail_cleared trail_length"),
        ("trail", c_uint64 * 2 * TRAIL),
        *_numbers("overlaid_chunks overlaid_bytes bucket page page_free marked flaws event_count"),
        ("events", CEvent * EVENTS),
    ]


BY_UNIT = tuple(range(0, SIZES * UNIT, UNIT))  # the same integers in each heap's tables


def by_size(table: Any, most: int) -> dict[int, int]:
    """Return what a table of CWalk's has, by size in bytes; it has no more than so many sizes."""
    numbers = table[:most]
    return {size: each for size, each in zip(BY_UNIT, numbers) if each} if any(numbers) else {}


@cache
def declared(code: ctypes.CDLL) -> Any:
    """Return the functions of walk.c and chains.c with the types of their arguments."""
    words = ctypes.c_void_p
    code.heapx_size.restype = code.heapx_walk.restype = code.heapx_run.restype = c_uint64
    code.heapx_walk.argtypes = [POINTER(CWalk), words, c_uint64, c_uint64]
    code.heapx_run.argtypes = [POINTER(CWalk), words, *[c_uint64] * 5]
    code.heapx_sizes.argtypes = [POINTER(CWalk)]
    code.heapx_sizes.restype = c_uint64
    code.heapx_close.argtypes = [POINTER(CWalk), c_uint64]
    code.heapx_end_cells.argtypes = [POINTER(CWalk)]
    code.heapx_close.restype = code.heapx_end_cells.restype = None
    code.heapx_placed.argtypes = [POINTER(CTable), c_uint64]
    code.heapx_placed.restype = c_uint32
    code.heapx_join.argtypes = [POINTER(CWalk), POINTER(CTable), c_uint64]
    code.heapx_join.restype = c_uint64
    assert code.heapx_size() == ctypes.sizeof(CWalk)  # else ABI of library.py wasn't raised
    return with_chains(code)
