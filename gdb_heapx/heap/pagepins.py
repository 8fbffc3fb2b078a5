"""Which live chunks keep pages from malloc_trim: those that touch a page that is mostly free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple, Protocol

from ..glibc.layout import FLAGS, PREV_INUSE, align_down, align_up
from ..target.pages import IN_RAM, SWAPPED
from .holes import Trimmer
from .lives import Live, Lives, View
from .scan import Run


class Held(NamedTuple):
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

    `shared` is the page before these, which both they and the pin before it keep; None without one.
    """

    pages: tuple[Held, ...]
    lives: Lives
    shared: Held | None = None

    @property
    def short(self) -> bool:
        """Whether its chunks have no more bytes than what they keep free."""
        return sum([live.size for live in self.lives]) <= sum([held.free for held in self.pages])

    @property
    def last(self) -> Live:
        return self.lives[-1]


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
        self._given: PagePin | None = None
        self._first = 0  # the first page that has enough chunks before it
        self._stop = 0  # the first page that was not seen whole
        self._end = 0
        self._tail: Lives = ()  # the live chunks that this page may touch, and the one before it
        self._last = 0  # where the last live chunk lies

    def add(self, run: Run) -> None:
        if self._sink.full:
            return
        if not self._end:
            self._first = self._stop = align_up(run.start + self._head, self._page)
        stop = max(align_down(run.end, self._page), self._stop)
        if stop > self._stop:
            self._look(View(run, self._tail), stop)
        self._stop, self._end = stop, run.end
        self._keep_tail(run)
        for pin in self._joined.done_before(self._last):
            self._give(pin.pages, pin)

    def close(self, end: int) -> None:
        top = self._last if self._end == self._top else None
        self._joined.finish()
        for pin in self._joined.done_before(None):
            self._give([held for held in pin.pages if held.lives[-1].address != top], pin)

    def _look(self, view: View, stop: int) -> None:
        """Look at the pages up to `stop` that may be pinned, and at the first one in any case."""
        whole = max(align_up(view.run.start, self._page), self._stop)
        pages = view.mostly_free(self._page, self._head, whole, stop)
        for page in chain((self._stop,), pages):
            at = page
            while self._joined.end <= at < stop and self._visit(view, at):
                at += self._page  # what the same chunks touch behind it may come along

    def _visit(self, view: View, page: int) -> bool:
        """Look at a page; return whether the next one may be of the same pin."""
        size, head = self._page, self._head
        lives = view.lives(page - head, page + size)
        before = page - size
        if lives and lives[0].address < page and before >= max(self._joined.end, self._first):
            self._joined.add(before, view.lives(before - head, before + size))
        return self._joined.add(page, lives) and lives[-1].end > page + size - head

    def _keep_tail(self, run: Run) -> None:
        """Keep what the next page that isn't whole yet may touch, and the page before it."""
        low = self._stop - self._page - self._head
        tail: list[Live] = []
        address, following, fast, cached = run.end, run.following, run.fast, run.cached
        for word in reversed(run.words):
            if address <= low and address <= self._last:
                break
            address -= word & ~FLAGS
            if following & PREV_INUSE and address not in fast:
                live = Live(address, word & ~FLAGS, address in cached)
                self._last = max(self._last, address)
                if live.end > low:
                    tail.append(live)
            following = word
        before = [live for live in self._tail if live.end > low]
        self._tail = (*before, *reversed(tail))

    def _give(self, pages: Sequence[Held], pin: PagePin) -> None:
        """Hand on what of a pin's pages is in memory, and can go."""
        pages = self._in_memory(pages)
        pin = pin_of(pages, pin.shared)
        if not pages or not pin.short:
            return
        before, self._given = self._given, pin
        self._sink.take(replace(pin, shared=self._shared(before, pin)) if pin.shared else pin)

    def _shared(self, before: PagePin | None, pin: PagePin) -> Held | None:
        """Return the page that two pins keep together, if they do."""
        if pin.shared is None or before is None:
            return None
        kept = all(each in before.lives or each in pin.lives for each in pin.shared.lives)
        return next(iter(self._in_memory([pin.shared])), None) if kept else None

    def _in_memory(self, pages: Sequence[Held]) -> tuple[Held, ...]:
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


def pin_of(pages: Sequence[Held], shared: Held | None = None) -> PagePin:
    """Return what these pages' chunks are together."""
    lives = pages[0].lives if len(pages) == 1 else sorted({e for h in pages for e in h.lives})
    return PagePin(tuple(pages), lives, shared)


class Joined:
    """Pages that are looked at, in the order of their addresses, joined to pins.

    A pin begins with a page that is free by half or more. The next page is of it, too, if its
    chunks are all among those of the pin; or the other way round, if it is free by half or more,
    and together they are still short. The page before it is, if its chunks are among the first
    one's. What a chunk of more than two pages touches is of no pin: it can't be short.
    """

    def __init__(self, page: int) -> None:
        self.end = 0  # of the last page
        self._size = page
        self._open: list[Held] = []
        self._before: Held | None = None  # the last page, if it was of no pin
        self._done: list[PagePin] = []
        self._shared: Held | None = None

    def add(self, page: int, lives: Lives) -> bool:
        """Take in a page; return whether it is of a pin."""
        size = self._size
        if any(live.size > 2 * size for live in lives):
            lives = ()
        covered = [min(e.address + e.size, page + size) - max(e.address, page) for e in lives]
        held = Held(page, lives, size - sum([each for each in covered if each > 0]))
        follows = page == self.end
        self.end = page + size
        mostly_free = 2 * held.free >= size
        if follows and self._open and self._goes_on(held, mostly_free):
            self._open.append(held)
            return True
        self.finish()
        before = self._before if follows else None
        self._before = None if mostly_free or not lives else held
        if not mostly_free or not lives:
            return False
        self._open = [held]
        if before and _among(before.lives, lives):
            self._open.insert(0, before)
        else:
            self._shared = before
        return True

    def _goes_on(self, held: Held, mostly_free: bool) -> bool:
        if not held.lives:
            return False
        whole = (self._open[0].lives[0], self._open[-1].lives[-1])
        if _among(held.lives, whole):
            return True
        grown = mostly_free and _among(whole, held.lives)
        return grown and pin_of([*self._open, held]).short

    def finish(self) -> None:
        """End the pin that the next page could have been of."""
        if self._open:
            self._done.append(pin_of(self._open, self._shared))
            self._open, self._shared, self._before = [], None, None

    def done_before(self, last: int | None) -> list[PagePin]:
        """Return the pins that are done, and none of whose chunks lies at `last`."""
        done = [pin for pin in self._done if pin.last.address != last]
        self._done = [pin for pin in self._done if pin.last.address == last]
        return done


def _among(lives: Lives, whole: Lives) -> bool:
    """Tell whether these chunks are all among those, which are neighbours."""
    return whole[0] <= lives[0] and lives[-1] <= whole[-1]
