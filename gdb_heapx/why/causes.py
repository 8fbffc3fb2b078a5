"""Why memory stays: each cause is a function from a case to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ..glibc.systrim import at_break
from ..heap.states import State
from ..locate.allocators import what_to_ask
from ..report.model import Finding, Worth, counted, size_text
from ..snapshots.figures import ArenaFigures
from ..snapshots.regions import Owner
from ..snapshots.take import Snapshot
from . import arenas, limits, paging, settings
from .order import SMALLEST, Part, first_screen, in_order, spread
from .sums import INSIDE, SHOWN, Case, each_arena

# A cause; its bytes may be those of other causes, too.
Cause = Callable[[Case], Iterator[Finding]]


def find_causes(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return what keeps memory in the process, as order.in_order orders it.

    What must be known before everything else: another allocator, and live memory where the program
    holds more than malloc retains.
    """
    case = Case(snapshot)
    found = _in_order(case)
    return found if case.resident_known else tuple(map(_of_address_space, found))


def find_leading(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return what of that matters most: order.first_screen."""
    case = Case(snapshot)
    found = first_screen(_in_order(case), case.whole)
    return found if case.resident_known else tuple(map(_of_address_space, found))


def _in_order(case: Case) -> tuple[Finding, ...]:
    needed = [*_other_allocator(case), *_live(case)]
    others = (finding for cause in CAUSES for finding in cause(case))
    others = (each for each in others if (each.bytes or 0) >= SMALLEST)
    return in_order(needed, others, case.whole)


def _of_address_space(finding: Finding) -> Finding:
    """Return the finding where what is in RAM is unknown: its size is not of RAM."""
    statement = f"{size_text(finding.bytes or 0)} of address space: {finding.statement}"
    return replace(finding, bytes=None, worth=None, statement=statement)


def _other_allocator(case: Case) -> Iterator[Finding]:
    for name in case.snapshot.allocators:
        yield Finding(
            "other_allocator",
            case.amount(Owner.ANONYMOUS),
            f"{name} serves malloc: its memory is in here. What heapx says of glibc malloc says "
            "nothing about it.",
            _largest(case),
            what_to_ask(name),
        )


def _live(case: Case) -> Iterator[Finding]:
    if case.live <= case.retained or case.live < case.outside or case.live < SMALLEST:
        return
    yield Finding(
        "live",
        case.live,
        "the program holds this: it is live, or leaked. malloc retains "
        f"{size_text(case.retained)} beside it.",
        (*_live_arenas(case), *_live_mmapped(case)),
        "Find who allocates: heaptrack, or valgrind --tool=massif.",
        about={(Part.LIVE, 0): case.live},
    )


def _live_arenas(case: Case) -> Iterator[str]:
    held = [(a.in_use, a) for a in case.snapshot.arenas() if a.in_use is not None]
    for in_use, arena in sorted(held, key=lambda pair: -pair[0])[:SHOWN]:
        if 100 * in_use < case.live:
            return
        number = arena.chunks.get(State.IN_USE)
        chunks = "" if number is None else f" in {counted(number, 'chunk')}"
        low = max(arena.used_by_size, key=lambda size: arena.used_by_size[size], default=None)
        most = f", most in chunks of {size_text(low)} to {size_text(2 * low)}" if low else ""
        yield f"arena {arena.index}: {size_text(in_use)} in use{chunks}{most}"


def _live_mmapped(case: Case) -> Iterator[str]:
    size = case.amount(Owner.MMAPPED)
    number = sum(malloc.parameters["n_mmaps"] for malloc in case.snapshot.mallocs)
    if 100 * size >= case.live:
        yield f"{counted(number, 'mmapped chunk')}: {size_text(size)} (heapx mmapped lists them)"


def _returnable(case: Case) -> Iterator[Finding]:
    trims = [(a.trim.returned or 0, a) for a in case.snapshot.arenas() if a.trim is not None]
    below = [(min(case.reachable(arena), amount), arena) for amount, arena in trims]
    tops = [(amount - part, arena) for (amount, arena), (part, _) in zip(trims, below)]
    yield Finding(
        "returnable",
        case.returnable or 0,
        "malloc_trim(0) would give this back now. glibc never does so by itself below the top "
        "of an arena.",
        each_arena(trims, lambda amount, arena: f"{size_text(amount)} of RAM"),
        "heapx trim --now, or malloc_trim(0) in the program at a quiet moment. It locks each "
        "arena in turn, and memory that is used again is faulted in again.",
        Worth(case.returnable or 0, exact=True),
        about={**spread(Part.BELOW, below), **spread(Part.TOP, tops)},
    )


def _pinned(case: Case) -> Iterator[Finding]:
    pinned = [(case.reachable(arena), arena) for arena in case.snapshot.arenas()]
    yield Finding(
        "pinned",
        sum(amount for amount, _ in pinned),
        f"chunks in use lie above free memory, and pin it{_at_most(case)}. free() returns only the "
        "end of top, so one live chunk keeps all that is beneath it.",
        each_arena(
            pinned, lambda amount, arena: f"{_pin(arena)} below top pins {size_text(amount)}"
        ),
        "Free the long-lived chunks, or allocate them before the load. How much that helps can't "
        "be computed. malloc_trim(0) reaches the whole pages below them. heapx chunk ADDRESS shows "
        "what such a chunk holds.",
        about=spread(Part.BELOW, pinned),
    )


def _at_most(case: Case) -> str:
    """Say where it isn't known which of it are whole pages."""
    return "" if case.snapshot.walked else "; at most this, without a walk"


def _pin(arena: ArenaFigures) -> str:
    """Name the chunk that pins what is below top: one in use, or else a cached one."""
    if arena.last_in_use is not None:
        return f"chunk {arena.last_in_use:#x}"
    return "a chunk" if State.IN_USE not in arena.chunks else "a chunk in a tcache or fastbin"


def _fragmented(case: Case) -> Iterator[Finding]:
    trims = [(arena.trim, arena) for arena in case.snapshot.arenas() if arena.trim is not None]
    partial = sum(trim.kept_partial_page.in_ram for trim, _ in trims)
    small = sum(trim.kept_small_bins.in_ram for trim, _ in trims)
    both = ((t.kept_partial_page.in_ram + t.kept_small_bins.in_ram, arena) for t, arena in trims)
    yield Finding(
        "fragmented",
        partial + small,
        "free bytes share their pages with live chunks: no call can return them.",
        (
            f"in chunks too small for a page: {size_text(small)}",
            f"at the edges of larger free chunks: {size_text(partial)}",
        ),
        "Keep small long-lived objects apart from short-lived ones. A pool, or another arena; "
        "what that saves can't be computed.",
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
            about=spread(Part.EDGES, each),
        )


def _together(tables: Iterable[Mapping[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for table in tables:
        for key, value in table.items():
            sums[key] = sums.get(key, 0) + value
    return sums


def _tcaches(case: Case) -> Iterator[Finding]:
    threads = [cache for malloc in case.snapshot.mallocs for cache in malloc.caches]
    caches = [(each.tcache.amount.bytes, each) for each in threads]
    caches.sort(key=lambda pair: -pair[0])
    amounts = [(case.of(arena, State.TCACHE), arena) for arena in case.snapshot.arenas()]
    yield Finding(
        "tcaches",
        case.amount(State.TCACHE),
        f"freed chunks in the tcaches of {counted(len(caches), 'thread')}, for nobody else.",
        tuple(
            f"thread {each.tcache.lwp}{f' ({each.name})' if each.name else ''}: "
            f"{size_text(size)} in {counted(each.tcache.chunks, 'chunk')}"
            for size, each in caches[:SHOWN]
            if size
        ),
        "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 when it starts. The price is a lock for every "
        "malloc and free. How much goes then can't be computed: they may pin other free memory.",
        about=spread(Part.TCACHE, amounts),
    )


def _fast(case: Case) -> Iterator[Finding]:
    chunks = [(case.of(arena, State.FAST), arena) for arena in case.snapshot.arenas()]
    number = sum(arena.chunks[State.FAST] for arena in case.snapshot.arenas())
    yield Finding(
        "fast",
        case.amount(State.FAST),
        f"{counted(number, 'chunk')} in fastbins: freed, but not merged with what is around them.",
        each_arena(
            chunks,
            lambda amount, arena: f"{size_text(amount)} in {arena.chunks[State.FAST]:,}",
        ),
        "malloc_trim(0) merges them. So does any free that makes 64 KiB. mallopt(M_MXFAST, 0) "
        "turns fastbins off.",
        about=spread(Part.EDGES, chunks),
    )


def _foreign_brk(case: Case) -> Iterator[Finding]:
    for malloc in case.snapshot.mallocs:
        main = malloc.arenas[0]
        brk, reached = malloc.program_break, at_break(main.top_end, malloc.program_break, True)
        if reached or not main.contiguous or not main.top:
            continue
        yield Finding(
            "foreign_brk",
            case.of(main, State.TOP),
            "somebody else moved the program break: the main arena's top can't shrink any more.",
            (f"top ends at {main.top_end:#x}, the break is {brk:#x}",),
            "Find who calls sbrk or brk (break sbrk in gdb) and let it use mmap. More than this of "
            "top can't go.",
            Worth(case.of(main, State.TOP)),
            about=spread(Part.TOP, [(case.of(main, State.TOP), main)]),
        )


def _mmapped(case: Case) -> Iterator[Finding]:
    chunks = sum(malloc.parameters["n_mmaps"] for malloc in case.snapshot.mallocs)
    size = case.amount(Owner.MMAPPED)
    if case.live > case.retained and 2 * size >= case.live:
        yield Finding(
            "mmapped",
            size,
            f"{counted(chunks, 'block')} with mappings of their own, which free() unmaps.",
            (f"mmap_threshold: {_thresholds(case)}",),
            "Look at the program: heapx mmapped lists them.",
            about={(Part.LIVE, 0): size},
        )


def _thresholds(case: Case) -> str:
    found = {malloc.parameters["mmap_threshold"] for malloc in case.snapshot.mallocs}
    return ", ".join(map(size_text, sorted(found)))


def _outside(case: Case) -> Iterator[Finding]:
    if case.snapshot.allocators:
        return  # its memory is the first finding
    yield Finding(
        "outside",
        case.outside,
        "this isn't malloc's: code, stacks, files, and what was mapped by other means.",
        _largest(case),
        "heapx ledger shows the owners. What a runtime or a library maps, it has to give back "
        "itself.",
    )


def _largest(case: Case) -> tuple[str, ...]:
    """Return the largest mappings outside malloc, as sentences."""
    outside = [r for r in case.snapshot.regions if r.span.owner not in INSIDE and r.amount.in_ram]
    outside.sort(key=lambda region: -region.amount.in_ram)
    return tuple(
        f"{r.mapping.name or 'anonymous memory'} at {r.span.start:#x}: "
        f"{size_text(r.amount.in_ram)} ({r.span.owner.value})"
        for r in outside[:SHOWN]
    )


CAUSES: tuple[Cause, ...] = (
    *(settings.mmap_threshold_low, settings.hugetlb, settings.tcache_count_set),
    *(settings.checked, settings.perturbed),
    *(_returnable, _pinned, limits.trim_threshold, limits.limits_set),
    *(limits.mmap_threshold_raised, limits.mmaps_exhausted),
    *(arenas.many_arenas, arenas.idle_arenas, arenas.other_tops),
    *(_fragmented, _too_small, _tcaches, _fast, _foreign_brk),
    *(paging.huge_pages, paging.locked_all, paging.locked, paging.swapped, _mmapped, _outside),
)
