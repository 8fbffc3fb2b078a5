"""What glibc takes off the end of top, and when (malloc.c: systrim; arena.c: heap_trim)."""

from __future__ import annotations

from .layout import Layout, align_down


def taken_off(layout: Layout, page: int, top: int, pad: int, thp_pagesize: int = 0) -> int:
    """Return how many bytes of a top of this size go to the kernel, where `pad` must remain.

    2.35 rounds to the size of a huge page where the tunable glibc.malloc.hugetlb is set.
    """
    area = top - layout.min_size - 1
    huge = thp_pagesize >= page and not thp_pagesize & (thp_pagesize - 1)  # else unset, or damaged
    return align_down(area - pad, thp_pagesize if huge else page) if area > pad else 0


def at_break(end: int, program_break: int | None, contiguous: bool) -> bool:
    """Tell whether the main arena's top, which ends here, ends at the program break: only then can
    it go. systrim asks where the break is; that the arena was never interrupted counts where that
    isn't known.
    """
    return contiguous if program_break is None else program_break == end
