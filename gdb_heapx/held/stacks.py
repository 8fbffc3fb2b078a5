"""The threads' stacks: what of them is live, and what is left of calls that are over.

A stack is live from its thread's stack pointer to its end. Where that thread runs on another one
(its signal stack, a fiber's), nobody tells how far the stack itself is live: all of it counts. What
the interrupted call had in registers is in the signal's frame, on the other stack.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.architecture import Architecture
from ..locate.libcs import Libc
from ..locate.loader import find_variable
from ..locate.tcbs import Tcb
from ..target.target import Registers, Target
from .root import Missed, Root, RootKind

# Bytes below the stack pointer that a function may use without moving it: System V ABI of x86-64,
# 3.2.2; of 64-bit PowerPC, 2.2.2.4 (v2); AArch64, ARM, i386, RISC-V, s390 have none.
RED_ZONES = {
    (Architecture.X86_64, 8): 128,
    (Architecture.X32, 4): 128,
    (Architecture.POWERPC, 8): 288,
}
STACK = "[stack]"
FEW = 3  # threads to name


class Area(NamedTuple):
    """The memory of one stack and whose it is; `pthread` is what it has at its end that stays, when
    the thread has ended, until that is joined.
    """

    start: int
    end: int
    lwp: int
    pthread: tuple[int, int] | None = None


class LiveStacks(NamedTuple):
    """What is live of the stacks, what lies below the stack pointers, and what is dead."""

    live: tuple[Root, ...]
    red_zones: tuple[Root, ...]
    dead: tuple[tuple[int, int], ...]
    missed: tuple[Missed, ...]


def find_stacks(
    target: Target, libc: Libc | None, tcbs: Sequence[Tcb], registers: Mapping[int, Registers]
) -> LiveStacks:
    """Return the stacks of all threads."""
    areas = sorted((*_areas(tcbs), *_main_area(target, libc)))
    known = ((lwp, held.stack_pointer) for lwp, held in registers.items())
    pointers = {lwp: pointer for lwp, pointer in known if pointer is not None}
    lowest, foreign = _where(areas, pointers)
    zone, suspended = red_zone(target), [a for a in areas if a.lwp and a not in lowest]
    live = [Root(RootKind.STACK, at, area.end, area.lwp) for area, at in lowest.items()]
    live += (Root(RootKind.STACK, area.start, area.end, area.lwp) for area in suspended)
    live += filter(None, (_other(target, lwp, at) for lwp, at in foreign))
    zones = [_zone(target, lwp, at, zone) for lwp, at in pointers.items()]
    dead = [(area.start, max(at - zone, area.start)) for area, at in lowest.items()]
    dead += (span for area in areas if not area.lwp for span in _ended(area))
    missed = tuple(_whole(suspended, pointers))
    return LiveStacks(tuple(live), tuple(zones), tuple(dead), missed)


def red_zone(target: Target) -> int:
    """Return the bytes below a stack pointer that may be in use."""
    return RED_ZONES.get((target.facts.machine, target.facts.word), 0)


def _areas(tcbs: Iterable[Tcb]) -> Iterator[Area]:
    """Yield the stacks that nptl knows, those without a thread with LWP 0."""
    for tcb in tcbs:
        if tcb.stack:
            own = None if tcb.kept else (tcb.pthread, tcb.pthread + tcb.size)
            yield Area(*tcb.stack, 0 if tcb.kept else tcb.lwp, own)


def _main_area(target: Target, libc: Libc | None) -> Iterator[Area]:
    """Yield the stack that the kernel made: its mapping, by its name, or by where ld.so says that
    it begins (cores have no name for it).
    """
    space, facts = target.space, target.facts
    found = next((m for m in space.mappings if m.name == STACK), None)
    if found is None and libc is not None:
        end = find_variable(target, libc.image, "__libc_stack_end")
        try:
            found = space.mapping_at(space.read_word(end)) if end is not None else None
        except MemoryFault:
            found = None
    if found is not None:
        first = facts.threads[0].lwp if facts.threads else 0
        main = facts.pid if any(t.lwp == facts.pid for t in facts.threads) else first
        yield Area(found.start, found.end, main or facts.pid or 1)


def _where(
    areas: Sequence[Area], pointers: Mapping[int, int]
) -> tuple[dict[Area, int], list[tuple[int, int]]]:
    """Return the lowest stack pointer in each area, and those that lie elsewhere, with threads."""
    starts = [area.start for area in areas]
    lowest: dict[Area, int] = {}
    foreign = []
    for lwp, pointer in pointers.items():
        index = bisect_right(starts, pointer) - 1
        if index >= 0 and pointer < areas[index].end and areas[index].lwp:
            area = areas[index]
            lowest[area] = min(pointer, lowest.get(area, pointer))
        else:
            foreign.append((lwp, pointer))
    return lowest, foreign


def _zone(target: Target, lwp: int, pointer: int, zone: int) -> Root:
    mapping = target.space.mapping_at(pointer)
    start = max(pointer - zone, mapping.start if mapping else 0)
    return Root(RootKind.RED_ZONE, start, pointer, lwp)


def _ended(area: Area) -> Iterator[tuple[int, int]]:
    """Yield what of a stack without a thread is no root: all, but what a join would ask for."""
    if area.pthread is None:
        yield area.start, area.end
    else:
        yield area.start, area.pthread[0]
        yield area.pthread[1], area.end


def _whole(areas: Sequence[Area], pointers: Mapping[int, int]) -> Iterator[Missed]:
    """Yield why stacks count whole, and their bytes."""
    elsewhere = [area for area in areas if area.lwp in pointers]
    unknown = [area for area in areas if area.lwp not in pointers]
    for found, why in (
        (elsewhere, "thread {} runs on another stack: its own counts whole"),
        (unknown, "the stack pointer of thread {} isn't known: its stack counts whole"),
    ):
        if found:
            size = sum(area.end - area.start for area in found)
            lwps = ", ".join(str(area.lwp) for area in found[:FEW])
            more = len(found) - FEW
            lwps += f" and {more} more" if more > 0 else ""
            yield Missed(RootKind.STACK, why.format(lwps), size, True)


def _other(target: Target, lwp: int, pointer: int) -> Root | None:
    """Return what of other memory is a thread's stack: to the end of its mapping. None where it is
    a file's variable, which is a root as such.
    """
    mapping = target.space.mapping_at(pointer)
    if mapping is None or mapping.inode or any(pointer in image for image in target.objects):
        return None
    return Root(RootKind.STACK, pointer, mapping.end, lwp, None, mapping.name)
