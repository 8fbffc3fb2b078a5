"""Why memory stays: each cause is a function from a case to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..heap.states import State
from ..report.model import Finding, counted, size_text
from ..snapshots.regions import Owner
from . import arenas, breaks, forked, groups, grows, limits, paging, pins, settings
from .order import SMALLEST, Part, first_screen, in_order, spread
from .outside import other_allocator, outside
from .sums import SHOWN, Case, at_ends, each_arena, free_chunks, joined

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..reach.brief import Brief
    from ..snapshots.take import Snapshot

# A cause; its bytes may be those of other causes, too.
Cause = Callable[[Case], Iterator[Finding]]


def find_causes(
    snapshot: Snapshot, brief: Brief | None = None, ceilings: tuple[Ceiling, ...] = ()
) -> tuple[Finding, ...]:
    """Return what keeps memory in the process, as order.in_order orders it.

    What must be known before everything else: another allocator, live memory where the program
    holds more than malloc retains, who has what isn't malloc's where that is more than both, and
    tcaches where they alone pin nearly all.
    """
    case = Case(snapshot.as_read, brief, ceilings)
    return _told(case, _in_order(case))


def find_leading(case: Case) -> tuple[Finding, ...]:
    """Return what of that matters most: order.first_screen.

    It is less where more must be told beside: what is shared, or that there are several libcs.
    """
    case = case.as_read
    most = 2 if case.sharing or len(case.snapshot.mallocs) > 1 else 3
    return _told(case, first_screen(_in_order(case), case.whole, most))


def _in_order(case: Case) -> tuple[Finding, ...]:
    needed = [*other_allocator(case), *_live(case)]
    causes = CAUSES if case.snapshot.mallocs else ()
    found = [finding for cause in causes for finding in cause(case)]
    found = [each for each in found if (each.bytes or 0) >= SMALLEST]
    if case.outside >= max(case.live, case.retained, case.foreign):
        needed += [each for each in found if each.code == "outside"]
    most = max((each.bytes or 0 for each in found), default=0)
    alone = [e for e in found if e.code == "cached_pins" and 5 * (e.bytes or 0) >= 4 * most]
    if any(each.code == "tcache_count_set" for each in found):
        alone = []  # the setting that makes it so goes before
    others = [each for each in found if each not in (*needed, *alone)]
    return in_order(needed, others, case.whole, alone)


def _told(case: Case, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return found if case.resident_known else tuple(map(_of_address_space, found))


def _of_address_space(finding: Finding) -> Finding:
    """Return the finding where what is in RAM is unknown: its size is not of RAM."""
    statement = f"{size_text(finding.bytes or 0)} of address space: {finding.statement}"
    return replace(finding, bytes=None, worth=None, statement=statement, told_before=0)


def _live(case: Case) -> Iterator[Finding]:
    if case.live <= case.retained or case.live < max(case.outside, case.foreign, SMALLEST):
        return
    yield Finding(
        "live",
        case.live,
        f"the program holds this: {_live_is(case)}. malloc retains {size_text(case.retained)} "
        "beside it.",
        (*_live_arenas(case), *_live_mmapped(case)),
        "heapx holders tells whose it is; also: heapx types, heapx leaks. Who allocates it: "
        "heaptrack, or valgrind --tool=massif.",
        about={(Part.LIVE, 0): case.live},
    )


def _live_is(case: Case) -> str:
    """Say what is live, who holds it, and whether all of it is referred to, as far as is known."""
    brief = case.brief
    if brief is None:
        return "it is live, or leaked"
    told = []
    if brief.holder:
        name, size = brief.holder
        told.append(f"{name} holds {size_text(size)} of it{' alone' if brief.alone else ''}")
    if brief.types:
        told.append(f"the largest types: {_with_sizes(brief.types)}")
    if brief.unreferenced:
        lost = "is leaked" if brief.certain else "may be leaked"
        told.append(f"{size_text(brief.unreferenced)} {lost}")
    return "; ".join(told)


def _with_sizes(named: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({size_text(size)})" for name, size in named)


def _live_arenas(case: Case) -> Iterator[str]:
    held = [(a.in_use, a) for a in case.snapshot.arenas() if a.in_use is not None]
    for in_use, arena in sorted(held, key=lambda pair: -pair[0])[:SHOWN]:
        if 100 * in_use < case.live:
            return
        number = arena.chunks.get(State.IN_USE)
        chunks = "" if number is None else f" in {counted(number, 'chunk')}"
        low = max(arena.used_by_size, key=lambda size: arena.used_by_size[size], default=None)
        most = f", most in chunks of {size_text(low)} to {size_text(2 * low)}" if low else ""
        yield f"{case.named(arena)}: {size_text(in_use)} in use{chunks}{most}"


def _live_mmapped(case: Case) -> Iterator[str]:
    size = case.amount(Owner.MMAPPED)
    number = sum(malloc.parameters["n_mmaps"] for malloc in case.snapshot.mallocs)
    if 100 * size >= case.live:
        yield f"{counted(number, 'mmapped chunk')}: {size_text(size)} (heapx mmapped lists them)"


def _returnable(case: Case) -> Iterator[Finding]:
    trims = [(a.trim.returned or 0, a) for a in case.snapshot.arenas() if a.trim is not None]
    below = [(min(case.reachable(arena), amount), arena) for amount, arena in trims]
    ends = at_ends(case, ((a - part, arena) for (a, arena), (part, _) in zip(trims, below)))
    yield Finding(
        "returnable",
        case.returnable or 0,
        f"{forked.would_return(case)} glibc never does so by itself below the top of an arena.",
        each_arena(
            case,
            trims,
            lambda amount, arena: f"{size_text(amount)} of RAM{forked.of_it(case, arena)}",
        ),
        forked.how_to_trim(case),
        forked.worth(case),
        about=joined(spread(Part.BELOW, below), ends),
    )


def _fragmented(case: Case) -> Iterator[Finding]:
    trims = [(arena.trim, arena) for arena in case.snapshot.arenas() if arena.trim is not None]
    partial = sum(trim.kept_partial_page.in_ram for trim, _ in trims)
    small = sum(trim.kept_small_bins.in_ram for trim, _ in trims)
    group = groups.in_pages_of(case, partial + small).told
    both = ((t.kept_partial_page.in_ram + t.kept_small_bins.in_ram, arena) for t, arena in trims)
    yield Finding(
        "fragmented",
        partial + small,
        f"free bytes share their pages with live chunks: {group or 'no call can return them'}."
        + (" No call can return them." if group else ""),
        tuple(
            f"{where}: {size_text(size)}"
            for size, where in (
                (small, "in chunks too small for a page"),
                (partial, "at the edges of larger free chunks"),
            )
            if size
        ),
        "Keep small long-lived objects apart from short-lived ones. A pool, or another arena; what "
        "that saves can't be computed. heapx pins tells which they are.",
        about=spread(Part.EDGES, both),
    )


def _too_small(case: Case) -> Iterator[Finding]:
    """Free memory in pieces that few of the requests in this process fit into."""
    used = _together(arena.used_by_size for arena in case.snapshot.arenas())
    half, sofar, typical = sum(used.values()) // 2, 0, 0
    for power in sorted(used):
        sofar, typical = sofar + used[power], power
        if sofar > half:
            break
    free = _together(arena.free_by_size for arena in case.snapshot.arenas())
    small = sum(size for power, size in free.items() if power < typical)
    each = (
        (sum(n for power, n in arena.free_by_size.items() if power < typical), arena)
        for arena in case.snapshot.arenas()
    )
    if 10 * small >= case.whole:
        yield Finding(
            "too_small",
            small,
            f"free chunks below {size_text(typical)} can't serve what it mostly allocates.",
            (f"half of the bytes in use are in chunks of {size_text(typical)} and more",),
            "A pool for the small objects. What that saves can't be computed.",
            about=free_chunks(each),
        )


def _together(tables: Iterable[Mapping[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for table in tables:
        for key, value in table.items():
            sums[key] = sums.get(key, 0) + value
    return sums


def _mmapped(case: Case) -> Iterator[Finding]:
    chunks = sum(malloc.parameters["n_mmaps"] for malloc in case.snapshot.mallocs)
    size = case.amount(Owner.MMAPPED)
    whose = "with a mapping of its own" if chunks == 1 else "with mappings of their own"
    if case.live > case.retained and 2 * size >= case.live:
        yield Finding(
            "mmapped",
            size,
            f"{counted(chunks, 'block')} {whose}, which free() unmaps.",
            (f"mmap_threshold: {_thresholds(case)}",),
            "Look at the program: heapx mmapped lists them.",
            about={(Part.LIVE, 0): size},
        )


def _thresholds(case: Case) -> str:
    found = {malloc.parameters["mmap_threshold"] for malloc in case.snapshot.mallocs}
    return ", ".join(map(size_text, sorted(found)))


CAUSES: tuple[Cause, ...] = (
    *(settings.mmap_threshold_low, settings.hugetlb, settings.tcache_count_set),
    *(settings.checked, settings.perturbed),
    *(pins.cached_pins, _returnable, pins.pinned, limits.trim_threshold),
    *(limits.mmap_threshold_set, limits.mmap_disabled, limits.top_pad_set),
    *(limits.mmap_threshold_raised, limits.mmaps_exhausted),
    *(forked.parents_arenas, arenas.idle_arenas, arenas.many_arenas, arenas.other_tops),
    *(_fragmented, grows.no_fit, _too_small, pins.tcaches, pins.fast),
    *(breaks.sbrk_pins, breaks.foreign_sbrk, breaks.unexplained_heap, breaks.foreign_brk),
    *(paging.huge_pages, paging.locked_all, paging.locked, paging.swapped, _mmapped),
    *(forked.parents_stacks, outside),
)
