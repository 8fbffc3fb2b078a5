"""Why memory stays: settings in force that cost memory by themselves, whatever is freed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from ..glibc.releases import DEFAULT_MMAP_THRESHOLD
from ..heap.states import State
from ..report.model import Finding, Worth, counted, size_text
from ..snapshots.regions import Owner
from .order import Part, spread
from .sources import (
    BY_FREE,
    DEBUGGING,
    DEFAULT,
    Environment,
    Setting,
    set_by,
    settings_of,
    source_of,
    undo,
)
from .sums import SHOWN, Case, anywhere

if TYPE_CHECKING:
    from ..snapshots.malloc import Malloc

CROWDED = 0.8  # of the mappings that are allowed at a time
TUNABLE = "glibc.malloc.hugetlb"
PERTURB = ("MALLOC_PERTURB_", "glibc.malloc.perturb")


def mmap_threshold_low(case: Case) -> Iterator[Finding]:
    """Small blocks with mappings of their own: each takes whole pages (malloc.c, sysmalloc)."""
    for malloc in case.snapshot.mallocs:
        threshold = malloc.parameters["mmap_threshold"]
        origin = source_of(malloc, "mmap_threshold", case.environment)
        if threshold >= DEFAULT_MMAP_THRESHOLD or origin in (DEFAULT, BY_FREE):
            continue
        by = set_by(malloc, "mmap_threshold", case.environment)
        page, word = case.snapshot.target.page, malloc.layout.word
        every = Counter(malloc.mmapped.mappings)
        sizes = {s: number for s, number in every.items() if s - page < DEFAULT_MMAP_THRESHOLD}
        total = sum(size * number for size, number in sizes.items())
        # Its chunk would be no smaller than the threshold, and reaches into the last page.
        waste = {size: min(page + word, max(size - threshold, 0)) for size in sizes}
        yield Finding(
            "mmap_threshold_low",
            min(total, case.amount(Owner.MMAPPED)),
            f"mmap_threshold is {size_text(threshold)}, {by}: "
            f"{counted(sum(sizes.values()), 'small block')} have mappings of their own, in whole "
            "pages.",
            _mappings(malloc),
            f"{undo(malloc, 'mmap_threshold', case.environment)}. Such blocks then share pages. "
            "The price is that free() doesn't unmap them: what lies below a chunk in use stays.",
            Worth(sum(waste[size] * number for size, number in sizes.items())),
            in_force=True,
            about={(Part.ROUNDING, 0): total},
        )


def _mappings(malloc: Malloc) -> tuple[str, ...]:
    number, most = malloc.parameters["n_mmaps"], malloc.parameters["n_mmaps_max"]
    warned = number >= CROWDED * most
    used = f"{number:,} of {most:,} mappings that M_MMAP_MAX allows are used"
    return (f"{used}{'; the blocks beyond them come from arenas' if warned else ''}",)


def hugetlb(case: Case) -> Iterator[Finding]:
    """Huge pages that glibc asks the kernel for."""
    if not any(asks_for_huge(malloc, case.environment) for malloc in case.snapshot.mallocs):
        return
    huge = in_huge_pages(case)
    yield Finding(
        "hugetlb",
        sum(huge.values()),
        f"{TUNABLE} puts malloc's memory into huge pages: one byte touched makes a whole one "
        "resident.",
        each_mapping(huge),
        f"Remove {TUNABLE} from GLIBC_TUNABLES. What nobody has touched goes, at most all of it. "
        "The price is TLB misses.",
        Worth(sum(huge.values())),
        in_force=True,
        about=anywhere(case, sum(huge.values())),
    )


def asks_for_huge(malloc: Malloc, environment: Environment | None) -> bool:
    """Tell whether the user had malloc ask for huge pages: newer releases do by themselves."""
    members = [name for name in ("thp_pagesize", "hp_pagesize") if malloc.parameters.get(name)]
    return any(source_of(malloc, n, environment) == TUNABLE for n in members) or (
        bool(members) and environment is None
    )


def in_huge_pages(case: Case) -> dict[int, int]:
    """Return what each of malloc's mappings has in transparent huge pages, the most first."""
    regions = case.snapshot.regions.owned_by(Owner.HEAP, Owner.MMAPPED)
    mappings = {region.mapping for region in regions}
    huge = {m.start: m.usage.huge for m in mappings if m.usage is not None and m.usage.huge}
    return dict(sorted(huge.items(), key=lambda pair: (-pair[1], pair[0])))


def each_mapping(sizes: Mapping[int, int]) -> tuple[str, ...]:
    some = islice(sizes.items(), SHOWN)
    return tuple(f"mapping {start:#x}: {size_text(size)}" for start, size in some)


def tcache_count_set(case: Case) -> Iterator[Finding]:
    """More chunks in tcaches than there are by default."""
    for malloc in case.snapshot.mallocs:
        name = "tcache_count"
        if name not in malloc.defaults or malloc.parameters[name] <= malloc.defaults[name]:
            continue
        most, default = malloc.parameters[name], malloc.defaults[name]
        by = set_by(malloc, name, case.environment)
        bins = [b for each in malloc.caches for b in each.tcache.bins if b.chunks > default]
        more = sum(b.amount.in_ram * (b.chunks - default) // b.chunks for b in bins)
        yield Finding(
            "tcache_count_set",
            more,
            f"tcache_count is {most:,}, {by}: each thread keeps so many freed chunks of every "
            f"size, where {default} is the default.",
            tuple(
                f"thread {each.tcache.lwp}: {size_text(each.tcache.amount.in_ram)} in "
                f"{counted(each.tcache.chunks, 'chunk')}"
                for each in malloc.caches
                if each.tcache.chunks
            )[:SHOWN],
            f"{undo(malloc, name, case.environment)}. The price is that threads wait for each "
            "other's arenas more often. Others can then use what is free; how much of it, and "
            "of what it pins, free() returns can't be computed.",
            in_force=True,
            about=spread(
                Part.TCACHE, ((min(case.of(a, State.TCACHE), more), a) for a in malloc.arenas)
            ),
        )


def checked(case: Case) -> Iterator[Finding]:
    """MALLOC_CHECK_, where it is in force: in libc itself to 2.33 (malloc/hooks.c), then in
    libc_malloc_debug.so.
    """
    setting = _given(case, DEBUGGING)
    mallocs = [m for m in case.snapshot.mallocs if m.debugging or m.layout.release < (2, 34)]
    if setting is None or not mallocs:
        return
    arenas = [arena for malloc in mallocs for arena in malloc.arenas]
    chunks = sum(arena.chunks.get(State.IN_USE, 0) for arena in arenas)
    longer = chunks * mallocs[0].layout.alignment
    yield Finding(
        "malloc_check",
        longer,
        f"{setting.name} is set: every block is a byte longer, and all threads share one arena.",
        (f"chunks in use: {chunks:,}",),
        f"{_taken_back(setting)}. It is for debugging.",
        Worth(longer),
        in_force=True,
        about={(Part.LIVE, 0): longer},
    )


def perturbed(case: Case) -> Iterator[Finding]:
    """MALLOC_PERTURB_: malloc and free write over each block (malloc.c, alloc_perturb)."""
    setting, page = _given(case, PERTURB), case.snapshot.target.page
    if setting is None:
        return
    used = (
        size
        for arena in case.snapshot.arenas()
        for power, size in arena.used_by_size.items()
        if power >= page
    )
    touched = min(sum(used) + case.amount(Owner.MMAPPED), case.live)
    yield Finding(
        "malloc_perturb",
        touched,
        f"{setting.name} is set: malloc and free write over each block, so that memory which the "
        "program never touched is resident.",
        (f"{setting.name}={setting.text}",),
        f"{_taken_back(setting)}. It is for debugging. What that saves can't be computed.",
        in_force=True,
        about={(Part.LIVE, 0): touched},
    )


def _given(case: Case, names: tuple[str, ...]) -> Setting | None:
    """Return a setting of the environment with one of these names that isn't 0, None without."""
    given = settings_of(case.environment or {})
    return next((each for each in given if each.name in names and each.number), None)


def _taken_back(setting: Setting) -> str:
    where = "GLIBC_TUNABLES" if setting.tunable else "its environment"
    return f"Remove {setting.name} from {where}"
