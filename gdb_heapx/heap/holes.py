"""The free space between chunks in use, folded as malloc_trim would find it."""

from __future__ import annotations

from ..glibc.layout import CHUNK_WORDS, align_down, align_up
from ..target.amounts import Amount, amount_of
from ..target.mappings import Mapping, Mappings
from ..target.pages import RESIDENT, SHARED, SWAPPED, UNTOUCHED
from ..target.space import Residency, Space

TOUCHED_AT_ONCE = 16 << 20  # bytes whose pages are asked for


def _is_locked(kind: Mapping) -> bool:
    return kind.usage is not None and kind.usage.locked


class Trimmer:
    """Knows what the kernel would take back of a range that malloc_trim gives it."""

    def __init__(self, space: Space) -> None:
        self.page = space.page
        self._struct = CHUNK_WORDS * space.word  # sizeof (struct malloc_chunk), as mtrim has it
        self.residency = space.residency
        self._locked = [*Mappings.of(space.mappings).where(_is_locked)]

    @property
    def smallest(self) -> int:
        """The smallest chunk that malloc_trim looks into (malloc.c, mtrim)."""
        return self.page + self._struct

    def whole_pages(self, start: int, size: int) -> tuple[int, int]:
        """Return the range that mtrim hands to madvise for a free chunk; empty if none."""
        first = align_up(start + self._struct, self.page)
        return first, max(align_down(start + size, self.page), first)

    def advised(self, start: int, end: int) -> int:
        """Return up to where madvise(MADV_DONTNEED) takes whole pages back.

        It fails in locked memory, and what is behind that in the same range stays as well
        (Linux mm/madvise.c, madvise_walk_vmas).
        """
        locked = [m.start for m in self._locked if m.start < end and start < m.end]
        return max(min(locked), start) if locked else end

    def locked_in(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return what is locked in memory of [start, end)."""
        spans = ((max(m.start, start), min(m.end, end)) for m in self._locked)
        return [(low, high) for low, high in spans if low < high]

    def returned(self, start: int, end: int) -> Amount:
        """Return what malloc_trim gives back of a free chunk that lies at [start, end)."""
        if end - start < self.smallest:
            return self.amount(start, start)
        low, high = self.whole_pages(start, end - start)
        return self.unmapped(low, self.advised(low, high))

    def amount(self, start: int, end: int) -> Amount:
        """Return the bytes of [start, end)."""
        return amount_of(self.residency, start, end)

    def unmapped(self, start: int, end: int) -> Amount:
        """Return what the kernel takes back of whole pages that are unmapped, locked or not.

        The others aren't there any more. Where residency is unknown, it may be all of them.
        """
        if self.residency is None:
            return self.amount(start, end)
        states = self.residency.states(start, end)
        kinds = (RESIDENT, SHARED, SWAPPED)
        private, shared, swapped = (states.count(state) * self.page for state in kinds)
        resident = private + shared
        return Amount(resident + swapped, resident, swapped, shared)


def missing(residency: Residency | None, start: int, end: int) -> tuple[int, int, int]:
    """Return the bytes of [start, end) that aren't resident, those of them that are swapped, and
    those of the others that are shared; 0 if unknown.
    """
    return residency.missing(start, end) if residency else (0, 0, 0)


def next_touched(residency: Residency | None, page: int, start: int, end: int) -> int:
    """Return the first page from `start` on that holds anything, `end` if none is known to."""
    while residency is not None and start < end:
        states = residency.states(start, min(start + TOUCHED_AT_ONCE, end))
        untouched = len(states) - len(states.lstrip(bytes([UNTOUCHED])))
        start += untouched * page
        if untouched < len(states):
            break
    return start


class Holes:
    """The runs of free space in a heap. malloc_trim first merges fast chunks with what is free
    around them (malloc_consolidate, to 2.42): a run with a fast chunk is one chunk afterwards.

    `large` are the chunks that may hold a whole page. malloc_trim hands `whole` bytes of them to
    the kernel: of these `returned` are in memory and go, `kept` are locked there. `into_top` is
    what consolidation adds to top, and `largest` the largest of all other runs. What the runs hold
    beside these is in chunks too small for a page.

    Chunks in tcaches end a run. If they were free, they would make one run of those around them:
    malloc_trim then returns `gained` more; less, where that becomes part of top. `own` are chunks
    that hold a tcache itself: they are none of these.
    """

    def __init__(
        self, trimmer: Trimmer, residency: Residency | None, own: frozenset[int] = frozenset()
    ) -> None:
        self.trimmer = trimmer
        self.residency = residency
        self.own = own
        self.large = self.returned = self.kept = self.into_top = amount_of(residency, 0, 0)
        self.gained = self._before = self.large  # what was returned before what would be one run
        self.whole = self.largest = 0
        self.end = 0
        self._first = self._start = 0  # of what would be one run, and of this run
        self._fast = self._cached = False

    @property
    def gone(self) -> Amount:
        """The whole pages that aren't in memory any more."""
        return Amount(self.whole - self.returned.bytes - self.kept.bytes, 0, 0)

    @property
    def partial(self) -> Amount:
        """What lies around the whole pages of large chunks."""
        return self.large - self.returned - self.kept - self.gone

    def add(self, start: int, size: int, fast: bool, cached: bool = False) -> None:
        """Add a free chunk, a fast or a cached one; in the order of their addresses."""
        if start != self.end:
            self.close(0)
            self._first, self._start, self._before = start, start, self.returned
        self.end = start + size
        if cached:
            self._end_run(start, 0)
            self._start, self._cached = self.end, True
        self._fast = self._fast or fast

    def begin(self) -> None:
        """Begin a heap; a run that damage has left open in the one before is of no use."""
        self._first = self._start = self.end = 0
        self._fast = self._cached = False

    def close(self, top: int) -> None:
        """End the last run: before `top`, if it has a fast chunk, it becomes part of top."""
        first, end, cached = self._first, self.end, self._cached
        self._end_run(end, top)
        self._first = self._start = self.end = 0
        self._cached = False
        if cached:
            merged = (end, end) if end == top else (first, end)
            apart = self.returned - self._before
            self.gained += self.trimmer.returned(*merged) - apart

    def _end_run(self, end: int, top: int) -> None:
        start, fast = self._start, self._fast
        self._fast = False
        if fast and end == top:
            self.into_top += amount_of(self.residency, start, end)
            return
        self.largest = max(self.largest, end - start)
        if end - start >= self.trimmer.smallest:
            self.large += amount_of(self.residency, start, end)
            low, high = self.trimmer.whole_pages(start, end - start)
            cut = self.trimmer.advised(low, high)
            self.whole += high - low
            self.returned += self.trimmer.unmapped(low, cut)
            if cut < high:
                self.kept += self.trimmer.amount(cut, high)
