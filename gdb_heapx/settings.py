"""Why memory stays: causes that lie in malloc's settings, the user's or its own."""

from __future__ import annotations

from collections.abc import Iterator

from .case import Case, each_arena
from .figures import ArenaFigures
from .malloc import Malloc
from .report import Finding, size_text
from .thresholds import (
    DEFAULT_MMAP_THRESHOLD,
    DEFAULT_TRIM_THRESHOLD,
    adjusted_by_free,
    free_would_trim,
    origin_unless_adjusted,
    set_by_user,
)


def trim_threshold(case: Case) -> Iterator[Finding]:
    """What trim_threshold keeps at the top of the arenas."""
    for malloc in case.snapshot.mallocs:
        threshold = malloc.parameters["trim_threshold"]
        kept = [a for a in malloc.arenas if _kept_by_threshold(case, malloc, a)]
        if threshold <= DEFAULT_TRIM_THRESHOLD or not kept:
            continue
        origin = origin_unless_adjusted(malloc.parameters)
        remedy = f"Remove M_TRIM_THRESHOLD, or set it to {DEFAULT_TRIM_THRESHOLD}."
        if adjusted_by_free(malloc.parameters):
            block = size_text(malloc.parameters["mmap_threshold"])
            origin = f"raised by the free of a {block} block"
            remedy = (
                f"MALLOC_TRIM_THRESHOLD_={DEFAULT_TRIM_THRESHOLD} when it starts. Or mallopt("
                f"M_TRIM_THRESHOLD, {DEFAULT_TRIM_THRESHOLD}). It also stops glibc from raising "
                "mmap_threshold."
            )
        yield Finding(
            "trim_threshold",
            sum(case.of(arena, "top") for arena in kept),
            f"free() keeps tops below trim_threshold, {size_text(threshold)}: {origin}.",
            each_arena(
                ((case.of(arena, "top"), arena) for arena in kept),
                lambda amount, arena: f"top {arena.top_address:#x}, {size_text(amount)}",
            ),
            f"{remedy} Worth this much at most: 128 KiB and top_pad stay in each arena. The price "
            "is more system calls.",
        )


def _kept_by_threshold(case: Case, malloc: Malloc, arena: ArenaFigures) -> bool:
    trim = free_would_trim(case.snapshot.target, malloc, arena)
    return bool(arena.top) and trim.reason == "below trim_threshold"


def limits_set(case: Case) -> Iterator[Finding]:
    """Settings of the user that work against giving memory back."""
    for malloc in case.snapshot.mallocs:
        parameters = malloc.parameters
        large = _large_free(malloc, DEFAULT_MMAP_THRESHOLD)
        evidence = (f"free chunks of 128 KiB and more: {size_text(large)}",)
        threshold, pad = parameters["mmap_threshold"], parameters["top_pad"]
        if threshold > DEFAULT_MMAP_THRESHOLD and set_by_user(parameters):
            yield Finding(
                "mmap_threshold_set",
                large,
                f"mmap_threshold is {size_text(threshold)}: smaller blocks come from arenas. Those "
                "keep them: it is the wrong way round for this problem.",
                (*evidence, "set, or raised by a free before another limit was set"),
                f"Remove M_MMAP_THRESHOLD, or set it to {DEFAULT_MMAP_THRESHOLD}. From there on "
                "blocks get a mapping of their own, and free() unmaps them, for a system call.",
            )
        if parameters["n_mmaps_max"] == 0:
            yield Finding(
                "mmap_disabled",
                large,
                "M_MMAP_MAX is 0: all blocks come from arenas, which keep them.",
                evidence,
                "Remove M_MMAP_MAX, or MALLOC_MMAP_MAX_. Large blocks then get a mapping of their "
                "own, and free() unmaps them.",
            )
        if pad > DEFAULT_TRIM_THRESHOLD:
            tops = [(min(case.of(arena, "top"), pad), arena) for arena in malloc.arenas]
            yield Finding(
                "top_pad_set",
                sum(amount for amount, _ in tops),
                f"top_pad is set to {size_text(pad)}: every arena keeps that much at its top.",
                each_arena(tops, lambda amount, arena: f"{size_text(amount)} at its top"),
                "Remove M_TOP_PAD, or MALLOC_TOP_PAD_. The price is more system calls.",
            )


def _large_free(malloc: Malloc, smallest: int) -> int:
    """Return the bytes of free chunks from the next power of two on."""
    return sum(
        size
        for arena in malloc.arenas
        for power, size in arena.free_by_size.items()
        if power >= smallest
    )


def mmap_threshold_raised(case: Case) -> Iterator[Finding]:
    for malloc in case.snapshot.mallocs:
        threshold = malloc.parameters["mmap_threshold"]
        if threshold <= DEFAULT_MMAP_THRESHOLD or not adjusted_by_free(malloc.parameters):
            continue
        large = _large_free(malloc, DEFAULT_MMAP_THRESHOLD)
        yield Finding(
            "mmap_threshold_raised",
            large,
            f"the free of a {size_text(threshold)} block raised mmap_threshold to its size. Since "
            "then blocks up to that size come from arenas, which keep them.",
            (f"free chunks of 128 KiB and more: {size_text(large)}",),
            f"MALLOC_MMAP_THRESHOLD_={DEFAULT_MMAP_THRESHOLD} when it starts. Such blocks get a "
            "mapping of their own again, and free() unmaps them, for a system call each.",
        )


def mmaps_exhausted(case: Case) -> Iterator[Finding]:
    """Blocks that came from arenas because no more mappings were allowed."""
    for malloc in case.snapshot.mallocs:
        limit, threshold = malloc.parameters["n_mmaps_max"], malloc.parameters["mmap_threshold"]
        if limit and malloc.parameters["max_n_mmaps"] >= limit:
            yield Finding(
                "mmaps_exhausted",
                _large_free(malloc, threshold),
                f"{limit:,} blocks had mappings of their own at once, which is the limit. Any "
                "further one comes from an arena, which keeps it.",
                (f"mmap_threshold: {size_text(threshold)}",),
                "A higher MALLOC_MMAP_THRESHOLD_ when it starts. Fewer blocks are mapped then; how "
                "much it saves can't be computed.",
            )
