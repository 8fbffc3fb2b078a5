"""Causes of growth: what is free, and serves no request of the usual sizes."""

from __future__ import annotations

from collections.abc import Iterator

from ..heap.states import State
from ..report.model import Finding, size_text
from .order import Part, spread
from .sums import SHOWN, Case

SHATTERED = 4  # times as much is free as the largest piece has


def no_fit(case: Case) -> Iterator[Finding]:
    """Arenas that grow for requests of a size that no free piece of theirs has."""
    shattered = (each for each in case.ceilings if SHATTERED * each.largest <= each.free)
    found = sorted(shattered, key=lambda each: -each.free)
    if not found:
        return
    most = found[0]
    kept = [(case.of(each.arena, State.FAST, State.BINNED), each.arena) for each in found]
    below = [(min(case.reachable(arena), size), arena) for size, arena in kept]
    edges = [(size - part, arena) for (size, arena), (part, _) in zip(kept, below)]
    free = f"{size_text(most.free)} are free there"
    whole = sum(size for size, _ in kept)
    if 10 * whole < case.whole:
        return
    yield Finding(
        "no_fit",
        whole,
        f"requests above {most.served:,} bytes extend {case.named(most.arena)}, although {free}: "
        f"the largest free piece{', top,' if most.at_top else ''} has {most.largest:,} bytes.",
        tuple(
            f"{case.named(each.arena)}: {size_text(each.free)} free below top, the largest piece "
            f"{each.largest:,} bytes; requests of {each.served + 1:,} to {each.until:,} bytes make "
            "it grow"
            for each in found[:SHOWN]
        ),
        "Ask for no more at once where that can be, or keep apart what lives long: it lies between "
        "the free pieces (heapx pins). What that saves can't be computed. heapx fit SIZE tells "
        "what a request does, heapx growth who asks.",
        about={**spread(Part.BELOW, below), **spread(Part.EDGES, edges)},
    )
