"""Memory where the program break has grown, of which malloc knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..glibc.systrim import at_break
from ..heap.states import State
from ..report.model import Finding, Worth, size_text
from ..snapshots.regions import Owner
from .order import Part, spread
from .sums import SHOWN, Case, each_arena

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures

FIND = "Find who calls sbrk or brk (break sbrk in gdb)"


def foreign_sbrk(case: Case) -> Iterator[Finding]:
    if case.snapshot.allocators:
        return  # it most likely is theirs, and counts in their finding
    beside = "glibc malloc itself took nothing by it"
    if any(arena.main and arena.contiguous and arena.top for arena in case.snapshot.arenas()):
        beside = "glibc malloc's own heap lies beside it"
    yield Finding(
        "foreign_sbrk",
        case.foreign,
        f"others than glibc malloc took this with sbrk. {beside}. Who did is "
        "an allocator that heapx doesn't know, or the program itself.",
        (*_gaps(case), *places(case, Owner.SBRK), *_callers(case)),
        f"{FIND}. That memory is theirs to give back.",
    )


def sbrk_pins(case: Case) -> Iterator[Finding]:
    """Free memory that others' sbrk keeps from top: all that lies above theirs is free."""
    found = [(case.reachable(a), a) for a in case.snapshot.arenas() if below_a_gap(a)]
    yield Finding(
        "sbrk_pins",
        sum(amount for amount, _ in found),
        "memory that others than glibc malloc took with sbrk lies above this, and pins it. All "
        "chunks above theirs are free, but free() returns only what is above.",
        each_arena(case, found, lambda amount, arena: f"{size_text(amount)} below it"),
        f"{FIND}, and let it use mmap. malloc_trim(0) reaches the whole pages below it.",
        about=spread(Part.BELOW, found),
    )


def below_a_gap(arena: ArenaFigures) -> bool:
    """Tell whether nothing but a gap of others' sbrk lies between top and what is below."""
    it = arena.whatif
    return arena.main and bool(arena.foreign.bytes) and it is not None and it.last is None


def _gaps(case: Case) -> Iterator[str]:
    for arena in case.snapshot.arenas():
        if arena.foreign.bytes:
            size = size_text(arena.foreign.in_ram)
            yield f"between the chunks of {case.named(arena)}: {size} (heapx heaps shows the parts)"


def places(case: Case, owner: Owner) -> tuple[str, ...]:
    """Return the largest parts of [heap] that are this owner's, as sentences."""
    parts = [r for r in case.snapshot.regions.owned_by(owner) if r.span.arena is None]
    parts.sort(key=lambda region: -region.amount.in_ram)
    return tuple(
        f"{r.span.start:#x} to {r.span.end:#x} of [heap]: {size_text(r.amount.in_ram)}"
        for r in parts[:SHOWN]
        if r.amount.in_ram
    )


def _callers(case: Case) -> Iterator[str]:
    callers = case.snapshot.sbrk_callers
    if callers:
        more = f" and {len(callers) - SHOWN} more" if len(callers) > SHOWN else ""
        yield f"files that use sbrk: {', '.join(callers[:SHOWN])}{more}"


def unexplained_heap(case: Case) -> Iterator[Finding]:
    parts = [r for r in case.snapshot.regions.owned_by(Owner.UNKNOWN) if r.span.arena is None]
    yield Finding(
        "unexplained_heap",
        sum(region.amount.in_ram for region in parts),
        "it lies in [heap], and most likely is malloc's: a malloc there couldn't be read.",
        places(case, Owner.UNKNOWN),
        "See the problems and notes: they tell which malloc, and why.",
    )


def foreign_brk(case: Case) -> Iterator[Finding]:
    for malloc in case.snapshot.mallocs:
        main = next((arena for arena in malloc.arenas if arena.main), None)
        if main is None:
            continue
        brk, reached = malloc.program_break, at_break(main.top_end, malloc.program_break, True)
        if reached or not main.contiguous or not main.top:
            continue
        yield Finding(
            "foreign_brk",
            case.of(main, State.TOP),
            "somebody else moved the program break: the main arena's top can't shrink any more.",
            (f"top ends at {main.top_end:#x}, the break is {brk:#x}",),
            f"{FIND} and let it use mmap. More than this of top can't go.",
            Worth(case.of(main, State.TOP)),
            about=spread(Part.TOP, [(case.of(main, State.TOP), main)]),
        )
