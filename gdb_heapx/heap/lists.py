"""Following glibc's lists of free chunks, link by link, however damaged they are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, Protocol

from ..errors import MemoryFault, Problem, StoppedError, UnreadError
from ..glibc.layout import BK_NEXTSIZE, FD_NEXTSIZE, FLAGS, Layout
from ..records import dataclass
from ..target.space import Residency
from .links import BrokenError, Links, Trail

SKIPS = {"fd_nextsize": FD_NEXTSIZE, "bk_nextsize": BK_NEXTSIZE}


@dataclass(frozen=True)
class BinHead:
    """A regular bin that isn't empty: its pseudo-chunk's address and its links."""

    index: int
    pseudo: int
    fd: int
    bk: int


class Followed(NamedTuple):
    """What a list held as far as it could be followed; `absent` bytes of it are not resident,
    `swapped` of these are swapped, and `shared` are resident in this process and another one.
    """

    chunks: int
    bytes: int
    absent: int
    swapped: int
    shared: int
    address_sum: int
    problems: tuple[Problem, ...]

    def plus(self, chunks: int, size: int, absent: int, swapped: int, shared: int) -> Followed:
        return self._replace(
            chunks=self.chunks + chunks,
            bytes=self.bytes + size,
            absent=self.absent + absent,
            swapped=self.swapped + swapped,
            shared=self.shared + shared,
        )


NONE_FOLLOWED = Followed(0, 0, 0, 0, 0, 0, ())


class Ends(NamedTuple):
    """Where a list's links begin and end: its first chunk, what its last one leads to, and its last
    one, None where nothing leads back.
    """

    first: int
    end: int
    last: int | None = None


class Sizes(NamedTuple):
    """Some chunks by size: their number, and their bytes that are absent, swapped and shared."""

    number: Counter[int]
    absent: Counter[int]
    swapped: Counter[int]
    shared: Counter[int]


class Content(NamedTuple):
    """What hangs in a list, all of which is known without following it."""

    sizes: Sizes
    address_sum: int

    @property
    def followed(self) -> Followed:
        """What following it would return."""
        number, *lost = self.sizes
        total = sum(size * count for size, count in number.items())
        absent, swapped, shared = (sum(each.values()) for each in lost)
        chunks, addresses = sum(number.values()), self.address_sum
        return Followed(chunks, total, absent, swapped, shared, addresses, ())


Chunks = Iterator[tuple[int, int]]  # address and size of each chunk of a list
# A chunk's address and size, and how many bytes of it are absent, swapped, and shared.
Visit = Callable[[int, int, int, int, int], None]


class Joiner(Protocol):
    """What may know of lists what hangs in them, without following them."""

    def join(self, ends: Ends) -> Content | None:
        """Return what hangs in a list; None where that must be followed."""


def follow(
    name: str,
    chunks: Callable[[], Chunks],
    limit: int,
    residency: Residency | None,
    trail: Trail,
    visit: Visit | None = None,
) -> Followed:
    """Fold a list; a list that is damaged, runs in a circle (Brent) or on and on ends there.

    `visit` gets each chunk's address and size, and how many bytes are absent, swapped and shared.
    """
    count = total = absent = swapped = shared = address_sum = mark = 0
    gone = out = common = 0
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
                gone, out, common = residency.missing(chunk, chunk + size)
                absent, swapped, shared = absent + gone, swapped + out, shared + common
            if visit:
                visit(chunk, size, gone, out, common)
            last = chunk
    except BrokenError as broken:
        problems = (broken.problem(trail, last),)
    except StoppedError as fault:  # a part of a list would look like the whole
        return NONE_FOLLOWED._replace(problems=(fault.problem(name),))
    except UnreadError as fault:
        problems = (fault.problem(name),)
    except MemoryFault:
        problems = (trail.blame("bad_link", f"{name} leads where nothing can be read", last),)
    return Followed(count, total, absent, swapped, shared, address_sum, problems)


def _closes(chunks: Callable[[], Chunks], length: int) -> int:
    """Return the chunk whose link closes a circle of so many chunks."""
    ahead = chunks()
    ((last, _),) = deque(islice(ahead, length), maxlen=1)
    for (behind, _), (chunk, _) in zip(chunks(), ahead):
        if behind == chunk:
            break
        last = chunk
    return last


def _wrong_size(name: str, chunk: int, size: int) -> BrokenError:
    statement = f"{name} leads to {chunk:#x}, whose size {size:#x} is none of its chunks'"
    return BrokenError("bad_size", statement, chunk)


def fast_list(name: str, layout: Layout, links: Links, head: int, size: int) -> Chunks:
    """Yield a fastbin's chunks with their size."""
    chunk = head
    while chunk:
        found, link, _ = links.chunk(chunk)
        if found & ~FLAGS != size:
            raise _wrong_size(name, chunk, found & ~FLAGS)
        yield chunk, size
        chunk = layout.reveal(link, chunk + layout.header)


def regular_list(
    name: str, layout: Layout, links: Links, head: BinHead, bounds: tuple[int, int | None]
) -> Chunks:
    """Yield a regular bin's chunks with their sizes; each must link back."""
    previous, chunk, pseudo, read = head.pseudo, head.fd, head.pseudo, links.chunk
    low, high = bounds
    while chunk != pseudo:
        size, following, back = read(chunk)
        size &= ~FLAGS
        if size < low or (high is not None and size > high):
            raise _wrong_size(name, chunk, size)
        if back != previous:
            raise _not_mutual(name, links, previous, chunk, back)
        yield chunk, size
        previous, chunk = chunk, following
    if head.bk != previous:
        statement = f"{name} ends behind {previous:#x}, though its last chunk is {head.bk:#x} by bk"
        raise BrokenError("bad_link", statement)


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
        found = links.word(chunk + SKIPS[which] * word)
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


def tcache_list(
    name: str, layout: Layout, links: Links, head: int, bounds: tuple[int, int | None]
) -> Chunks:
    """Yield a tcache bin's chunks with their sizes; its links lead to user memory."""
    user = head
    while user:
        chunk = user - layout.header
        size, link, _ = links.chunk(chunk)
        size &= ~FLAGS
        if size < bounds[0] or (bounds[1] is not None and size > bounds[1]):
            raise _wrong_size(name, chunk, size)
        yield chunk, size
        user = layout.reveal(link, user)
