"""Which holder holds each chunk in use, and what several do: the definition of holders.c."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .leads import Leads

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..target.space import Words

SEVERAL = (1 << 31) - 1  # the label of what several holders reach
STEPS = 1 << 16  # chunks that are looked through before anybody is asked whether to go on
WORD = 4  # bytes of a label
NUMBERS = 2  # of a chunk in Nearest.reached: what is noted of whence it is, and how far that is


class Share(NamedTuple):
    """Chunks together: how many, and their bytes."""

    chunks: int
    bytes: int

    def and_one(self, size: int) -> Share:
        return Share(self.chunks + 1, self.bytes + size)


NO_CHUNKS = Share(0, 0)


class Counted(NamedTuple):
    """What a holder reaches of what several do; and the bytes of that to which the shortest way is
    the one of the holder that leads.
    """

    share: Share
    led: int


class Totals(NamedTuple):
    """What the chunks of each label are together, those that are SEVERAL's last; what of these is
    nearest to each label; and for some labels the bytes of both by kind, by the places that these
    labels were given.
    """

    parts: Sequence[Share]
    nearer: Sequence[Share]
    bytes_by_kind: Sequence[array[int]]


def column(chunks: int) -> memoryview:
    """Return a number of 32 bits for each chunk, 0 at first; what nobody writes takes no memory."""
    return memoryview(mmap.mmap(-1, max(chunks, 1) * WORD)).cast("I")


class Labels:
    """Gives each chunk the number of its holder, by rank; 0 where none reaches it.

    Holders are followed one after the other, in the order of their numbers, from 1 on. `touches`
    tells of each whether it reaches what several do. To whom that is nearest is told by others,
    once all are followed: as Nearest.reached; which label leads, too. StoppedError where a pace
    says so.
    """

    nearest: memoryview | None = None
    lead = -1

    def __init__(self, held: Held, holders: int) -> None:
        self.labels = column(held.index.chunks)
        self.touches = bytearray(holders + 1)
        self._held, self._holders = held, holders
        self._leads = Leads(held)
        self._seen = column(held.index.chunks)
        self._epoch = 0
        self._stack: list[int] = []

    def follow(self, holder: int, first: int, words: Words) -> bool:
        """Label what these words of a holder reach. What the holders from `first` on hold counts as
        its own; return whether it reaches any of that.
        """
        self._met = False
        for chunk in self._leads.followed(words):
            self._label(holder, first, chunk)
        while self._stack:
            chunk = self._next()
            if self.labels[chunk.rank] == SEVERAL:
                for lead in self._leads.of(chunk):
                    self._share(lead.to)
            else:
                for lead in self._leads.of(chunk):
                    self._label(holder, first, lead.to)
        return self._met

    _met = False

    def _label(self, holder: int, first: int, chunk: HeldChunk) -> None:
        before = self.labels[chunk.rank]
        if not before:
            self._put(chunk, holder)
        elif first <= before <= holder:
            self._met = self._met or before != holder
        else:
            self.touches[holder] = 1
            self._share(chunk)

    def _share(self, chunk: HeldChunk) -> None:
        before = self.labels[chunk.rank]
        if before != SEVERAL:
            if before:
                self.touches[before] = 1
            self._put(chunk, SEVERAL)

    def _put(self, chunk: HeldChunk, label: int) -> None:
        self.labels[chunk.rank] = label
        self._stack.append(chunk.user)

    def _next(self) -> HeldChunk:
        """Take a chunk off the stack."""
        address = self._stack.pop()
        self._held.space.pace.check(address)
        chunk = self._held.index.at(address)
        assert chunk is not None
        return chunk

    def shared(self, words: Words, most: int) -> Counted | None:
        """Return what these words reach of what several holders do; None where they reach more than
        `most` chunks.
        """
        self._epoch += 1
        chunks = size = led = reached = 0
        todo = list(self._leads.followed(words))
        while todo:
            self._stack.clear()
            for chunk in todo:
                if self._seen[chunk.rank] != self._epoch:
                    self._seen[chunk.rank] = self._epoch
                    self._stack.append(chunk.user)
                    reached += 1
                    if self.labels[chunk.rank] == SEVERAL:
                        chunks, size = chunks + 1, size + chunk.bytes
                        led += chunk.bytes if self._nearest_to(chunk) == self.lead else 0
            if reached > most:
                self._stack.clear()
                return None
            waiting = [self._next() for _ in range(len(self._stack))]
            todo = [lead.to for chunk in waiting for lead in self._leads.of(chunk)]
        return Counted(Share(chunks, size), led)

    def _nearest_to(self, chunk: HeldChunk) -> int:
        return self.nearest[NUMBERS * chunk.rank] if self.nearest is not None else 0

    def left(self, holder: int, address: int) -> None:
        """Label a chunk that nothing has reached, but nothing that it leads to."""
        chunk = self._held.index.at(address)
        if chunk is not None and not self.labels[chunk.rank]:
            self.labels[chunk.rank] = holder

    def totals(self, rows: array[int], kinds: array[int], number: int) -> Totals:
        """Return what is of each label, and nearest to it; of those that have a row, from 1 on,
        also the bytes of each of so many kinds, by a chunk's rank. No rows: none has.
        """
        last = self._holders + 1
        sums, nearer = ([NO_CHUNKS] * (last + 1) for _ in range(2))
        by_kind = [array("Q", bytes(8 * number)) for _ in range(max(rows, default=0))]
        for chunk in self._held.index.each():
            self._held.space.pace.check(chunk.address)
            label = self.labels[chunk.rank]
            part = last if label == SEVERAL else label
            sums[part] = sums[part].and_one(chunk.bytes)
            if label == SEVERAL:
                label = self._nearest_to(chunk)
                nearer[label] = nearer[label].and_one(chunk.bytes)
            if rows and rows[label]:
                by_kind[rows[label] - 1][kinds[chunk.rank]] += chunk.bytes
        return Totals(sums, nearer, by_kind)
