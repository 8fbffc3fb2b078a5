"""The compiled walk's shared object: found, and loaded."""

from __future__ import annotations

import ctypes
import os
from functools import cache


@cache
def library() -> ctypes.CDLL | None:
    path = os.environ.get("HEAPX_WALK", os.path.join(os.path.dirname(__file__), "walk-x86_64.so"))
    return ctypes.CDLL(path) if path and os.path.exists(path) else None
