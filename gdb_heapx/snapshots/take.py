"""Everything heapx knows of a target at one moment, as plain frozen values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ..errors import LAYOUT_DIFFERS, LOST_IN_SWAP, NOT_REACHED, UNREAD, Problem
from ..heap.arenas import RING_BROKEN
from ..heap.left import LeftThread
from ..heap.library import Walker, library
from ..heap.states import HELD_FREE, Search
from ..locate.release import NOTHING_GIVEN, Given
from ..locate.stacks import Stack
from ..records import dataclass
from ..target.facts import Facts
from ..target.files import programs_among
from ..target.target import Target
from .breaks import beside_heaps, sbrk_callers
from .figures import ArenaFigures
from .malloc import EVERYTHING, Malloc, Scope, bins_apart, frozen
from .opened import Opened, open_target
from .reading import Identity
from .regions import Owner, Regions, Span
from .rest import rest_of
from .tiling import tile

MUCH = 64 << 10  # bytes that others took by sbrk: files are searched for who did


@dataclass(frozen=True)
class Snapshot:
    """All mallocs of a target, and the address space around them.

    `allocators` are other ones that serve the program's malloc. `walked` is False where the chunks
    were not walked over, `searched` where mmapped chunks were only counted. `walker` is what goes
    over chunks here. `stacks` are those that nptl mapped for threads, `left` the threads that a
    fork has left in the parent. `runtimes` map memory of their own: runtimes, and allocators that
    serve others. `sbrk_callers` are the files that use sbrk, where others than malloc took memory
    by it. `partial` tells that reading was stopped before all arenas were read.
    """

    target: Facts
    mallocs: tuple[Malloc, ...]
    regions: Regions
    allocators: tuple[str, ...]
    walked: bool
    walker: Walker
    stacks: tuple[Stack, ...] = ()
    left: tuple[LeftThread, ...] = ()
    runtimes: tuple[str, ...] = ()
    searched: bool = True
    sbrk_callers: tuple[str, ...] = ()
    partial: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", Regions.of(self.regions))  # of a file it has a tuple

    @property
    def libcs(self) -> tuple[str, ...]:
        """The libcs, by names that tell them apart."""
        return tuple(malloc.libc for malloc in self.mallocs)

    @property
    def unused(self) -> bool:
        """Whether glibc malloc holds nothing at all."""
        return not any(malloc.held for malloc in self.mallocs)

    @property
    def identity(self) -> Identity:
        """The program's own libc."""
        return self.mallocs[0].identity if self.mallocs else Identity()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for malloc in self.mallocs for problem in malloc.problems)

    @property
    def in_use(self) -> int | None:
        """Bytes that the program holds, in all arenas and mmapped; None where one can't be read."""
        arenas = (arena.in_use for arena in self.arenas())
        return self._sum((*arenas, *(malloc.mmapped_in_use for malloc in self.mallocs)))

    @property
    def free(self) -> int | None:
        """Bytes that are free inside malloc: in tcaches, fastbins and bins, and in tops; None where
        something is wrong, such as a list that can't be followed to its end.
        """
        if any(problem.code != LAYOUT_DIFFERS for problem in self.problems):
            return None
        return sum(arena.amounts[state].bytes for arena in self.arenas() for state in HELD_FREE)

    @property
    def returnable(self) -> int | None:
        """Bytes of RAM that malloc_trim would give back; None if unknown."""
        trims = [arena.trim for arena in self.arenas()]
        return self._sum(None if trim is None else trim.returned for trim in trims)

    @property
    def returnable_private(self) -> int | None:
        """Bytes of it that no other process shares: only these leave RAM then; None if unknown."""
        trims = [arena.trim for arena in self.arenas()]
        return self._sum(None if trim is None else trim.returned_private for trim in trims)

    def _sum(self, amounts: Iterable[int | None]) -> int | None:
        """Return a sum of amounts; None where one isn't known, or not every arena is."""
        broken = any(problem.code in (RING_BROKEN, LOST_IN_SWAP) for problem in self.problems)
        if broken or self.partial:
            return None
        found = list(amounts)
        known = [amount for amount in found if amount is not None]
        return sum(known) if len(known) == len(found) else None

    @property
    def as_read(self) -> Snapshot:
        """The same without the arenas that were not read, because reading was stopped."""
        if not self.partial:
            return self
        read = [tuple(arena for arena in m.arenas if not arena.unread) for m in self.mallocs]
        mallocs = (replace(malloc, arenas=own) for malloc, own in zip(self.mallocs, read))
        return replace(self, mallocs=tuple(mallocs))

    def arenas(self) -> tuple[ArenaFigures, ...]:
        """Return the arenas of every libc, the program's own first."""
        return tuple(arena for malloc in self.mallocs for arena in malloc.arenas)


def take(target: Target, scope: Scope = EVERYTHING, given: Given = NOTHING_GIVEN) -> Snapshot:
    """Read a stopped target; HeapxError as snapshot_of."""
    opened = open_target(target, given)
    return told_apart(snapshot_of(opened, scope), opened)


def told_apart(snapshot: Snapshot, opened: Opened) -> Snapshot:
    """Return a snapshot of a target, which needn't stand still any more, with the regular bins told
    apart that waited for it, or what has stopped that.
    """
    pairs = zip(snapshot.mallocs, opened.mallocs)
    pace = opened.target.space.pace
    told_before, told = pace.stopped, [bins_apart(malloc, reading) for malloc, reading in pairs]
    problem = None if told_before else pace.problem()
    if problem is not None:
        told[0] = replace(told[0], problems=(problem, *told[0].problems))
    return replace(snapshot, mallocs=tuple(told))


def snapshot_of(opened: Opened, scope: Scope = EVERYTHING) -> Snapshot:
    """Return what is known of a target that was opened; HeapxError where it has no glibc malloc
    that can be read, and nothing is known of its own, or the scope isn't the whole.
    """
    if opened.refused and not (scope.whole and opened.instead):
        raise opened.refused
    mallocs, searched = _mallocs(opened, scope), scope.search is not Search.NONE
    around = _around(opened, mallocs) if searched else _Around(Regions.of(()), (), ())
    allocators = opened.allocators(not any(malloc.held for malloc in mallocs))
    left = tuple(each for reading in opened.mallocs for each in reading.left)
    stacks, mallocs = opened.stacks, _told_once(opened, mallocs)
    return Snapshot(
        opened.target.facts,
        mallocs,
        around.regions,
        allocators,
        walked=scope.walk or not all(reading.libc.proven for reading in opened.mallocs),
        walker=library(opened.target.space).walker,
        stacks=stacks,
        left=left,
        runtimes=tuple(name for name in around.runtimes if name not in allocators),
        searched=searched,
        sbrk_callers=around.sbrk_callers,
        partial=_is_partial(mallocs),
    )


class _Around(NamedTuple):
    """The address space, and who has what malloc hasn't; nothing where only malloc matters."""

    regions: Regions
    runtimes: tuple[str, ...]
    sbrk_callers: tuple[str, ...]


def _around(opened: Opened, mallocs: tuple[Malloc, ...]) -> _Around:
    own = _apart([span for malloc in mallocs for span in _spans(malloc)])
    spans, target = [*own, *_beside(opened, mallocs)], opened.target
    rest = rest_of(opened, mallocs, spans)
    programs = programs_among(target.objects, target.space.mappings)
    regions = tile(target.space, _apart([*spans, *rest.spans]), programs)
    return _Around(regions, rest.runtimes, _callers(opened, mallocs, regions))


def _mallocs(opened: Opened, scope: Scope) -> tuple[Malloc, ...]:
    """Return the figures of each malloc; the first has what is wrong with the target, too."""
    found = [frozen(reading, scope) for reading in opened.mallocs]
    for first in found[:1]:
        notes, problems = (*opened.lost, *first.notes), (*opened.problems, *first.problems)
        found[0] = replace(first, notes=notes, problems=problems)
    return tuple(found)


def _is_partial(mallocs: tuple[Malloc, ...]) -> bool:
    """Tell whether reading was stopped before all arenas were read."""
    unread = any(arena.unread for malloc in mallocs for arena in malloc.arenas)
    return unread or any(p.code == NOT_REACHED for malloc in mallocs for p in malloc.problems)


def _told_once(opened: Opened, mallocs: tuple[Malloc, ...]) -> tuple[Malloc, ...]:
    """Return the mallocs with one problem for all that wasn't read because reading was stopped."""
    lost = [arena.index for malloc in mallocs for arena in malloc.arenas if arena.unread]
    told = opened.target.space.pace.problem(lost)
    if told is None:
        return mallocs
    read = [[p for p in malloc.problems if p.code != UNREAD] for malloc in mallocs]
    read[:1] = [[told, *problems] for problems in read[:1]]
    return tuple(replace(m, problems=tuple(own)) for m, own in zip(mallocs, read))


def _beside(opened: Opened, mallocs: tuple[Malloc, ...]) -> Iterator[Span]:
    """Yield what the break was moved over and no malloc has: it isn't malloc's where each was read
    to its end.
    """
    if not mallocs:
        return iter(())
    arenas = [arena for malloc in mallocs for arena in malloc.arenas]
    heaps = [(h.address, h.address + h.size) for arena in arenas for h in arena.heaps]
    sure = not opened.lost and all(malloc.arenas for malloc in mallocs)
    sure = sure and all(arena.in_use is not None for arena in arenas if arena.main)
    owner = Owner.SBRK if sure else Owner.UNKNOWN
    return beside_heaps(opened.target, mallocs[0].program_break, heaps, owner)


def _callers(opened: Opened, mallocs: tuple[Malloc, ...], regions: Regions) -> tuple[str, ...]:
    """Return the files that use sbrk, where there is anything that malloc didn't take by it."""
    gaps = sum(arena.foreign.bytes for malloc in mallocs for arena in malloc.arenas)
    beside = sum(region.amount.bytes for region in regions.owned_by(Owner.SBRK))
    return sbrk_callers(opened.target) if gaps + beside >= MUCH else ()


def _spans(malloc: Malloc) -> Iterator[Span]:
    """Yield what one malloc owns of the address space, where it is sure."""
    for arena in malloc.arenas:
        owner = Owner.HEAP if arena.in_use is not None else Owner.UNKNOWN
        whose = (arena.index, malloc.libc, arena.address)
        for heap in arena.heaps:
            end, reserved = heap.address + heap.size, heap.address + heap.reserved
            yield Span(heap.address, end, owner, *whose)
            if end < reserved:
                yield Span(end, reserved, Owner.RESERVED, *whose)
    if malloc.mmapped_certain:
        for start, end in malloc.mmapped.spans:
            yield Span(start, end, Owner.MMAPPED, None, malloc.libc)


def _apart(spans: list[Span]) -> list[Span]:
    """Return the spans without those that overlap one before them: a damaged record may claim what
    isn't its own.
    """
    starts: list[int] = []
    apart: list[Span] = []
    for span in spans:
        at = bisect_right(starts, span.start)
        behind = at < len(apart) and apart[at].start < span.end
        if span.start < span.end and not behind and not (at and apart[at - 1].end > span.start):
            starts.insert(at, span.start)
            apart.insert(at, span)
    return apart
