"""Why memory stays: causes that lie in malloc's settings, the user's or its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..glibc.releases import (
    DEFAULT_MMAP_THRESHOLD,
    DEFAULT_MMAPS_MAX,
    DEFAULT_TOP_PAD,
    DEFAULT_TRIM_THRESHOLD,
)
from ..heap.states import HELD_FREE, State
from ..report.model import Finding, Worth, size_text
from .order import About, Part, spread
from .sources import BY_FREE, assign, source_of, undo
from .sums import Case, each_arena
from .thresholds import free_would_trim

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc

AT_MOST = "Such a chunk may also be many smaller ones that have merged."


def trim_threshold(case: Case) -> Iterator[Finding]:
    """What a trim_threshold that the user may have set keeps at the top of the arenas."""
    for malloc in case.snapshot.mallocs:
        threshold = malloc.parameters["trim_threshold"]
        origin = source_of(malloc, "trim_threshold", case.environment)
        kept = _kept_tops(case, malloc)
        if threshold <= DEFAULT_TRIM_THRESHOLD or _raised(case, malloc) or not kept:
            continue
        yield Finding(
            "trim_threshold",
            sum(amount for amount, _ in kept),
            f"free() keeps tops below trim_threshold, {size_text(threshold)}: {_by(origin)}.",
            each_arena(case, kept, _top),
            f"{undo(malloc, 'trim_threshold', case.environment)}. 128 KiB and top_pad may stay in "
            "each arena. The price is more system calls.",
            Worth(_free(case, malloc), likely=sum(amount for amount, _ in kept)),
            in_force=_by_user(origin),
            about=spread(Part.TOP, kept),
        )


def _raised(case: Case, malloc: Malloc) -> bool:
    """Tell whether the free of a mmapped block has raised both thresholds (malloc.c, free)."""
    names = "mmap_threshold", "trim_threshold"
    return all(source_of(malloc, name, case.environment) == BY_FREE for name in names)


def _by_user(origin: str) -> bool:
    """Tell whether it is sure that no free of a mmapped block did it."""
    return origin != BY_FREE and not origin.startswith("free")


def _by(origin: str) -> str:
    return origin if origin == BY_FREE else f"set by {origin}"


def _top(amount: int, arena: ArenaFigures) -> str:
    return f"top {arena.top_address:#x}, {size_text(amount)}"


def _kept_tops(case: Case, malloc: Malloc) -> list[tuple[int, ArenaFigures]]:
    """Return the tops that trim_threshold keeps."""
    kept = [arena for arena in malloc.arenas if _kept_by_threshold(case, malloc, arena)]
    return [(case.of(arena, State.TOP), arena) for arena in kept]


def _kept_by_threshold(case: Case, malloc: Malloc, arena: ArenaFigures) -> bool:
    trim = free_would_trim(case.snapshot.target, malloc, arena)
    return bool(arena.top) and trim.reason == "below trim_threshold"


def mmap_threshold_set(case: Case) -> Iterator[Finding]:
    """Large blocks that come from arenas because the user set mmap_threshold higher."""
    for malloc in case.snapshot.mallocs:
        threshold, given = malloc.parameters["mmap_threshold"], case.environment
        origin = source_of(malloc, "mmap_threshold", given)
        if threshold <= DEFAULT_MMAP_THRESHOLD or origin == BY_FREE:
            continue
        yield Finding(
            "mmap_threshold_set",
            _free_from(case, malloc, DEFAULT_MMAP_THRESHOLD),
            f"mmap_threshold is {size_text(threshold)}, {_by(origin)}: smaller blocks come from "
            "arenas. Those keep them: it is the wrong way round for this problem.",
            _large(case, malloc),
            f"{undo(malloc, 'mmap_threshold', given)}. From 128 KiB on blocks then get a mapping "
            f"of their own, and free() unmaps them, for a system call. {AT_MOST}",
            _worth_of_large(case, malloc),
            in_force=_by_user(origin),
            about=_large_parts(case, malloc, DEFAULT_MMAP_THRESHOLD),
        )


def mmap_disabled(case: Case) -> Iterator[Finding]:
    """Large blocks that come from arenas because the user allows no mappings."""
    for malloc in case.snapshot.mallocs:
        if malloc.parameters["n_mmaps_max"]:
            continue
        yield Finding(
            "mmap_disabled",
            _free_from(case, malloc, DEFAULT_MMAP_THRESHOLD),
            "M_MMAP_MAX is 0: all blocks come from arenas, which keep them.",
            _large(case, malloc),
            f"{undo(malloc, 'n_mmaps_max', case.environment)}. Large blocks then get a mapping of "
            f"their own, and free() unmaps them. {AT_MOST}",
            _worth_of_large(case, malloc),
            in_force=True,
            about=_large_parts(case, malloc, DEFAULT_MMAP_THRESHOLD),
        )


def top_pad_set(case: Case) -> Iterator[Finding]:
    """What a top_pad that the user set keeps at the tops of arenas."""
    for malloc in case.snapshot.mallocs:
        pad, given = malloc.parameters["top_pad"], case.environment
        tops = [(min(case.of(arena, State.TOP), pad), arena) for arena in malloc.arenas]
        tops = [(size, arena) for size, arena in tops if size > DEFAULT_TOP_PAD]
        size = sum(amount for amount, _ in tops)
        yield Finding(
            "top_pad_set",
            size,
            f"top_pad is {size_text(pad)}, {_by(source_of(malloc, 'top_pad', given))}: free() "
            "leaves up to that much at an arena's top.",
            each_arena(case, tops, lambda amount, arena: f"{size_text(amount)} at its top"),
            f"{undo(malloc, 'top_pad', given)}. The price is more system calls.",
            Worth(_free(case, malloc), likely=size),
            in_force=True,
            about=spread(Part.TOP, tops),
        )


def _free_from(case: Case, malloc: Malloc, smallest: int) -> int:
    """Return the bytes of free chunks from the next power of two on, in RAM at most."""
    return sum(size for size, _ in _large_free(case, malloc, smallest))


def _large_free(case: Case, malloc: Malloc, smallest: int) -> list[tuple[int, ArenaFigures]]:
    return [
        (min(_from(smallest, [arena.free_by_size]), case.of(arena, State.BINNED)), arena)
        for arena in malloc.arenas
    ]


def _free(case: Case, malloc: Malloc) -> int:
    """Return all that is free: what another setting saves is no more, but it may be more than what
    it keeps now, for the program then builds another heap.
    """
    return sum(case.of(arena, *HELD_FREE) for arena in malloc.arenas)


def _worth_of_large(
    case: Case, malloc: Malloc, smallest: int = DEFAULT_MMAP_THRESHOLD, tops: int = 0
) -> Worth:
    """Return what blocks from this size on would not keep with mappings of their own.

    At most it is all that is free: in the place of a large block that was freed small ones may lie
    by now, and what is free between them. Likely it is what was large before it merged, and `tops`.
    """
    stale = [arena.stale for arena in malloc.arenas if arena.stale is not None]
    known = len(stale) == len(malloc.arenas) and smallest >= DEFAULT_MMAP_THRESHOLD
    return Worth(_free(case, malloc), likely=_from(smallest, stale) + tops if known else None)


def _large_parts(case: Case, malloc: Malloc, smallest: int) -> About:
    """Return what these are about: whole pages, of which some may be locked."""
    large = _large_free(case, malloc, smallest)
    locked = [(min(n, a.trim.kept_locked.in_ram) if a.trim else 0, a) for n, a in large]
    below = [(size - part, arena) for (size, arena), (part, _) in zip(large, locked)]
    return {**spread(Part.BELOW, below), **spread(Part.LOCKED, locked)}


def _from(smallest: int, tables: Iterable[Mapping[int, int]]) -> int:
    return sum(n for table in tables for power, n in table.items() if power >= smallest)


def _large(case: Case, malloc: Malloc) -> tuple[str, ...]:
    """Say what there is of chunks that would have mappings of their own by default."""
    smallest = DEFAULT_MMAP_THRESHOLD
    used = _from(smallest, (arena.used_by_size for arena in malloc.arenas))
    merged = sum((arena.stale or {}).get(0, 0) for arena in malloc.arenas)
    return (
        f"free chunks of 128 KiB and more: {size_text(_free_from(case, malloc, smallest))}",
        *((f"headers left in them show smaller chunks: {size_text(merged)}",) if merged else ()),
        f"chunks in use of 128 KiB and more, in arenas: {size_text(used)}",
    )


def mmap_threshold_raised(case: Case) -> Iterator[Finding]:
    """What lies in arenas since a free raised mmap_threshold, and trim_threshold with it."""
    for malloc in case.snapshot.mallocs:
        if not _raised(case, malloc):
            continue
        threshold, smallest = malloc.parameters["mmap_threshold"], DEFAULT_MMAP_THRESHOLD
        start, kept = assign(malloc, "mmap_threshold", smallest, case.environment), []
        if malloc.parameters["trim_threshold"] > DEFAULT_TRIM_THRESHOLD:
            kept = [each for each in _kept_tops(case, malloc) if each[0] > DEFAULT_TRIM_THRESHOLD]
        trimmed = sum(amount - DEFAULT_TRIM_THRESHOLD for amount, _ in kept)
        yield Finding(
            "mmap_threshold_raised",
            _free_from(case, malloc, smallest) + sum(amount for amount, _ in kept),
            f"the free of a {size_text(threshold)} block raised mmap_threshold: blocks up to that "
            "size come from arenas since, which keep them. It raised trim_threshold to "
            f"{size_text(malloc.parameters['trim_threshold'])}: free() keeps tops below that.",
            (*_large(case, malloc), *each_arena(case, kept, _top)),
            f"{start}. Such blocks get a mapping of their own again, and free() unmaps them, for a "
            "system call each. It ends the raising of trim_threshold as well. "
            f"(MALLOC_TRIM_THRESHOLD_={DEFAULT_TRIM_THRESHOLD} does the same.) {AT_MOST}",
            _worth_of_large(case, malloc, tops=trimmed),
            about={**_large_parts(case, malloc, smallest), **spread(Part.TOP, kept)},
        )


def mmaps_exhausted(case: Case) -> Iterator[Finding]:
    """Blocks that came from arenas because no more mappings were allowed."""
    for malloc in case.snapshot.mallocs:
        limit, threshold = malloc.parameters["n_mmaps_max"], malloc.parameters["mmap_threshold"]
        if not limit or malloc.parameters["max_n_mmaps"] < limit:
            continue
        remedy = (
            "A higher MALLOC_MMAP_THRESHOLD_ when it starts. Fewer blocks are mapped then; how "
            "much it saves can't be computed."
        )
        if limit < DEFAULT_MMAPS_MAX:
            remedy = f"{undo(malloc, 'n_mmaps_max', case.environment)}. {AT_MOST}"
        yield Finding(
            "mmaps_exhausted",
            _free_from(case, malloc, threshold),
            f"{limit:,} blocks had mappings of their own at once, which is the limit. Any "
            "further one comes from an arena, which keeps it.",
            (f"mmap_threshold: {size_text(threshold)}",),
            remedy,
            _worth_of_large(case, malloc, threshold) if limit < DEFAULT_MMAPS_MAX else None,
            in_force=limit < DEFAULT_MMAPS_MAX,
            about=_large_parts(case, malloc, threshold),
        )
