"""Why memory stays: what the kernel was told of its pages, and swap."""

from __future__ import annotations

from collections.abc import Iterator

from ..heap.states import State
from ..report.model import Finding, Worth, size_text
from ..snapshots.ledger import MALLOC
from ..snapshots.regions import Owner
from .order import SMALLEST
from .sums import SHOWN, Case, each_arena


def huge_pages(case: Case) -> Iterator[Finding]:
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


def locked(case: Case) -> Iterator[Finding]:
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
        Worth(sum(amount for amount, _ in kept), exact=True),
    )


def swapped(case: Case) -> Iterator[Finding]:
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
