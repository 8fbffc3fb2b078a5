"""What classify.c and bodies.c are given and return, declared for ctypes."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_uint64
from functools import cache
from typing import Any

from ..held.declared import CCursor
from .counted import SAMPLES

FILTER_WORDS = (1 << 15) // 64
LIBC_BITS = 56  # of a group: above them its libc, below them the chunks' size
PART_WORDS, KNOWN_WORDS, PAIR_WORDS = 3, 2, 3


def _numbers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_uint64) for name in names.split()]


class CKey(ctypes.Structure):
    """struct key of kinds.h."""

    _fields_ = [
        *_numbers("code value offset group chunks bytes instances resident swapped"),
        ("samples", c_uint64 * SAMPLES),
    ]


class CKinds(ctypes.Structure):
    """struct kinds of kinds.h; pointers as numbers."""

    _fields_ = [
        *_numbers("parts part_count root_at root_to root_count"),
        *_numbers("known slots known_count most keys key_count most_keys"),
        *_numbers("key_slots key_slot_count kinds bodies callers group sizes paged"),
        ("part_filter", c_uint64 * FILTER_WORDS),
        ("known_filter", c_uint64 * FILTER_WORDS),
    ]


class CFinder(ctypes.Structure):
    """struct finder of bodies.c."""

    _fields_ = [
        *_numbers("marks chunks pairs slots met most asked blocks"),
        *_numbers("spots kept room tables noted most_noted"),
    ]


class CChain(ctypes.Structure):
    """struct chain of bodies.c."""

    _fields_ = _numbers("at left mark window start size")


@cache
def declared(code: ctypes.CDLL) -> Any:
    """Return their functions with the types of their arguments."""
    number, pointer = c_uint64, ctypes.c_void_p
    code.heapx_learn.restype = code.heapx_classify.restype = code.heapx_of_kind.restype = number
    for function in (code.heapx_learn, code.heapx_classify):
        function.argtypes = [pointer, POINTER(CKinds), POINTER(CCursor), number]
    code.heapx_of_kind.argtypes = [
        *(pointer, POINTER(CKinds), POINTER(CCursor)),
        *(number, pointer, number),
    ]
    code.heapx_bodies.restype = number
    code.heapx_bodies.argtypes = [pointer, POINTER(CFinder), POINTER(CCursor), number]
    code.heapx_bodies_in.restype = None
    code.heapx_bodies_in.argtypes = [pointer, POINTER(CFinder), pointer, number]
    code.heapx_bodies_at.restype = None
    code.heapx_bodies_at.argtypes = [pointer, POINTER(CFinder), pointer, number, number]
    code.heapx_bodies_along.restype = None
    code.heapx_bodies_along.argtypes = [pointer, POINTER(CFinder), POINTER(CChain)]
    code.heapx_know.restype = None
    code.heapx_know.argtypes = [POINTER(CKinds)]
    code.heapx_kinds_size.restype = number
    assert code.heapx_kinds_size() == ctypes.sizeof(CKinds)
    return code
