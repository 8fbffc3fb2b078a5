"""Following glibc's lists of free chunks, link by link, however damaged they are."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from ..errors import SWAPPED_OUT, MemoryFault, Problem, SwappedOutError
from ..glibc.layout import FLAGS, Layout
from ..target.target import Residency, Target

BUCKET = 20  # an overlay's chunks are kept by 2 ** BUCKET bytes of address space


class Links:
    """Words of the target, read page by page and kept for a while, for following lists."""

    CAPACITY = 4096  # pages

    def __init__(self, target: Target) -> None:
        self._target = target
        self._offset = target.page - 1  # mask of the offset in a page
        self._shift = 3 if target.word == 8 else 2
        self._count = target.page >> self._shift
        self._pages: dict[int, Sequence[int]] = {}

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        words, index = self._at(address)
        return words[index]

    def chunk(self, address: int) -> tuple[int, int, int]:
        """Return a chunk's size word, fd and bk."""
        words, i = self._at(address)
        if i + 4 <= self._count:
            return words[i + 1], words[i + 2], words[i + 3]
        size, fd, bk = (self.word(address + (at << self._shift)) for at in (1, 2, 3))
        return size, fd, bk

    def _at(self, address: int) -> tuple[Sequence[int], int]:
        """Return the words of the page that holds `address`, and the word's index there."""
        offset = address & self._offset
        words = self._pages.get(address - offset)
        if words is None:
            words = self._load(address, address - offset)
        if offset & (1 << self._shift) - 1:
            raise MemoryFault(address, self._target.word)
        return words, offset >> self._shift

    def _load(self, address: int, page: int) -> Sequence[int]:
        if len(self._pages) >= self.CAPACITY:
            self._pages.clear()
        try:
            words = self._target.bulk_words(page, self._count)
        except SwappedOutError:
            raise
        except MemoryFault:
            raise MemoryFault(address, self._target.word) from None
        self._pages[page] = words
        return words


@dataclass
class Places:
    """A set of chunks' addresses: four bytes each. It is filled first, and then asked."""

    _buckets: dict[int, array[int]] = field(default_factory=dict)
    _sorted: set[int] = field(default_factory=set)
    _near: tuple[int, frozenset[int]] = (-1, frozenset())  # the bucket that was asked last

    def __contains__(self, chunk: int) -> bool:
        return chunk in self.bucket(chunk >> BUCKET)

    def bucket(self, number: int) -> frozenset[int]:
        """Return the chunks whose addresses, shifted by BUCKET, are this number."""
        if self._near[0] != number:
            self._near = number, self.between(number << BUCKET, number + 1 << BUCKET)
        return self._near[1]

    def add(self, chunk: int) -> None:
        bucket = self._buckets.get(chunk >> BUCKET)
        if bucket is None:
            bucket = self._buckets[chunk >> BUCKET] = array("I")
        bucket.append(chunk & (1 << BUCKET) - 1)

    def between(self, start: int, end: int) -> frozenset[int]:
        """Return the chunks in [start, end)."""
        found: list[int] = []
        numbers = range(start >> BUCKET, (end - 1 >> BUCKET) + 1)
        fewer = numbers if len(numbers) < len(self._buckets) else self._buckets
        for number in fewer:
            if number in numbers and number in self._buckets:
                bucket, base = self._in_order(number), number << BUCKET
                first, last = (bisect_left(bucket, at - base) for at in (max(start, base), end))
                found += map(base.__add__, bucket[first:last])
        return frozenset(found)

    def _in_order(self, number: int) -> array[int]:
        if number not in self._sorted:
            self._buckets[number] = array("I", sorted(self._buckets[number]))
            self._sorted.add(number)
        return self._buckets[number]


class Overlay(NamedTuple):
    """Chunks that look in use and aren't the program's; the walk meets them where they must lie.

    `fast` are those in fastbins, `cached` those in tcaches and the tcaches themselves.
    """

    fast: Places
    cached: Places

    @classmethod
    def empty(cls) -> Overlay:
        return cls(Places(), Places())


@dataclass(frozen=True)
class BinHead:
    """A regular bin that isn't empty: its pseudo-chunk's address and its links."""

    index: int
    pseudo: int
    fd: int
    bk: int


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


class Followed(NamedTuple):
    """What a list held as far as it could be followed; `absent` bytes of it are not resident."""

    chunks: int
    bytes: int
    absent: int
    swapped: int
    address_sum: int
    problems: tuple[Problem, ...]

    def plus(self, chunks: int, size: int, absent: int, swapped: int) -> Followed:
        return self._replace(
            chunks=self.chunks + chunks,
            bytes=self.bytes + size,
            absent=self.absent + absent,
            swapped=self.swapped + swapped,
        )


Chunks = Iterator[tuple[int, int]]  # address and size of each chunk of a list
Visit = Callable[[int, int, int, int], None]  # its address, size, absent and swapped bytes


def follow(
    name: str,
    chunks: Callable[[], Chunks],
    limit: int,
    residency: Residency | None,
    trail: Trail,
    visit: Visit | None = None,
) -> Followed:
    """Fold a list; a list that is damaged, runs in a circle (Brent) or on and on ends there.

    `visit` gets each chunk's address and size, and how many bytes are absent and swapped.
    """
    count = total = absent = swapped = address_sum = mark = 0
    gone = out = 0
    power, last = 1, None
    problems: tuple[Problem, ...] = ()
    try:
        for chunk, size in chunks():
            if chunk == mark:
                last = _closes(chunks, count + 1 - power // 2)
                raise BrokenError("list_cycle", f"{name} runs in a circle at {chunk:#x}")
            if count == limit:
                raise BrokenError("list_too_long", f"{name} has over {limit:,} chunks", chunk)
            count, total, address_sum = count + 1, total + size, address_sum + chunk
            if count == power:
                mark, power = chunk, power * 2
            if residency:
                gone, out = residency.missing(chunk, chunk + size)
                absent, swapped = absent + gone, swapped + out
            if visit:
                visit(chunk, size, gone, out)
            last = chunk
    except BrokenError as broken:
        problems = (broken.problem(trail, last),)
    except SwappedOutError as fault:
        problems = (swapped_out(name, fault.address),)
    except MemoryFault:
        problems = (trail.blame("bad_link", f"{name} leads where nothing can be read", last),)
    return Followed(count, total, absent, swapped, address_sum, problems)


def _closes(chunks: Callable[[], Chunks], length: int) -> int:
    """Return the chunk whose link closes a circle of so many chunks."""
    ahead = chunks()
    ((last, _),) = deque(islice(ahead, length), maxlen=1)
    for (behind, _), (chunk, _) in zip(chunks(), ahead):
        if behind == chunk:
            break
        last = chunk
    return last


def swapped_out(what: str, address: int) -> Problem:
    """Return the problem that reading ends where memory is swapped out; it is no damage."""
    statement = f"{what} is swapped out at {address:#x}: --swap-in BYTES brings more of it back"
    return Problem(SWAPPED_OUT, statement, address)


def gathered(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, with those of swapped memory, which may be many, made one."""
    swapped = [problem for problem in problems if problem.code == SWAPPED_OUT]
    others = [problem for problem in problems if problem.code != SWAPPED_OUT]
    if len(swapped) < 2:
        return list(problems)
    statement = (
        f"{len(swapped)} lists and heaps are swapped out, the first one at "
        f"{swapped[0].address or 0:#x}: what they hold is unknown. --swap-in BYTES brings more back"
    )
    return [Problem(SWAPPED_OUT, statement, swapped[0].address), *others]


def _check_size(name: str, chunk: int, size: int, low: int, high: int | None) -> None:
    if size < low or (high is not None and size > high):
        statement = f"{name} leads to {chunk:#x}, whose size {size:#x} is none of its chunks'"
        raise BrokenError("bad_size", statement, chunk)


def fast_list(name: str, layout: Layout, links: Links, head: int, size: int) -> Chunks:
    """Yield a fastbin's chunks with their size."""
    chunk = head
    while chunk:
        found, link, _ = links.chunk(chunk)
        _check_size(name, chunk, found & ~FLAGS, size, size)
        yield chunk, size
        chunk = layout.reveal(link, chunk + layout.header)


def regular_list(
    name: str, layout: Layout, links: Links, head: BinHead, bounds: tuple[int, int | None]
) -> Chunks:
    """Yield a regular bin's chunks with their sizes; each must link back."""
    previous, chunk = head.pseudo, head.fd
    while chunk != head.pseudo:
        size, following, back = links.chunk(chunk)
        size &= ~FLAGS
        _check_size(name, chunk, size, *bounds)
        if back != previous:
            raise _not_mutual(name, links, previous, chunk, back)
        yield chunk, size
        previous, chunk = chunk, following


def _not_mutual(name: str, links: Links, previous: int, chunk: int, back: int) -> BrokenError:
    """Return the error that a chunk doesn't link back: its own link is bad, or, where it does link
    to one that leads to it, the one that led here.
    """
    statement = f"{name} leads to {chunk:#x}, whose bk is {back:#x} and not {previous:#x}"
    with suppress(MemoryFault):
        if links.chunk(back)[1] == chunk:
            return BrokenError("bad_link", statement)
    return BrokenError("bad_link", statement, chunk)


def wrong_skip(name: str, links: Links, chunks: Chunks, word: int) -> Problem | None:
    """Return the problem of a large bin's first wrong link to another size, None without.

    malloc.c: the first chunk of each size has fd_nextsize, which leads to the first one of the next
    smaller size, and bk_nextsize back, both in a circle; in all others they are 0.
    """

    def wrong(chunk: int, which: str, should: int) -> Problem | None:
        found = links.word(chunk + (4 if which == "fd_nextsize" else 5) * word)
        if found == should:
            return None
        statement = f"{name}: {which} of chunk {chunk:#x} is {found:#x} and not {should:#x}"
        return Problem("bad_nextsize", statement, chunk)

    first = last = of_size = 0
    for chunk, size in chunks:
        pairs = [(chunk, "fd_nextsize", 0), (chunk, "bk_nextsize", 0)]
        if size != of_size:
            pairs = [(last, "fd_nextsize", chunk), (chunk, "bk_nextsize", last)] if last else []
            first, last, of_size = first or chunk, chunk, size
        for pair in pairs:
            if (problem := wrong(*pair)) is not None:
                return problem
    ends = [(last, "fd_nextsize", first), (first, "bk_nextsize", last)] if first else []
    return next((problem for end in ends if (problem := wrong(*end)) is not None), None)


def is_linked(links: Links, chunk: int) -> bool:
    """Tell whether a chunk hangs in a regular bin: both its neighbours there link to it (what
    malloc.c's unlink_chunk demands).
    """
    try:
        _, following, previous = links.chunk(chunk)
        return links.chunk(following)[2] == chunk == links.chunk(previous)[1]
    except MemoryFault:
        return False


def tcache_list(
    name: str, layout: Layout, links: Links, head: int, bounds: tuple[int, int | None]
) -> Chunks:
    """Yield a tcache bin's chunks with their sizes; its links lead to user memory."""
    user = head
    while user:
        chunk = user - layout.header
        size = links.word(chunk + layout.word) & ~FLAGS
        _check_size(name, chunk, size, *bounds)
        yield chunk, size
        user = layout.reveal(links.word(user), user)
