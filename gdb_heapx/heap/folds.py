"""What a walk adds up of the chunks that it comes by, one class for each; none keeps a chunk."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from operator import add, mul
from typing import NamedTuple, Protocol

from ..errors import Problem
from ..glibc.layout import BK, BK_NEXTSIZE, FD, FD_NEXTSIZE, FLAGS, SIZE
from ..records import dataclass
from ..target.pages import RESIDENT, SHARED
from .holes import Holes, missing
from .places import BUCKET
from .runs import Run
from .spaces import largest_inside, spans
from .told import GRAIN, pick

FLAWS = 8  # of a heap that are told
WORDS, MODULUS = 1 << 64, (1 << 61) - 1  # what sums are taken modulo; the latter is a prime


class Fold(Protocol):
    """Something that is added up over the runs of one or more heaps."""

    def add(self, run: Run) -> None:
        """Take in the next run."""

    def close(self, end: int) -> None:
        """The heap's chunks are over; `end` is where top is, or the heap's end."""


@dataclass
class Counts:
    """Chunks by size: those in use and those free by the boundary tags.

    The overlaid chunks are those in use that an Overlay names.
    """

    used: Counter[int] = field(default_factory=Counter)
    free: Counter[int] = field(default_factory=Counter)
    overlaid_chunks: int = 0
    overlaid_bytes: int = 0

    def add(self, run: Run) -> None:
        used, free = self.used, self.free
        for word, chunks in run.used_by.items():
            used[word & ~FLAGS] += len(chunks)
        for word, chunks in run.free_by.items():
            free[word & ~FLAGS] += len(chunks)
        if run.fast or run.cached:
            self.overlaid_chunks += len(run.fast) + len(run.cached)
            self.overlaid_bytes += run.overlaid_bytes

    def close(self, end: int) -> None:
        pass

    @property
    def chunks(self) -> int:
        return self.used_chunks + self.free_chunks

    @property
    def used_chunks(self) -> int:
        return sum(self.used.values())

    @property
    def used_bytes(self) -> int:
        return sum(map(mul, self.used, self.used.values()))

    @property
    def free_chunks(self) -> int:
        return sum(self.free.values())

    @property
    def free_bytes(self) -> int:
        return sum(map(mul, self.free, self.free.values()))

    @property
    def bytes(self) -> int:
        """Bytes of all chunks."""
        return self.used_bytes + self.free_bytes


class LinkSums(NamedTuple):
    """Sums over chunks of circular lists: of their addresses, and of the links that each has, fd
    and bk, modulo 2 ** 64; `twist` is the sum of p * q * q over each (p, q) = (chunk, fd), less
    that over each (bk, chunk), modulo a prime.

    In lists that are linked both ways each chunk is some chunk's fd once and some chunk's bk once,
    so the first three agree. Each (chunk, fd) is some other's (bk, chunk) there, so the last one is
    0. A link that leads elsewhere makes the former differ. Two that are swapped, x of chunk a and y
    of chunk b, change only the latter, by (a - b) * (x - y) * (x + y): the prime is larger than
    each of these. (A sum of p * q stays the same where chunks swap both links in a list with equal
    gaps; one of hashes, such as Python's of tuples, is too close to linear.)
    """

    chunks: int = 0
    fds: int = 0
    bks: int = 0
    twist: int = 0

    @classmethod
    def of(
        cls,
        at: Sequence[int],
        fds: Sequence[int],
        bks: Sequence[int],
        start: int = 0,
        unit: int = 1,
    ) -> LinkSums:
        """Return the sums over the chunks at these multiples of `unit` bytes from `start`."""
        twist = sum(
            [(p := start + unit * i) * (fd * fd - bk * p) for i, fd, bk in zip(at, fds, bks)]
        )
        return cls(start * len(at) + unit * sum(at), sum(fds), sum(bks), twist).cut()

    def plus(self, other: LinkSums) -> LinkSums:
        return LinkSums(*map(add, self, other)).cut()

    def cut(self) -> LinkSums:
        """Return the same, modulo what they are taken modulo."""
        chunks, fds, bks = (each % WORDS for each in self[:3])
        return LinkSums(chunks, fds, bks, self.twist % MODULUS)

    @property
    def closed(self) -> bool:
        """Whether they lead to all of these chunks and nowhere else, and both ways."""
        return self.chunks == self.fds == self.bks and not self.twist


NO_LINKS = LinkSums()


@dataclass
class Linkage:
    """How the free chunks hang together: `links` by fd and bk, `skips` by fd_nextsize and
    bk_nextsize, which lead from size to size in large bins.
    """

    large: int  # bytes of the smallest chunk in large bins
    links: LinkSums = NO_LINKS
    skips: LinkSums = NO_LINKS

    def add(self, run: Run) -> None:
        if run.free:
            fds, bks = pick(run.free, run.fields[FD], run.fields[BK])
            found = LinkSums.of(run.free, fds, bks, run.start, GRAIN)
            self.links = self.links.plus(found)
            if run.largest_free >= self.large:
                self._add_skips(run)

    def _add_skips(self, run: Run) -> None:
        sizes, fds, bks = run.fields[SIZE], run.fields[FD_NEXTSIZE], run.fields[BK_NEXTSIZE]
        at = [i for i in run.free if sizes[i] >= self.large and (fds[i] or bks[i])]
        chunks = [run.start + i * GRAIN for i in at]
        found = LinkSums.of(chunks, [fds[i] for i in at], [bks[i] for i in at])
        self.skips = self.skips.plus(found)

    def close(self, end: int) -> None:
        pass


@dataclass
class Feet:
    """The free chunks whose size isn't the prev_size behind them: `flaws`, the first ones.

    They are looked for where the sums of a run differ: two prev_sizes that are swapped aren't seen.
    """

    flaws: list[Problem] = field(default_factory=list)

    def add(self, run: Run) -> None:
        sums = [(word & ~FLAGS) * len(chunks) for word, chunks in run.free_by.items()]
        if run.feet == sum(sums):
            return
        sizes = run.fields[SIZE]
        for i in run.free:
            chunk, size, foot = run.start + i * GRAIN, sizes[i] & ~FLAGS, run.foot_of(i)
            if foot != size:
                self.add_flaw(chunk, size, foot)

    def add_flaw(self, chunk: int, size: int, foot: int) -> None:
        """Add a chunk with what is behind it, if there aren't enough of them."""
        if len(self.flaws) < FLAWS:
            said = f"free chunk {chunk:#x} has size {size:#x}, prev_size behind it is {foot:#x}"
            self.flaws.append(Problem("bad_prev_size", said, chunk))

    def close(self, end: int) -> None:
        pass


@dataclass
class FreeSpace:
    """The free chunks' space: added to `holes`, and by chunk size those bytes of it that aren't in
    memory, `swapped` those that are in swap, `shared` those in memory that another process shares.
    """

    holes: Holes
    absent: Counter[int] = field(default_factory=Counter)
    swapped: Counter[int] = field(default_factory=Counter)
    shared: Counter[int] = field(default_factory=Counter)

    def add(self, run: Run) -> None:
        holes, cached = self.holes, run.cached - self.holes.own
        if not (run.free or run.fast or cached):
            return
        absent, _, shared = missing(holes.residency, run.start, run.end)
        if shared == run.end - run.start:
            self._add_shared(run)
        elif absent or shared:
            self._add_missing(run)
        if holes.largest < holes.trimmer.smallest:  # larger ones are among the spans
            holes.largest = max(holes.largest, largest_inside(run))
        for span in sorted(spans(run, cached, holes.trimmer)):
            holes.add(*span)

    @property
    def missing(self) -> tuple[int, int, int]:
        """Bytes of all free chunks that are absent, swapped, and shared."""
        absent, swapped, shared = (
            sum(each.values()) for each in (self.absent, self.swapped, self.shared)
        )
        return absent, swapped, shared

    def _add_shared(self, run: Run) -> None:
        """Add a run that is shared as a whole, as most are soon after a fork."""
        for word, chunks in run.free_by.items():
            self.shared[word & ~FLAGS] += (word & ~FLAGS) * len(chunks)

    def _add_missing(self, run: Run) -> None:
        """Add a run of pages of several states; only few chunks have two of these themselves."""
        residency, page, first = self.holes.residency, self.holes.trimmer.page, run.start
        assert residency is not None
        states = residency.states(run.start, run.end)
        first -= first % page
        for chunk in run.free_addresses:
            size = run.size_at(chunk)
            low, high = (chunk - first) // page, (chunk + size - 1 - first) // page + 1
            if states.count(RESIDENT, low, high) == high - low:
                continue
            if states.count(SHARED, low, high) == high - low:
                self.shared[size] += size
                continue
            self.add_missing(chunk, size)

    def add_missing(self, chunk: int, size: int) -> None:
        """Add what isn't in memory, or is shared, of one free chunk."""
        absent, swapped, shared = missing(self.holes.residency, chunk, chunk + size)
        if absent:
            self.absent[size] += absent
            self.swapped[size] += swapped
        if shared:
            self.shared[size] += shared

    def close(self, end: int) -> None:
        self.holes.close(end)


@dataclass
class Landmarks:
    """Chunks to begin at: one in each BUCKET of address space."""

    chunks: list[int] = field(default_factory=list)

    def add(self, run: Run) -> None:
        if not self.chunks or self.chunks[-1] >> BUCKET != run.start >> BUCKET:
            self.chunks.append(run.start)

    def close(self, end: int) -> None:
        pass

    def before(self, address: int, back: int = 0) -> int | None:
        """Return a chunk at this address or before it, with so many landmarks between the two; the
        first one where there are fewer, None without any.
        """
        at = bisect_right(self.chunks, address) - 1 - back
        return self.chunks[max(at, 0)] if self.chunks else None

    def behind(self, address: int) -> int | None:
        """Return a chunk behind this address, None without."""
        at = bisect_right(self.chunks, address)
        return self.chunks[at] if at < len(self.chunks) else None
