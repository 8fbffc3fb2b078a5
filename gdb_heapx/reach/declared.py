"""What reach.c and holders.c are given and return, declared for ctypes."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_uint64, c_void_p
from functools import cache
from typing import Any

from ..held.declared import CCursor, CHeld

AHEAD = 8
AHEAD_WORDS = 4 + 8 * (2 + 5)  # of struct ahead of reach.h


def _numbers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_uint64) for name in names.split()]


class CSum(ctypes.Structure):
    """struct sum of reach.c."""

    _fields_ = _numbers("chunks bytes resident swapped")


class CFlood(ctypes.Structure):
    """struct flood of reach.c."""

    _fields_ = [
        *_numbers("source also mark inner room depth pending"),
        ("marked", CSum),
        *_numbers("stack states"),
        ("ahead", c_uint64 * AHEAD_WORDS),
        ("way", c_uint64),
    ]


class CGroup(ctypes.Structure):
    """struct group of reach.c."""

    _fields_ = [("sum", CSum), ("sample", c_uint64)]


class CHanging(ctypes.Structure):
    """struct hanging of reach.c."""

    _fields_ = [("sum", CSum), *_numbers("most at")]


class CHeads(ctypes.Structure):
    """struct heads of reach.c."""

    _fields_ = [
        ("at", CCursor),
        *_numbers("head rank"),
        ("before", CSum),
        *_numbers("kinds hanging"),
    ]


@cache
def declared(code: ctypes.CDLL) -> Any:
    """Return reach.c's functions with the types of their arguments."""
    number, held, flood = c_uint64, POINTER(CHeld), POINTER(CFlood)
    cursor = POINTER(CCursor)
    code.heapx_flood.restype = code.heapx_resume.restype = code.heapx_starts.restype = number
    code.heapx_heads.restype = code.heapx_sums.restype = number
    code.heapx_visit.restype = code.heapx_flood_large.restype = None
    code.heapx_flood_large.argtypes = [held, flood, number, number]
    code.heapx_flood.argtypes = [held, flood, number]
    code.heapx_visit.argtypes = [held, flood, c_void_p, number]
    code.heapx_resume.argtypes = [held, flood, cursor, number, number]
    code.heapx_starts.argtypes = [held, flood, cursor, number]
    code.heapx_heads.argtypes = [held, flood, POINTER(CHeads), number]
    code.heapx_sums.argtypes = [
        *(held, c_void_p, c_void_p, c_void_p, number, cursor, number),
    ]
    return code


class CLabels(ctypes.Structure):
    """struct labels of holders.c."""

    _fields_ = [
        *_numbers("own first met epoch most reached room depth pending chunks bytes lead led"),
        *_numbers("stack nearest labels seen touches"),
        ("ahead", c_uint64 * AHEAD_WORDS),
    ]


class CTotals(ctypes.Structure):
    """struct totals of holders.c."""

    _fields_ = _numbers("sums nearer last nearest labels rows kinds bytes number")


class CSearch(ctypes.Structure):
    """struct search of holders.c."""

    _fields_ = [("at", CCursor), *_numbers("region chunk start low high room count found")]


class CWays(ctypes.Structure):
    """struct ways of holders.c."""

    _fields_ = [
        *_numbers("whose goal head tail room pending ring reached"),
        ("ahead", c_uint64 * AHEAD_WORDS),
    ]


@cache
def declared_holders(code: ctypes.CDLL) -> Any:
    """Return the functions of holders.c with the types of their arguments."""
    number, held, cursor = c_uint64, POINTER(CHeld), POINTER(CCursor)
    labels, ways = POINTER(CLabels), POINTER(CWays)
    code.heapx_label_pending.restype = code.heapx_total.restype = number
    code.heapx_refs.restype = number
    code.heapx_way.restype = code.heapx_way_pending.restype = number
    code.heapx_label.restype = code.heapx_label_from.restype = code.heapx_way_from.restype = None
    code.heapx_label_large.restype = code.heapx_way_large.restype = None
    code.heapx_label_large.argtypes = [held, labels, number, number]
    code.heapx_way_large.argtypes = [held, ways, number, number]
    code.heapx_label.argtypes = [held, labels, number]
    code.heapx_label_from.argtypes = [held, labels, c_void_p, number]
    code.heapx_label_pending.argtypes = [held, labels, cursor]
    code.heapx_total.argtypes = [held, POINTER(CTotals), cursor, number]
    code.heapx_refs.argtypes = [held, POINTER(CSearch), number]
    code.heapx_way_from.argtypes = [held, ways, number, number, c_void_p, number]
    code.heapx_way.argtypes = [held, ways, number]
    code.heapx_way_pending.argtypes = [held, ways, cursor, number, number]
    return code
