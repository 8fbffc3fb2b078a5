"""What free() would return to the kernel by itself, and what stops it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .figures import ArenaFigures
from .layout import align_down
from .malloc import Malloc
from .report import size_text
from .snapshots import TargetFacts

DEFAULT_MMAP_THRESHOLD = DEFAULT_TRIM_THRESHOLD = 128 << 10
HEAP_INFO_AT_MOST = 64  # bytes; no release has a larger heap_info


class FreeTrim(NamedTuple):
    """How many bytes of top the next free of 64 KiB or more would return, and why not more."""

    bytes: int
    reason: str


def free_would_trim(facts: TargetFacts, malloc: Malloc, arena: ArenaFigures) -> FreeTrim:
    """Return what the next free of a large enough chunk would give back from top's end.

    malloc.c: _int_free, systrim; arena.c: heap_trim (glibc 2.23 and later).
    """
    parameters = malloc.parameters
    if not arena.top:
        return FreeTrim(0, "nothing allocated")
    at_break = malloc.program_break == arena.top_address + arena.top
    if malloc.program_break is None:
        at_break = arena.contiguous
    if arena.main and not at_break:
        return FreeTrim(0, "foreign brk" if arena.contiguous else "not contiguous")
    min_size, pad = 4 * facts.word, parameters["top_pad"]
    if _heap_can_go(arena, pad + min_size + facts.page):
        return FreeTrim(arena.heaps[-1].size, "waits for a free")
    if arena.top < parameters["trim_threshold"]:
        return FreeTrim(0, "below trim_threshold")
    step = (arena.main and parameters.get("thp_pagesize")) or facts.page
    extra = align_down(max(arena.top - min_size - 1 - pad, 0), step)
    return FreeTrim(extra, "waits for a free") if extra else FreeTrim(0, "top_pad is kept")


def _heap_can_go(arena: ArenaFigures, needed: int) -> bool:
    """Tell whether top is all of a non-main arena's newest heap, and the one before has room."""
    if arena.main or len(arena.heaps) < 2:
        return False
    previous, newest = arena.heaps[-2:]
    nothing_before_top = arena.top_address - newest.address <= HEAP_INFO_AT_MOST
    return nothing_before_top and previous.reserved - previous.size >= needed


def thresholds(parameters: Mapping[str, int]) -> str:
    """Return the sentence that says which limits are in force, and since when."""
    threshold, pad = parameters["trim_threshold"], parameters["top_pad"]
    return (
        f"trim_threshold {size_text(threshold)} ({_origin(parameters)}), top_pad {size_text(pad)}. "
        "free() trims top only when what it frees, merged, has 64 KiB or more."
    )


def adjusted_by_free(parameters: Mapping[str, int]) -> bool:
    """Tell whether a free of an mmapped block set the thresholds (malloc.c, __libc_free).

    Once the user has set any, that ends (no_dyn_threshold), and who set the others isn't known.
    """
    return parameters["mmap_threshold"] > DEFAULT_MMAP_THRESHOLD and not set_by_user(parameters)


def set_by_user(parameters: Mapping[str, int]) -> bool:
    """Tell whether the user set a threshold, top_pad or n_mmaps_max, whichever it was."""
    return bool(parameters["no_dyn_threshold"])


def _origin(parameters: Mapping[str, int]) -> str:
    """Say where trim_threshold comes from."""
    if adjusted_by_free(parameters):
        return f"raised by a free of {size_text(parameters['mmap_threshold'])}"
    if parameters["trim_threshold"] == DEFAULT_TRIM_THRESHOLD:
        return "default"
    return origin_unless_adjusted(parameters)


def origin_unless_adjusted(parameters: Mapping[str, int]) -> str:
    """Say who set trim_threshold: a free that did also raised mmap_threshold."""
    free = parameters["mmap_threshold"] > DEFAULT_MMAP_THRESHOLD
    return "raised by a free, or set" if free else "set by the user"
