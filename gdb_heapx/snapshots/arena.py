"""One arena, read: what its lists and the walk say together, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain

from ..errors import NOT_REACHED, UNREAD, Problem
from ..glibc.layout import Layout
from ..heap.arenas import Arena, Heap
from ..heap.bins import ArenaBins
from ..heap.heaps import Walked
from ..heap.holes import Holes
from ..heap.states import ALL_REGULAR, State
from ..heap.tally import Tally
from ..heap.tcaches import Caches
from ..records import dataclass
from ..target.amounts import NOTHING, Amount, amount_less, amount_of, sum_of
from ..target.space import Residency
from .figures import Check


@dataclass(frozen=True)
class ArenaReading:
    """All that was read of one arena; `walked` is None where its chunks were not walked over."""

    arena: Arena
    bins: ArenaBins
    walked: list[Walked] | None
    holes: Holes
    caches: Caches
    layout: Layout
    residency: Residency | None
    page: int

    @property
    def whole(self) -> bool:
        """Whether every heap was found, and walked to its end if it was walked."""
        walked = self.arena.complete and all(part.whole for part in self.walked or ())
        return walked and not self.unread

    @property
    def reached(self) -> bool:
        """Whether all of its heaps were reached before reading was stopped."""
        return all(problem.code != NOT_REACHED for problem in self.arena.problems)

    @cached_property
    def unread(self) -> bool:
        """Whether something of it, or of the tcaches, was not read because reading was stopped."""
        parts = (part.tally.problems for part in self.walked or ())
        own = chain(self.arena.problems, self.bins.problems, *parts)
        return any(p.code in (UNREAD, NOT_REACHED) for p in (*own, *self.caches.problems))

    @property
    def size(self) -> int:
        """Bytes of the heaps."""
        return sum(heap.size for heap in self._heaps())

    @cached_property
    def amounts(self) -> dict[State, Amount]:
        """What is in each state; IN_USE is missing where that is unknown."""
        in_use = self.in_use
        return {**({State.IN_USE: in_use} if in_use else {}), **self._others}

    @cached_property
    def _others(self) -> dict[State, Amount]:
        """What is in each state but IN_USE."""
        nothing = amount_of(self.residency, 0, 0)
        spans = sum_of(amount_of(self.residency, *span) for span in self._overheads())
        return {
            State.TCACHE: self.caches.amount_in(self.arena.index, self.residency),
            State.FAST: nothing + self.bins.amount(State.FAST),
            State.BINNED: nothing + self.bins.amount(*ALL_REGULAR),
            State.TOP: amount_of(self.residency, *self.top_span),
            State.OVERHEAD: replace(spans, bytes=self._overhead()),
        }

    @cached_property
    def in_use(self) -> Amount | None:
        """What the program holds; None where not all was seen, or figures contradict each other.

        Without a walk it is what remains of the heaps. Every state must have room in them, and in
        its bytes what of it is in memory.
        """
        if not self.whole:
            return None
        heaps = sum_of(amount_of(self.residency, h.address, h.end) for h in self._heaps())
        rest = heaps - sum_of(self._others.values())
        lost = self._lost(rest.bytes)
        in_use = rest - lost
        sound = all(part.possible for part in (in_use, lost, *self._others.values()))
        return in_use if sound and self.used_chunks >= 0 else None

    def _lost(self, rest: int) -> Amount:
        """Return what the walk found free and no list has; `rest` bytes are that or in use."""
        if self.walked is None:
            return NOTHING
        counts = [part.tally.counts for part in self.walked]
        size = rest - sum(each.used_bytes - each.overlaid_bytes for each in counts)
        spaces = [part.tally.pages for part in self.walked if part.tally.pages]
        missing = map(sum, zip((0, 0, 0), *(space.missing for space in spaces)))
        free = amount_less(self.residency, sum(c.free_bytes for c in counts), *missing)
        return replace(free - self._others[State.BINNED], bytes=size)

    @property
    def used_chunks(self) -> int:
        counts = [part.tally.counts for part in self.walked or ()]
        return sum(each.used_chunks - each.overlaid_chunks for each in counts)

    @property
    def top_span(self) -> tuple[int, int]:
        """Where top is."""
        return self.arena.top, self.arena.top + self.arena.top_size

    def _heaps(self) -> list[Heap]:
        return [p.heap for p in self.walked] if self.walked is not None else [*self.arena.heaps]

    @cached_property
    def sure(self) -> bool:
        """Whether all of it was seen, and agrees."""
        seen = self.in_use is not None and self.walked is not None
        return seen and all(check.ok for check in self.checks)

    def _overheads(self) -> Iterator[tuple[int, int]]:
        """Yield where the overhead lies; without a walk, as far as _overhead counts it."""
        for chunk, size in self.structs:
            yield chunk, chunk + size
        for part in self.walked or ():
            yield from part.overhead_spans(self.arena.top)
        if self.walked is None:
            for heap in self.arena.heaps:
                yield heap.address, heap.first
                if self.arena.top not in heap:
                    yield heap.end - self.layout.min_size, heap.end

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield what another user of sbrk took, behind two fenceposts (malloc.c, sysmalloc)."""
        segments = self.walked if self.arena.main and self.arena.contiguous else None
        for part in segments or ():
            start = part.tally.end + 2 * self.layout.header
            if part.whole and self.arena.top not in part.heap and start < part.heap.end:
                yield start, part.heap.end

    @cached_property
    def structs(self) -> tuple[tuple[int, int], ...]:
        """The tcaches that lie in its heaps: address and size of each."""
        within = self.caches.structs_in
        return tuple(each for h in self.arena.heaps for each in within(h.address, h.end))

    def _overhead(self) -> int:
        """Return headers, alignment, fenceposts, gaps of a foreign sbrk, and tcache structs.

        Without a walk the gaps are not known; a superseded heap's fenceposts take MINSIZE.
        """
        structs = sum(size for _, size in self.structs)
        if self.walked is not None:
            return structs + sum(part.overhead for part in self.walked)
        leads = sum(heap.first - heap.address for heap in self.arena.heaps)
        return structs + leads + self.layout.min_size * (len(self.arena.heaps[1:]))

    @cached_property
    def checks(self) -> list[Check]:
        """Return what must agree in this arena: sum of its chunks, and its free chunks."""
        if self.walked is None:
            return []
        index, whole = self.arena.index, self.whole
        if self.unread:  # its lists say nothing
            return [Check("chunks add up to system_mem", index, self.arena.system, None)]
        tallies = [part.tally for part in self.walked]
        total = self.arena.top_size + sum(p.tally.counts.bytes + p.overhead for p in self.walked)
        cached = sum(self.caches.sizes_in(index).values()) + self.bins.chunks(State.FAST)
        cached += len(self.structs)
        met = sum(tally.counts.overlaid_chunks for tally in tallies)
        return [
            Check(
                "chunks add up to system_mem", index, self.arena.system, total if whole else None
            ),
            Check("cached chunks are met once", index, cached, met if whole else None),
            *self._checks_of_bins(tallies),
        ]

    def _checks_of_bins(self, tallies: list[Tally]) -> Iterator[Check]:
        """Yield what must agree of the free chunks: how they hang together, or, where each list was
        followed, that they are those that the walk found.
        """
        index, links = self.arena.index, self.bins.links
        if links is not None:
            sums = _checksum(links.chunks), _checksum(links.fds)
            yield Check("free chunks are linked (checksum)", index, *sums)
            return
        found: list[int | None] = [
            sum(tally.counts.free_chunks for tally in tallies),
            sum(tally.counts.free_bytes for tally in tallies),
            _checksum(sum(tally.linkage.links.chunks for tally in tallies)),
        ]
        chunks, size = self.bins.chunks(*ALL_REGULAR), self.bins.amount(*ALL_REGULAR).bytes
        expected = chunks, size, _checksum(self.bins.address_sum or 0)
        names = "free chunks are binned", "free bytes are binned", "same free chunks (checksum)"
        for name, ours, theirs in zip(names, expected, found):
            yield Check(name, index, ours, theirs if self.whole else None)

    def _unwalked_problems(self) -> list[Problem]:
        """Return what must agree where the chunks were not walked over."""
        heaps, system = sum(heap.size for heap in self.arena.heaps), self.arena.system
        statement = f"heaps add up to system_mem: glibc says {system:,}, the heaps have {heaps:,}"
        if heaps == system and self.whole and self.in_use is None:
            statement = f"system_mem {system:,} is less than what is free in the arena"
        elif heaps == system:
            return []
        return [Problem("check_failed", statement, self.arena.address, self.arena.index)]

    def problems(self) -> list[Problem]:
        """Return what is wrong in this arena; a check that fails for a known reason isn't told."""
        index = self.arena.index
        problems = [*self.arena.problems, *self.bins.problems]
        for part in self.walked or ():
            problems += (replace(problem, arena=index) for problem in part.tally.problems)
        flaws = [flaw for part in self.walked or () for flaw in part.tally.flaws]
        problems += (replace(flaw, arena=index) for flaw in flaws)
        if len(problems) > len(flaws):
            return problems
        if self.walked is None:
            return self._unwalked_problems()
        for check in self.checks:
            if not check.ok:
                figures = f"glibc says {check.expected:,}, the walk found {check.found or 0:,}"
                statement = f"{check.name}: {figures}"
                problems.append(Problem("check_failed", statement, self.arena.address, index))
        return problems


def _checksum(total: int) -> int:
    """Return 32 bits of a sum over chunks: two sets of them are hardly the same by chance."""
    return total % (1 << 32)
