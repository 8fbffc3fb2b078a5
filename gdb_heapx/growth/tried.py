"""How long it takes to look at what is free: tried before the process is let run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from .free import MOST, MOST_AT_ONCE, free_at_once, free_in
from .noting import Grower
from .unusable import KnownCaches, Requested, by_reason
from .watched import Tried


def try_looking(malloc: Grower, caches: KnownCaches, by_request: bool) -> Tried:
    """Look as it will be done at requests that make malloc grow, and return how long it took."""
    read, layout = malloc.read, malloc.layout
    began = time.perf_counter()
    arenas: list[int] = []
    with suppress(OSError):  # the process is gone
        arenas += malloc.ring()
    free_at_once(read, layout, arenas, MOST_AT_ONCE)
    once = time.perf_counter() - began
    if not by_request or not arenas:
        return Tried(None, once)
    own, slowest = max(_each(malloc, arenas))
    began = time.perf_counter()
    asked = Requested(0, slowest, layout.min_size)
    with suppress(OSError):
        by_reason(read, layout, asked, caches, arenas)
    return Tried(own, own + once + time.perf_counter() - began)


def _each(malloc: Grower, arenas: Iterable[int]) -> Iterator[tuple[float, int]]:
    """Yield how long it takes to look at an arena alone, and which; at so many chunks in all."""
    left = MOST_AT_ONCE
    for arena in arenas:
        began = time.perf_counter()
        left -= free_in(malloc.read, malloc.layout, arena, min(MOST, left)).chunks
        yield time.perf_counter() - began, arena
