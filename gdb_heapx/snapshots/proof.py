"""Which of the ways to see a libc's malloc is the right one: debug symbols, or what adds up."""

from __future__ import annotations

from dataclasses import replace

from ..errors import MemoryFault
from ..heap.motion import MALLOC_ABORTED
from ..heap.states import Search
from ..locate.allocators import refused
from ..locate.by_structure import is_arena
from ..locate.libcs import Libc
from ..target.space import Space
from ..target.target import Target
from .malloc import Malloc, Scope, frozen
from .reading import MallocReading


def proven(target: Target, candidates: tuple[Libc, ...]) -> MallocReading:
    """Return the malloc of a libc, by debug symbols or proven by its chunks.

    Guesses are walked over. Of several that add up, the first is taken with which every list holds
    and tcaches are found, else the one that comes closest. Where nothing tells these apart, the
    release is that of each. HeapxError if none adds up.
    """
    found: list[tuple[MallocReading, Malloc]] = []
    for libc in candidates:
        if libc.proven:
            return MallocReading(target, libc)
        try:
            reading = MallocReading(target, libc)
            search = (
                Search.MAPPINGS if len(candidates) > 1 else Search.NONE
            )  # they tell releases apart
            malloc = frozen(reading, Scope(search=search, strips=False))
        except MemoryFault:
            continue
        if _adds_up(malloc) and _all_possible(target.space, libc, malloc):
            found.append((reading, malloc))
            if all(_fit(malloc)):
                break
    if not found:
        raise refused(target, candidates[0])
    best = max(_fit(malloc) for _, malloc in found)
    equals = [reading for reading, malloc in found if _fit(malloc) == best]
    return _of_releases([reading.libc.found[0].value for reading in equals], equals[0])


def _of_releases(releases: list[str], reading: MallocReading) -> MallocReading:
    """Give a libc all the releases that it may be, the newest first."""
    if len(releases) > 1:
        either = f"{releases[-1].split()[0]} to {releases[0].split()[-1]}"  # as in 2.35 to 2.41
        release, *others = reading.libc.found
        release = release._replace(value=either, how="structure: with each of them chunks add up")
        reading.libc = replace(reading.libc, found=(release, *others))
    return reading


def _adds_up(malloc: Malloc) -> bool:
    """Tell whether the chunks of some arena add up, or none has any: others may be damaged.

    None needs to where glibc itself has said that they are damaged.
    """
    if any(problem.code == MALLOC_ABORTED for problem in malloc.problems):
        return True
    wrong = {check.arena for check in malloc.checks if not check.ok}
    used = {arena.index for arena in malloc.arenas if arena.system != 0}
    return not used or bool(used - wrong)


def _all_possible(space: Space, libc: Libc, malloc: Malloc) -> bool:
    """Tell whether every arena can be one: damaged chunks leave their malloc_state alone."""
    records = (space.read_struct(libc.layout.state, arena.address) for arena in malloc.arenas)
    return all(is_arena(libc.layout, record) for record in records)


def _fit(malloc: Malloc) -> tuple[bool, bool, bool]:
    sound = not any(problem.damage for problem in malloc.problems)
    return sound, malloc.mmapped_certain, bool(malloc.caches)
