"""What free() would return to the kernel by itself, and what stops it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .figures import ArenaFigures
from .layout import align_down
from .snapshot import Malloc, TargetFacts

DEFAULT_MMAP_THRESHOLD = 128 << 10
ATTEMPT_TRIMMING_THRESHOLD = 64 << 10  # to 2.42 FASTBIN_CONSOLIDATION_THRESHOLD


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
        return FreeTrim(0, "nothing allocated yet")
    threshold, pad = parameters["trim_threshold"], parameters["top_pad"]
    if arena.main and not arena.contiguous:
        return FreeTrim(0, "main arena is not contiguous: the program break is not at top")
    if arena.main and malloc.program_break not in (None, arena.top_address + arena.top):
        return FreeTrim(0, "foreign brk: the program break is not at the end of top")
    if arena.top < threshold:
        return FreeTrim(0, f"top < trim_threshold {_size(threshold)} ({_origin(parameters)})")
    step = (arena.main and parameters.get("thp_pagesize")) or facts.page
    room = arena.top - 4 * facts.word - 1 - pad
    extra = align_down(room, step) if room > 0 else 0
    if not extra:
        return FreeTrim(0, f"top_pad {_size(pad)} is kept")
    return FreeTrim(extra, "waits for a free of 64 KiB or more")


def _origin(parameters: Mapping[str, int]) -> str:
    """Say where trim_threshold comes from."""
    if parameters["no_dyn_threshold"]:
        return "fixed by the user"
    if parameters["mmap_threshold"] > DEFAULT_MMAP_THRESHOLD:
        return f"raised by freeing a block of {_size(parameters['mmap_threshold'])}"
    return "default"


def _size(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.0f} {name}" if size % unit == 0 else f"{size / unit:.1f} {name}"
    return f"{size} B"
