"""The links between free chunks: read page by page, and what is said of those that are bad."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Optional

from ..errors import MemoryFault, Problem, UnreadError
from ..glibc.layout import BK, FD, FLAGS, SIZE
from ..records import dataclass
from ..target.mappings import ADDRESSES, merged
from ..target.pages import UNTOUCHED
from ..target.space import Space
from .holes import missing

Chunks = Optional["list[int]"]


class Chain(NamedTuple):
    """What a tcache says of one of its lists: where it begins, how many chunks it has, and the size
    of each.
    """

    first: int
    length: int
    size: int


class Links:
    """Words of the target, read and kept for a while, for following lists.

    One page is read at a time where links scatter; ever more where one leads near the last. Where
    so many were read that few are met again, only the chunk is.
    """

    CAPACITY = 4096  # pages
    FEW = 256  # of them: are kept from one thread or arena to the next
    NEAR = 16  # pages between two that are near each other
    WIDEST = 64  # pages read at once
    SURE = 64  # pages that tell whether they are met again

    def __init__(self, space: Space) -> None:
        self._space = space
        self._pace = space.pace
        self._offset = space.page - 1  # mask of the offset in a page
        self._shift = 3 if space.word == 8 else 2
        self._misaligned = (1 << self._shift) - 1
        self._count = space.page >> self._shift
        self._pages: dict[int, Sequence[int]] = {}
        self._last = 0  # the page that was read last, and how many at once
        self._width = 1
        self._single = 0  # pages that were read one by one
        self._scattered = False  # whether these were many, and few are met again
        self._met: set[int] = set()  # pages of which a chunk was read, and nothing else
        self._again = 0  # how often one of these was met again
        self._alone = memoryview(bytearray((BK + 1 - SIZE) * space.word))  # of one chunk
        self._words = self._alone.cast("Q" if space.word == 8 else "I")
        self._fill = space.fill if space.byteorder == sys.byteorder else None

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        words, index = self._at(address)
        return words[index]

    def chunk(self, address: int) -> tuple[int, int, int]:
        """Return a chunk's size word, fd and bk."""
        offset = address & self._offset
        words, i = self._pages.get(address - offset), offset >> self._shift
        if words is None or offset & self._misaligned:
            if self._scattered and self._read_alone(address):
                size, fd, bk = self._words
                return size, fd, bk
            words, i = self._at(address)
        if i + BK < self._count:
            return words[i + SIZE], words[i + FD], words[i + BK]
        size, fd, bk = (self.word(address + (at << self._shift)) for at in (SIZE, FD, BK))
        return size, fd, bk

    def chains(self, bins: Iterable[Chain], header: int, mangled: int) -> Iterator[Chunks]:
        """Yield the chunks of each chain, None where it hasn't exactly so many of its size, or
        anything is wrong. Links lead to user memory, behind a `header`; they are mangled with where
        they lie, shifted by so many bits.
        """
        within, odd, shift, pages = self._offset, self._misaligned, self._shift, self._pages
        last = self._count - 1 - FD << shift  # where a chunk has its link in the same page
        for user, length, size in bins:
            chunks: list[int] = []
            try:
                for _ in range(length):
                    chunk = user - header
                    at = chunk & within
                    words = pages.get(chunk - at)
                    if words is None or at & odd or at > last:
                        word, link, _ = self.chunk(chunk)
                    else:
                        word, link = words[(at >> shift) + SIZE], words[(at >> shift) + FD]
                    if word & ~FLAGS != size:
                        break
                    chunks.append(chunk)
                    user = link ^ user >> mangled
            except MemoryFault:
                pass
            yield chunks if len(chunks) == length and not user else None

    def begin(self) -> None:
        """Forget what was read, if that is much: lists of another thread or arena come next."""
        self._scatter(False)
        if len(self._pages) >= self.FEW:
            self._pages.clear()

    def prepare(self, addresses: Iterable[int]) -> None:
        """Read the pages of these at once where they lie near each other: lists begin there."""
        self.begin()
        size, last = self._space.page, (self.NEAR - 1) * self._space.page
        pages = (address & ~self._offset for address in addresses)
        new = {page for page in pages if page not in self._pages}
        for start, end in merged((page, page + size + last) for page in new):
            number = self._touched(start, (end - last - start) // size)
            for done in range(0, number, self.WIDEST):
                self._read(start + done * size, min(self.WIDEST, number - done))

    def _touched(self, start: int, pages: int) -> int:
        """Return how many of these pages there are without those at the end that nobody touched."""
        residency = self._space.residency
        if residency is None:
            return pages
        with suppress(MemoryFault):
            states = residency.states(start, start + pages * self._space.page)
            return len(states.rstrip(bytes([UNTOUCHED])))
        return 0

    def _at(self, address: int) -> tuple[Sequence[int], int]:
        """Return the words of the page that holds `address`, and the word's index there."""
        offset = address & self._offset
        words = self._pages.get(address - offset)
        if words is None or self._pace.stopped:
            words = self._load(address, address - offset)
        if offset & self._misaligned:
            raise MemoryFault(address, self._space.word)
        return words, offset >> self._shift

    def _load(self, address: int, page: int) -> Sequence[int]:
        if len(self._pages) >= self.CAPACITY:
            self._pages.clear()
            self._scatter(2 * self._single > self.CAPACITY)
            self._single = 0
        near, down = self._is_near(page), page < self._last
        self._last, self._width = page, min(2 * self._width, self.WIDEST) if near else 1
        if self._width > 1 and self._load_wide(page, down):
            return self._pages[page]
        try:
            words = self._space.words(page, self._count)
        except UnreadError:
            raise
        except MemoryFault:
            raise MemoryFault(address, self._space.word) from None
        self._pages[page] = words
        self._single += 1
        return words

    def _scatter(self, scattered: bool) -> None:
        self._scattered, self._again = scattered, 0
        self._met.clear()

    def _is_near(self, page: int) -> bool:
        """Tell whether a page lies near what was read last."""
        return abs(page - self._last) <= max(self.NEAR, self._width) * self._space.page

    def _read_alone(self, chunk: int) -> bool:
        """Read a chunk's size and links, and nothing around it; not where it lies near the last
        one, or is not in memory, or where pages are met again. Return whether that was done.
        """
        fill, size = self._fill, len(self._alone)
        page, start = chunk & ~self._offset, chunk + SIZE * self._space.word
        self._again += page in self._met
        if len(self._met) >= self.SURE and 2 * self._again > len(self._met):
            self._scatter(False)
            return False
        if self._is_near(page) or not self._pace.goes_on():
            return False
        if fill is None or chunk & self._misaligned or not 0 <= start <= ADDRESSES - size:
            return False
        if missing(self._space.residency, start, start + size)[0] or not fill(start, self._alone):
            return False
        if len(self._met) >= self.CAPACITY:
            self._scatter(True)
        self._met.add(page)
        self._last, self._width = page, 1
        return True

    def _load_wide(self, page: int, down: bool) -> bool:
        """Read a page, and those behind or before it; return whether that was done."""
        start = max(page - (self._width - 1) * self._space.page, 0) if down else page
        return self._read(start, self._width)

    def _read(self, start: int, pages: int) -> bool:
        """Read pages at once; not where some can't be read, or would have to be brought back from
        swap. Return whether that was done.
        """
        size = self._space.page
        try:
            if missing(self._space.residency, start, start + pages * size)[0]:
                return False
            words = self._space.words(start, pages * self._count)
        except MemoryFault:
            return False
        for number in range(pages):
            first = number * self._count
            self._pages[start + number * size] = words[first : first + self._count]
        return True


@dataclass(frozen=True)
class Trail:
    """Where a list keeps its links: the `head`'s word, and `offset` bytes into each chunk; `reveal`
    tells what a chunk's link means, by what is stored and where.
    """

    links: Links
    head: int
    offset: int
    reveal: Callable[[int, int], int]

    def blame(self, code: str, statement: str, holder: int | None) -> Problem:
        """Return the problem that a link is bad: the one of this chunk, of the head for None."""
        place = self.head if holder is None else holder
        return Problem(code, f"{statement}; {self.told(holder)}", place)

    def told(self, holder: int | None) -> str:
        """Say who holds a link, and what it is: as it lies in memory, and what that means."""
        field = self.head if holder is None else holder + self.offset
        try:
            stored = self.links.word(field)
        except MemoryFault:
            return f"that link, at {field:#x}, cannot be read"
        if holder is None:
            return f"the list's head, at {self.head:#x}, is that link: {stored:#x}"
        meant = self.reveal(stored, field)
        word = f"{stored:#x}" if meant == stored else f"{stored:#x}, demangled {meant:#x}"
        return f"chunk {holder:#x} holds that link: {word}"


class BrokenError(Exception):
    """A list can't be followed further. The last link that was followed is bad, unless it is known
    that something `elsewhere` is.
    """

    def __init__(self, code: str, statement: str, elsewhere: int | None = None) -> None:
        super().__init__(statement)
        self.code = code
        self.statement = statement
        self.elsewhere = elsewhere

    def problem(self, trail: Trail, last: int | None) -> Problem:
        """Return what is wrong, and where: `last` is the chunk whose link was followed."""
        problem = trail.blame(self.code, self.statement, last)
        return problem if self.elsewhere is None else replace(problem, address=self.elsewhere)


def is_linked(links: Links, chunk: int) -> bool:
    """Tell whether a chunk hangs in a regular bin: both its neighbours there link to it (what
    malloc.c's unlink_chunk demands).
    """
    try:
        _, following, previous = links.chunk(chunk)
        return links.chunk(following)[2] == chunk == links.chunk(previous)[1]
    except MemoryFault:
        return False
