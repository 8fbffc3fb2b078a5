"""The threads' stacks: what of them is live, and what is left of calls that are over.

A stack is live from its thread's stack pointer to its end. Where that thread runs on its signal
stack, the stack is live from where the signal came; what was in registers then is beside that, on
the signal stack. Where nobody tells (fibers), all of the stack counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.architecture import Architecture
from ..glibc.layout import align_up
from ..locate.libcs import Libc
from ..locate.loader import find_variable
from ..locate.tcbs import Tcb
from ..report.model import counted
from ..target.mappings import ADDRESSES
from ..target.target import Registers, Target
from .root import Missed, Root, RootKind
from .signals import interrupted

# Bytes below the stack pointer that a function may use without moving it: System V ABI of x86-64,
# 3.2.2; of 64-bit PowerPC, 2.2.2.4 (v2); AArch64, ARM, i386, RISC-V, s390 have none.
RED_ZONES = {
    (Architecture.X86_64, 8): 128,
    (Architecture.X32, 4): 128,
    (Architecture.POWERPC, 8): 288,
}
STACK = "[stack]"
USUAL_SIZE = 8 << 20  # bytes: the usual limit of the main thread's stack
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
    pointers = [(lwp, pointer) for lwp, pointer in known if pointer is not None]
    pointers += _before_signals(target, areas, pointers)
    lowest, foreign = _where(areas, pointers)
    zone, suspended = red_zone(target), [a for a in areas if a.lwp and a not in lowest]
    live = [Root(RootKind.STACK, at, area.end, lwp) for area, (at, lwp) in lowest.items()]
    live += (Root(RootKind.STACK, area.start, area.end, area.lwp) for area in suspended)
    live += _others(target, foreign)
    zones = [_zone(target, lwp, at, zone) for lwp, at in pointers]
    dead = [(area.start, max(at - zone, area.start)) for area, (at, _) in lowest.items()]
    dead += (span for area in areas if not area.lwp for span in _ended(area))
    missed = (*_whole(suspended, {lwp for lwp, _ in pointers}), *_unplaced(target, foreign))
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
    it begins (cores have no name for it). Where mappings aren't known, as much as it mostly may be.
    """
    space, facts = target.space, target.facts
    named = next((m for m in space.mappings if m.name == STACK), None)
    begin = None if named else _stack_end(target, libc)
    found = named or (space.mapping_at(begin) if begin else None)
    lwp = facts.pid or next((thread.lwp for thread in facts.threads), 1)
    if found is not None:
        yield Area(found.start, found.end, lwp)
    elif begin and not space.mappings:
        yield Area(begin - USUAL_SIZE, align_up(begin, space.page), lwp)


def _stack_end(target: Target, libc: Libc | None) -> int | None:
    """Return the address where the main thread's stack began, None if unknown."""
    at = find_variable(target, libc.image, "__libc_stack_end") if libc else None
    try:
        return target.space.read_word(at) if at is not None else None
    except MemoryFault:
        return None


def _where(
    areas: Sequence[Area], pointers: Iterable[tuple[int, int]]
) -> tuple[dict[Area, tuple[int, int]], list[tuple[int, int]]]:
    """Return the lowest stack pointer in each area, with its thread, and those that lie elsewhere,
    each behind its thread.
    """
    lowest: dict[Area, tuple[int, int]] = {}
    foreign = []
    for lwp, pointer in pointers:
        area = _area_at(areas, pointer)
        if area is not None and area.lwp:
            lowest[area] = min((pointer, lwp), lowest.get(area, (pointer, lwp)))
        else:
            foreign.append((lwp, pointer))
    return lowest, foreign


def _area_at(areas: Sequence[Area], address: int) -> Area | None:
    index = bisect_right(areas, (address, ADDRESSES)) - 1
    return areas[index] if index >= 0 and address < areas[index].end else None


def _before_signals(
    target: Target, areas: Sequence[Area], pointers: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return where threads had their stack pointers when signals came."""
    found = []
    for lwp, pointer in pointers:
        area, mapping = _area_at(areas, pointer), target.space.mapping_at(pointer)
        end = area.end if area else mapping.end if mapping else pointer
        found += [(lwp, before) for before in interrupted(target, pointer, end)]
    return found


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


def _whole(areas: Sequence[Area], seen: Container[int]) -> Iterator[Missed]:
    """Yield why stacks count whole, and their bytes; the registers of some threads were seen."""
    elsewhere = [area for area in areas if area.lwp in seen]
    unknown = [area for area in areas if area.lwp not in seen]
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


def _unplaced(target: Target, foreign: Sequence[tuple[int, int]]) -> Iterator[Missed]:
    """Yield the threads whose stacks end nobody knows where."""
    lost = [lwp for lwp, pointer in foreign if target.space.mapping_at(pointer) is None]
    if lost:
        yield Missed(RootKind.STACK, f"stacks of {counted(len(lost), 'thread')}")


def _others(target: Target, foreign: Sequence[tuple[int, int]]) -> Iterator[Root]:
    """Yield what of other memory is threads' stacks: to the end of its mapping, or to where the
    next thread has its stack; but not what is a file's variable, which is a root as such.
    """
    ordered = sorted((pointer, lwp) for lwp, pointer in foreign)
    following = [pointer for pointer, _ in ordered[1:]]
    for (pointer, lwp), after in zip(ordered, [*following, ADDRESSES]):
        mapping = target.space.mapping_at(pointer)
        file = any(pointer in image for image in target.objects)
        if mapping is not None and not mapping.inode and not file:
            end = min(mapping.end, after)
            yield Root(RootKind.STACK, pointer, end, lwp, None, mapping.name)
