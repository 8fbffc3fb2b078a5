"""A target, opened: the malloc of each of its libcs, to freeze or to go through chunk by chunk."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from ..errors import CORE_CUT, CutShortError, HeapxError, Problem
from ..locate.allocators import instead_of_glibc, no_glibc, other_allocators
from ..locate.libcs import find_libcs
from ..locate.release import NOTHING_GIVEN, Given
from ..locate.runtimes import Present, loaded_allocators, runtimes_in
from ..locate.stacks import Stack
from ..records import dataclass
from ..report.model import Note
from ..report.notes import note
from ..target.mappings import outside
from ..target.pace import cut_short
from ..target.target import Target
from .proof import proven
from .reading import MallocReading
from .untouched import zeros


@dataclass(frozen=True)
class Opened:
    """The mallocs of a target, the program's own first, as long as the target stands still.

    `lost` tells of libcs whose malloc can't be read. Where there is none at all, `refused` says so,
    and `instead` what the program uses, as far as that is known.
    """

    target: Target
    mallocs: tuple[MallocReading, ...]
    lost: tuple[Note, ...]
    refused: HeapxError | None = None
    instead: str | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the target itself: a core that is cut short."""
        cut = self.target.facts.cut
        return (Problem(CORE_CUT, cut),) if cut else ()

    def allocators(self, unused: bool) -> tuple[str, ...]:
        """Return the other allocators that serve the program's malloc."""
        if not self.mallocs:
            return (self.instead,) if self.instead else ()
        if unused not in self._allocators:
            found = other_allocators(self.target, self.mallocs[0].libc, unused)
            self._allocators[unused] = found
        return self._allocators[unused]

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that nptl mapped for threads."""
        return tuple(sorted({stack for each in self.mallocs for stack in each.stacks}))

    def zeros(self, own: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
        """Return the private memory that a core has zeros for, but in malloc's `own` spans."""
        if own not in self._zeros:
            mappings = self.target.space.mappings
            private = (m for m in mappings if not m.inode and m.permissions[0] == "r")
            self._zeros[own] = zeros(self.target.space, outside(private, list(own)))
        return self._zeros[own]

    @cached_property
    def _zeros(self) -> dict[tuple[tuple[int, int], ...], list[tuple[int, int]]]:
        return {}

    @cached_property
    def runtimes(self) -> tuple[Present, ...]:
        """The runtimes that map memory of their own."""
        return runtimes_in(self.target)

    @cached_property
    def loaded(self) -> tuple[str, ...]:
        """The allocators that are somewhere in the process, serving malloc or not."""
        return loaded_allocators(self.target, self.runtimes)

    @cached_property
    def _allocators(self) -> dict[bool, tuple[str, ...]]:
        return {}


def open_target(target: Target, given: Given = NOTHING_GIVEN) -> Opened:
    """Return a stopped target, opened; CutShortError where reading was stopped before any arena."""
    pace = target.space.pace
    with cut_short(pace):
        opened = _opened(target, given)
    problem = pace.problem()
    if problem and not any(reading.arenas for reading in opened.mallocs):
        raise CutShortError(problem)
    return opened


def _opened(target: Target, given: Given) -> Opened:
    found = list(find_libcs(target, given))
    mallocs = tuple(proven(target, each.libcs) for each in found if each.libcs)
    if not mallocs:
        return Opened(target, (), (), no_glibc(target), instead_of_glibc(target))
    mallocs = tuple(each for each in mallocs if not (each.libc.debugs and each.unused))
    for number, each in enumerate(mallocs):
        copies = [other.libc.image.path for other in mallocs[: number + 1]]
        each.libc = replace(each.libc, copy=copies.count(each.libc.image.path))
    lost = tuple(note("libc_not_read", path=each.image.path) for each in found if not each.libcs)
    return Opened(target, mallocs, lost)
