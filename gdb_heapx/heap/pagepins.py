"""Which live chunks keep pages from malloc_trim: those that touch a page that is mostly free."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, Protocol

from ..errors import MemoryFault
from ..glibc.layout import Layout, align_down, align_up
from ..records import dataclass
from ..target.pages import IN_RAM, SWAPPED
from ..target.space import Space
from .arenas import Heap
from .holes import Trimmer
from .lives import Live, Lives, View
from .places import Overlay
from .runs import Run
from .scan import BadChunkError, Scanner
from .states import State

MOST = 2  # pages of a chunk that may be short
REACH = MOST + 1  # pages before one that such a chunk may touch
RUN = 64  # chunks that are looked at while one run is read


class HeldPage(NamedTuple):
    """A page, and the live chunks that keep malloc_trim from returning it: all must be gone.

    `free` is what is free of it, `state` whether it is RESIDENT, SHARED or SWAPPED; None where that
    is unknown.
    """

    page: int
    lives: Lives
    free: int
    state: int | None = None


@dataclass(frozen=True)
class PagePin:
    """Live chunks that keep one page or more, one after the other.

    `shared` are pages before these, which both they and the pin before it keep.
    """

    pages: tuple[HeldPage, ...]
    lives: Lives
    shared: tuple[HeldPage, ...] = ()

    @property
    def short(self) -> bool:
        """Whether its chunks have no more bytes than what they keep free."""
        return sum([live.size for live in self.lives]) <= sum([held.free for held in self.pages])


class Sink(Protocol):
    """What takes the pins that are found."""

    @property
    def full(self) -> bool:
        """Whether no more are wanted."""

    def take(self, pin: PagePin) -> None:
        """Take in the next pin, in the order of addresses."""


class PagePins:
    """The fold over a heap's runs that finds what keeps single pages, for a sink.

    malloc_trim returns a page inside a free chunk, behind its struct malloc_chunk (malloc.c,
    mtrim). So the live chunks from that many bytes before a page up to its end keep it. They are a
    pin where half of the page is free, or more (Joined says which pages are of one). What the last
    live chunk below top touches is none: it would become top.
    """

    def __init__(self, trimmer: Trimmer, sink: Sink, top: int) -> None:
        self._trimmer = trimmer
        self._sink = sink
        self._top = top
        self._page = trimmer.page
        self._head = trimmer.smallest - trimmer.page
        self._joined = Joined(trimmer.page)
        self._given: Lives = ()  # the chunks of the last pin
        self._lost: list[HeldPage] = []  # the last pages that are of no pin, behind that one
        self._first = 0  # the first page that has enough chunks before it
        self._stop = 0  # the first page that was not seen whole
        self._end = 0
        self._tail: Lives = ()  # the live chunks that this page, and REACH before it, touch
        self._last = 0  # where the last live chunk lies

    @property
    def full(self) -> bool:
        """Whether no more pins are wanted."""
        return self._sink.full

    def add(self, run: Run) -> None:
        if self.full:
            return
        if not self._end:
            self._first = self._stop = align_up(run.start + self._head, self._page)
        stop = max(align_down(run.end, self._page), self._stop)
        if stop > self._stop:
            self._look(View(run, self._tail), stop)
        self._stop, self._end = stop, run.end
        self._keep_tail(run)
        for pages in self._joined.done_before(self._last):
            self._settle(pages)

    def close(self, end: int) -> None:
        top = self._last if self._end == self._top else None
        self._joined.finish()
        for pages in self._joined.done_before(None):
            self._settle([held for held in pages if held.lives[-1].address != top])

    def _look(self, view: View, stop: int) -> None:
        """Look at the pages up to `stop` that may be pinned, and at the first one in any case."""
        whole = max(align_up(view.run.start, self._page), self._stop)
        pages = view.mostly_free(self._page, self._head, whole, stop)
        for page in chain((self._stop,), pages):
            at = page
            while self._joined.end <= at < stop and self._visit(view, at):
                at += self._page  # what the same chunks touch behind it may come along

    def _visit(self, view: View, page: int) -> bool:
        """Look at a page, and first at those before it that its chunks touch.

        Return whether the next one may be of the same pin.
        """
        size, head = self._page, self._head
        lives = view.lives(page - head, page + size)
        if lives and lives[0].size <= MOST * size:
            touched = max(align_down(lives[0].address, size), self._joined.end, self._first)
            for before in range(touched, page, size):
                self._joined.add(before, view.lives(before - head, before + size))
        return self._joined.add(page, lives) and lives[-1].end > page + size - head

    def _keep_tail(self, run: Run) -> None:
        """Keep what the next page that isn't whole yet may touch, and the pages before it."""
        low = self._stop - REACH * self._page - self._head
        tail: list[Live] = []
        for address, size, state in run.backwards():
            if address + size <= low and address + size <= self._last:
                break
            if state in (State.IN_USE, State.TCACHE):
                live = Live(address, size, state is State.TCACHE)
                self._last = max(self._last, address)
                if live.end > low:
                    tail.append(live)
        before = [live for live in self._tail if live.end > low]
        self._tail = (*before, *reversed(tail))

    def _settle(self, pages: Sequence[HeldPage]) -> None:
        """Hand on what of these pages is in memory, if it is a pin; else remember it.

        What was no pin by itself comes along if this one keeps it, alone or with the one before.
        """
        pages = self._in_memory(pages)
        if not pages:
            return
        lives = lives_of(pages)
        along, lost = _kept(self._lost, lives)
        pin = PagePin((*along, *pages), lives)
        if not pin.short:
            self._lost = [*self._lost, *pages][-REACH:]
            return
        shared, _ = _kept(lost, [*self._given, *lives])
        self._given, self._lost = lives, []
        self._sink.take(replace(pin, shared=tuple(shared)) if shared else pin)

    def _in_memory(self, pages: Sequence[HeldPage]) -> tuple[HeldPage, ...]:
        """Return the pages that malloc_trim would return: in memory, or in swap, and not locked."""
        if not pages:
            return ()
        size, residency = self._page, self._trimmer.residency
        start, end = pages[0].page, pages[-1].page + size
        if self._trimmer.advised(start, end) < end:
            pages = [h for h in pages if self._trimmer.advised(h.page, h.page + size) > h.page]
        if residency is None:
            return tuple(pages)
        states = residency.states(start, end)
        found = [(held, states[(held.page - start) // size]) for held in pages]
        return tuple([h._replace(state=s) for h, s in found if s in (*IN_RAM, SWAPPED)])


def lives_of(pages: Sequence[HeldPage]) -> Lives:
    """Return the chunks that keep these pages, together."""
    return pages[0].lives if len(pages) == 1 else sorted({e for h in pages for e in h.lives})


def _kept(pages: Sequence[HeldPage], lives: Lives) -> tuple[list[HeldPage], list[HeldPage]]:
    """Return which of these pages are kept by those chunks only, and which aren't."""
    kept = [held for held in pages if all(live in lives for live in held.lives)]
    return kept, [held for held in pages if held not in kept]


class Joined:
    """Pages that are looked at, in the order of their addresses, joined to groups.

    A group begins with a page that chunks touch. If that is free by half or more, the next page is
    of it, too, if its chunks are all among those of the group; or the other way round, if it is
    free by half or more, and together they are still short. What a chunk of more than MOST pages
    touches is of no group: it can't be short.
    """

    def __init__(self, page: int) -> None:
        self.end = 0  # of the last page
        self._size = page
        self._open: list[HeldPage] = []
        self._done: list[tuple[HeldPage, ...]] = []

    def add(self, page: int, lives: Lives) -> bool:
        """Take in a page; return whether the next one may be of its group."""
        size = self._size
        if any(live.size > MOST * size for live in lives):
            lives = ()
        covered = [min(e.address + e.size, page + size) - max(e.address, page) for e in lives]
        held = HeldPage(page, lives, size - sum([each for each in covered if each > 0]))
        follows, self.end = page == self.end, page + size
        if not lives or not (follows and self._goes_on(held)):
            self.finish()
        if lives:
            self._open.append(held)
        return bool(lives) and self._mostly_free(self._open[0])

    def _mostly_free(self, held: HeldPage) -> bool:
        return 2 * held.free >= self._size

    def _goes_on(self, held: HeldPage) -> bool:
        """Tell whether a page is of the group of the one before it."""
        if not self._open or not self._mostly_free(self._open[0]):
            return False
        whole = (self._open[0].lives[0], self._open[-1].lives[-1])
        if _among(held.lives, whole):
            return True
        if not self._mostly_free(held) or not _among(whole, held.lives):
            return False
        grown = (*self._open, held)
        return PagePin(grown, lives_of(grown)).short

    def finish(self) -> None:
        """End the group that the next page could have been of."""
        if self._open:
            self._done.append(tuple(self._open))
            self._open = []

    def done_before(self, last: int | None) -> list[tuple[HeldPage, ...]]:
        """Return the groups that are done, and none of whose chunks lies at `last`."""
        done = [group for group in self._done if group[-1].lives[-1].address != last]
        self._done = [group for group in self._done if group[-1].lives[-1].address == last]
        return done


def _among(lives: Lives, whole: Lives) -> bool:
    """Tell whether these chunks are all among those, which are neighbours."""
    return whole[0] <= lives[0] and lives[-1] <= whole[-1]


def sample(
    space: Space, layout: Layout, heap: Heap, overlay: Overlay, pins: PagePins, most: int
) -> int:
    """Look for pins in a heap, until enough are found, or so many chunks were looked at, and RUN
    more for each run; return how many are left of these.
    """
    with suppress(MemoryFault, BadChunkError):
        for run in Scanner(space, layout, heap, overlay).runs():
            pins.add(run)
            most -= len(run) + RUN
            if pins.full or most <= 0:
                return most
        pins.close(heap.end)
    return most
