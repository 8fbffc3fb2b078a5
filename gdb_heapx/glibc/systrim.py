"""What glibc takes off the end of an arena, and when (malloc.c: systrim; arena.c: heap_trim)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .layout import Layout, Release, align_down

# A free, or what it merges to, of this many bytes merges the fast chunks and looks at top:
# FASTBIN_CONSOLIDATION_THRESHOLD, from 2.43 on ATTEMPT_TRIMMING_THRESHOLD.
TRIES_TRIMMING = 64 << 10


def taken_off(layout: Layout, page: int, top: int, pad: int, thp_pagesize: int = 0) -> int:
    """Return how many bytes of a top of this size go to the kernel, where `pad` must remain.

    2.35 rounds to the size of a huge page where the tunable glibc.malloc.hugetlb is set.
    """
    return _rounded(layout.min_size, unit(page, thp_pagesize), top, pad)


def unit(page: int, given: int) -> int:
    """Return the pages that are counted in: those given, unless unset (0), or damaged."""
    return given if given >= page and not given & (given - 1) else page


def _rounded(min_size: int, page: int, top: int, pad: int) -> int:
    area = top - min_size - 1
    return align_down(area - pad, page) if area > pad else 0


def at_break(end: int, program_break: int | None, contiguous: bool) -> bool:
    """Tell whether the main arena's top, which ends here, ends at the program break: only then can
    it go. systrim asks where the break is; that the arena was never interrupted counts where that
    isn't known.
    """
    return contiguous if program_break is None else program_break == end


class Limits(NamedTuple):
    """What free() goes by: sizes in bytes. `main_page` is what the main arena's top shrinks by."""

    release: Release
    min_size: int
    heap_max: int
    trim_threshold: int
    top_pad: int
    main_page: int

    @classmethod
    def of(cls, layout: Layout, page: int, parameters: Mapping[str, int]) -> Limits:
        main_page = unit(page, parameters.get("thp_pagesize", 0))
        given = parameters["trim_threshold"], parameters["top_pad"], main_page
        return cls(layout.release, layout.min_size, layout.heap_max, *given)

    def too_small(self, top: int, main: bool) -> bool:
        """Tell whether a top of this size is below trim_threshold (heap_trim: from 2.23 on)."""
        return top < self.trim_threshold and (main or self.release >= (2, 23))


class Ending(NamedTuple):
    """How a heap ends: with free space from `free` up to `end`, fenceposts in it. `first` is where
    its first chunk lies, `page` what it shrinks by.
    """

    address: int
    first: int
    free: int
    end: int
    page: int


class Cut(NamedTuple):
    """What goes: the newest `heaps`, so many, and `bytes` at the end of the one before these."""

    heaps: int
    bytes: int


def systrim(limits: Limits, top: int) -> int:
    """Return the bytes that the main arena's top falls by in a free (malloc.c, _int_free)."""
    if limits.too_small(top, main=True):
        return 0
    return _rounded(limits.min_size, limits.main_page, top, limits.top_pad)


def top_left(limits: Limits, top: int) -> int:
    """Return the bytes that malloc_trim(0) takes off the main arena's top (malloc.c, mtrim)."""
    return _rounded(limits.min_size, limits.main_page, top, 0)


def heap_trim(limits: Limits, heaps: Sequence[Ending]) -> Cut:
    """Return what a free takes off an arena with these heaps, the oldest first (arena.c).

    A heap that is free as a whole goes if the one before it has room, which then has top.
    """
    pad, last = limits.top_pad, len(heaps) - 1
    while last and heaps[last].free <= heaps[last].first:
        used_before = heaps[last - 1].free - heaps[last - 1].address
        if limits.heap_max - used_before < pad + limits.min_size + heaps[last].page:
            break
        last -= 1
    top, gone = heaps[last].end - heaps[last].free, len(heaps) - 1 - last
    extra = _rounded(limits.min_size, heaps[last].page, top, pad)
    short = limits.release == (2, 22) and extra < limits.trim_threshold
    return Cut(gone, 0 if short or limits.too_small(top, main=False) else extra)
