"""Which of the ways to see a libc's malloc is the right one: debug symbols, or what adds up."""

from __future__ import annotations

from dataclasses import replace

from ..errors import MemoryFault
from ..heap.motion import MALLOC_ABORTED
from ..locate.allocators import refused
from ..locate.by_structure import is_arena
from ..locate.libcs import Libc
from ..target.space import Space
from ..target.target import Target
from .malloc import Malloc, Scope, read_malloc


def read_proven(target: Target, candidates: tuple[Libc, ...], scope: Scope) -> tuple[Libc, Malloc]:
    """Return what a libc is and has, by debug symbols or proven by its chunks.

    Guesses are always walked over. Of several that add up, the first is taken with which every
    list holds and tcaches are found, else the one that comes closest. Where nothing tells these
    apart, the release is that of each. HeapxError if none adds up.
    """
    proven: list[tuple[Libc, Malloc]] = []
    for libc in candidates:
        if libc.proven:
            return libc, read_malloc(target, libc, scope)
        try:
            malloc = read_malloc(target, libc, replace(scope, walk=True))
        except MemoryFault:
            continue
        if _adds_up(malloc) and _all_possible(target.space, libc, malloc):
            proven.append((libc, malloc))
            if all(_fit(malloc)):
                break
    if not proven:
        raise refused(target, candidates[0])
    best = max(_fit(malloc) for _, malloc in proven)
    equals = [each for each in proven if _fit(each[1]) == best]
    return _of_releases([libc.found[0].value for libc, _ in equals], *equals[0])


def _of_releases(releases: list[str], libc: Libc, malloc: Malloc) -> tuple[Libc, Malloc]:
    """Give a libc all the releases that it may be, the newest first."""
    if len(releases) == 1:
        return libc, malloc
    either = f"{releases[-1].split()[0]} to {releases[0].split()[-1]}"  # as in 2.35 to 2.41
    found = libc.found[0]._replace(value=either, how="structure: with each of them chunks add up")
    mended = tuple(found if each == libc.found[0] else each for each in malloc.found)
    libc = replace(libc, found=(found, *libc.found[1:]))
    return libc, replace(malloc, release=either, found=mended)


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


def proven_libc(target: Target, candidates: tuple[Libc, ...], scope: Scope) -> Libc:
    """Return what a libc is; a guess costs a walk. HeapxError if none adds up."""
    first = candidates[0]
    return first if first.proven else read_proven(target, candidates, scope)[0]
