"""Why memory stays: each cause is a function from a case to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ..glibc.systrim import at_break
from ..heap.states import State
from ..locate.allocators import what_to_ask
from ..report.model import Finding, counted, size_text
from ..snapshots.ledger import MALLOC
from ..snapshots.regions import Owner
from ..snapshots.take import Snapshot
from . import arenas, groups, limits, pins
from .sums import INSIDE, SHOWN, Case, each_arena

SMALLEST = 64 << 10  # bytes; what is less isn't worth a sentence

# A cause; its bytes may be those of other causes, too.
Cause = Callable[[Case], Iterator[Finding]]


def find_causes(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return what keeps memory in the process, the most bytes first.

    What must be known before everything else comes before: another allocator, and live memory
    where the program holds more than malloc retains. Of findings about nearly as many bytes, the
    one that explains the others comes first: they are ordered as in CAUSES.
    """
    case = Case(snapshot)
    first = [*_other_allocator(case), *_live(case)]
    rest = [finding for cause in CAUSES for finding in cause(case)]
    worth = [(finding.bytes or 0, finding) for finding in rest]
    worth = [pair for pair in worth if pair[0] >= SMALLEST]
    while worth:
        most = max(size for size, _ in worth)
        following = next(pair for pair in worth if 5 * pair[0] >= 4 * most)
        worth.remove(following)
        first.append(following[1])
    return tuple(first) if case.resident_known else tuple(map(_of_address_space, first))


def _of_address_space(finding: Finding) -> Finding:
    """Return the finding where what is in RAM is unknown: its size is not of RAM."""
    size = size_text(finding.bytes or 0)
    return replace(finding, bytes=None, statement=f"{size} of address space: {finding.statement}")


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
        "No malloc setting helps. Find who allocates: heaptrack, or valgrind --tool=massif.",
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
    yield Finding(
        "returnable",
        case.returnable or 0,
        "malloc_trim(0) would give this back now. glibc never does so by itself below the top "
        "of an arena.",
        each_arena(trims, lambda amount, arena: f"{size_text(amount)} of RAM"),
        "heapx trim --now, or malloc_trim(0) in the program at a quiet moment. It locks each "
        "arena in turn, and memory that is used again is faulted in again.",
    )


def _fragmented(case: Case) -> Iterator[Finding]:
    trims = [arena.trim for arena in case.snapshot.arenas() if arena.trim is not None]
    partial = sum(trim.kept_partial_page.in_ram for trim in trims)
    small = sum(trim.kept_small_bins.in_ram for trim in trims)
    group = groups.of_pages(case)
    yield Finding(
        "fragmented",
        partial + small,
        f"free bytes share their pages with live chunks: {group or 'no call can return them'}."
        + (" No call can return them." if group else ""),
        (
            f"in chunks too small for a page: {size_text(small)}",
            f"at the edges of larger free chunks: {size_text(partial)}",
        ),
        "Keep small long-lived objects apart from short-lived ones. A pool, or another arena; what "
        "that saves can't be computed. heapx pins tells which they are.",
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
    if 10 * small >= case.whole:
        yield Finding(
            "too_small",
            small,
            f"free chunks below {size_text(typical)} can't serve what it mostly allocates.",
            (f"half of the bytes in use are in chunks of {size_text(typical)} and more",),
            "A pool for the small objects. What that saves can't be computed.",
        )


def _together(tables: Iterable[Mapping[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for table in tables:
        for key, value in table.items():
            sums[key] = sums.get(key, 0) + value
    return sums


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
            "Find who calls sbrk or brk (break sbrk in gdb) and let it use mmap.",
        )


def _huge_pages(case: Case) -> Iterator[Finding]:
    owners = (Owner.HEAP, Owner.MMAPPED)
    mappings = {r.mapping for r in case.snapshot.regions if r.span.owner in owners}
    huge = [(m.usage.huge, m) for m in mappings if m.usage is not None and m.usage.huge]
    huge.sort(key=lambda pair: (-pair[0], pair[1].start))
    yield Finding(
        "huge_pages",
        sum(size for size, _ in huge),
        "malloc's memory in transparent huge pages: one byte in use keeps a whole one resident.",
        tuple(f"mapping {m.start:#x}: {size_text(size)}" for size, m in huge[:SHOWN]),
        "prctl(PR_SET_THP_DISABLE) when it starts. If glibc.malloc.hugetlb is set in "
        "GLIBC_TUNABLES, remove it. The price is TLB misses; what it saves can't be computed.",
    )


def _locked(case: Case) -> Iterator[Finding]:
    kept = [
        (arena.trim.kept_locked.resident or 0, arena)
        for arena in case.snapshot.arenas()
        if arena.trim is not None
    ]
    yield Finding(
        "locked",
        sum(amount for amount, _ in kept),
        "free pages locked in memory (mlock, mlockall): malloc_trim can't return them. It says "
        "that it did.",
        each_arena(kept, lambda amount, arena: size_text(amount)),
        "munlockall() before malloc_trim(0), or don't lock the heap.",
    )


def _swapped(case: Case) -> Iterator[Finding]:
    free = case.swapped(State.FAST, State.BINNED, State.TOP)
    yield Finding(
        "swapped",
        case.swapped(*MALLOC, Owner.UNKNOWN),
        "malloc has this in swap: it isn't in RSS.",
        (
            f"in use: {size_text(case.swapped(State.IN_USE, Owner.MMAPPED))}",
            f"free: {size_text(free)}",
        ),
        _swap_remedy(free),
    )


def _swap_remedy(free: int) -> str:
    if free < SMALLEST:
        return "Nothing to be done: it comes back when it is used."
    return f"malloc_trim(0) frees {size_text(free)} of it at most. The rest comes back when used."


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
    *(pins.cached_pins, _returnable, pins.pinned, limits.trim_threshold, limits.limits_set),
    *(limits.mmap_threshold_raised, limits.mmaps_exhausted),
    *(arenas.many_arenas, arenas.idle_arenas, arenas.other_tops),
    *(_fragmented, _too_small, pins.tcaches, pins.fast, _foreign_brk),
    *(_huge_pages, _locked, _swapped, _mmapped, _outside),
)
