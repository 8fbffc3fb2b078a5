"""What held.c and what builds on held.h is given, declared for ctypes."""

from __future__ import annotations

import ctypes
from array import array
from ctypes import POINTER, c_uint64
from functools import cache
from typing import Any

SPANS = 512
REGION_WORDS = 7  # start, end, chunk, first, copy, pages, cells


def _numbers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_uint64) for name in names.split()]


class CIndexing(ctypes.Structure):
    """struct indexing of held.c."""

    _fields_ = [
        ("cached", c_uint64),
        ("fast", c_uint64),
        *_numbers("cached_left fast_left told low high page_bits least chunks bytes count"),
        ("spans", c_uint64 * 2 * SPANS),
    ]


class CHeld(ctypes.Structure):
    """struct held of held.h."""

    _fields_ = [*_numbers("low high count page_bits"), ("regions", c_uint64)]


class CCursor(ctypes.Structure):
    """struct cursor of held.h."""

    _fields_ = _numbers("region grain")


class CWay(ctypes.Structure):
    """struct way of hidden.h."""

    _fields_ = _numbers("step mask compressed base shift")


@cache
def declared(code: ctypes.CDLL) -> Any:
    """Return held.c's functions with the types of their arguments."""
    number, pointer = c_uint64, ctypes.c_void_p
    code.heapx_index.restype = code.heapx_find.restype = code.heapx_pointers.restype = number
    code.heapx_spots.restype = number
    code.heapx_index.argtypes = [pointer, POINTER(CIndexing), number, number, number]
    code.heapx_ranks.restype = None
    code.heapx_ranks.argtypes = [pointer]
    code.heapx_find.argtypes = [POINTER(CHeld), number, pointer]
    code.heapx_pointers.argtypes = [
        *(POINTER(CHeld), pointer, number, number),
        *(pointer, POINTER(number)),
    ]
    code.heapx_spots.argtypes = [
        *(POINTER(CHeld), pointer, pointer, number, number),
        *(pointer, POINTER(number)),
    ]
    code.heapx_seed.restype = None
    code.heapx_seed.argtypes = [POINTER(CHeld), POINTER(CWay), pointer, number, pointer]
    return code


def address_of(buffer: Any) -> int:
    """Return where in heapx's own memory a writable buffer begins; 0 if it is empty."""
    if isinstance(buffer, array):
        return buffer.buffer_info()[0]
    if not len(buffer):
        return 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
