"""The chunks that an Overlay names, given to a compiled walk by and by, so that few are held."""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_left
from ctypes import POINTER, c_uint64
from itertools import chain
from typing import Any

from .chains import upwards
from .declared import MET, OWN, CWalk
from .places import Overlay

PIECE = 16 << 20  # bytes of a heap


class Expected:
    """What a walk is given of the chunks in fastbins and tcaches; `own` are tcaches themselves.

    `misplaced` are those that it didn't meet, as far as it came.
    """

    def __init__(
        self, functions: Any, walk: CWalk, overlay: Overlay, own: frozenset[int], start: int
    ) -> None:
        self.misplaced: list[int] = []
        self._functions = functions
        self._walk = walk
        self._overlay = overlay
        self._own = own
        self._end = start  # of what was given
        self._lists: list[array[int]] = []

    def give(self, start: int, end: int) -> None:
        """See to it that a walk that has come to `start` has those up to `end`."""
        if end <= self._end:
            return
        self.take_back(start)
        if start > self._end:  # what lies there would lie inside of a chunk
            both = (places.upwards(self._end, start) for places in self._overlay[:2])
            self.misplaced += sorted(chain.from_iterable(both))
        self._end = max(end, start + PIECE)
        walk, (fast, cached) = self._walk, self._overlay[:2]
        self._lists = [
            upwards(self._functions, places, start, self._end) for places in (cached, fast)
        ]
        for chunk in self._own.intersection(self._lists[0]):
            self._lists[0][bisect_left(self._lists[0], chunk)] |= OWN
        walk.cached, walk.cached_left = _pointer(self._lists[0])
        walk.fast, walk.fast_left = _pointer(self._lists[1])

    def take_back(self, end: int) -> None:
        """The walk has come to `end`: what it hasn't met before is misplaced."""
        if self._walk.met < sum(map(len, self._lists)):
            unmet = (place & ~OWN for each in self._lists for place in each if not place & MET)
            self.misplaced += sorted(chunk for chunk in unmet if chunk < end)
        self._walk.met = 0


def _pointer(places: array[int]) -> tuple[Any, int]:
    address, number = places.buffer_info()
    return ctypes.cast(address, POINTER(c_uint64)) if number else None, number
