"""The free lists: the bins of arenas, and the thread caches."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from .arenas import Arena
from .errors import MemoryFault, Problem
from .layout import FLAGS, LAST_BIN, NSMALLBINS, UNSORTED, Layout
from .nptl import Block
from .target import Record, Target

BUCKET = 20  # an overlay's chunks are kept by 2 ** BUCKET bytes of address space
TCACHE_LIMIT = 1 << 16  # a tcache counts in 16 bits


class BinKind(Enum):
    """The kinds of free lists, in the order in which malloc looks at them."""

    TCACHE = "tcache"
    FAST = "fast"
    UNSORTED = "unsorted"
    SMALL = "small"
    LARGE = "large"


BINNED = (BinKind.UNSORTED, BinKind.SMALL, BinKind.LARGE)


@dataclass(frozen=True)
class Bin:
    """One free list that isn't empty. `max_size` None: no upper limit."""

    kind: BinKind
    index: int
    min_size: int
    max_size: int | None
    chunks: int
    bytes: int


@dataclass(frozen=True)
class ArenaBins:
    """One arena's bins that hold chunks. `address_sum` is over the chunks of the regular bins."""

    bins: tuple[Bin, ...]
    address_sum: int
    problems: tuple[Problem, ...]

    def joined(self, other: ArenaBins) -> ArenaBins:
        """Return these bins and then the other ones."""
        return ArenaBins(
            self.bins + other.bins,
            self.address_sum + other.address_sum,
            self.problems + other.problems,
        )

    def chunks(self, *kinds: BinKind) -> int:
        """Return how many chunks the bins of these kinds hold."""
        return sum(b.chunks for b in self.bins if b.kind in kinds)

    def bytes(self, *kinds: BinKind) -> int:
        """Return how many bytes the bins of these kinds hold."""
        return sum(b.bytes for b in self.bins if b.kind in kinds)


@dataclass(frozen=True)
class Tcache:
    """One thread's cache. `address` is its struct's, `stored` what its counters claim."""

    lwp: int
    address: int
    bins: tuple[Bin, ...]
    stored: int
    problems: tuple[Problem, ...]

    @property
    def chunks(self) -> int:
        return sum(b.chunks for b in self.bins)


class FreeChunks(NamedTuple):
    """All chunks that a walk found free in an arena: by size, and sums of addresses and links."""

    sizes: Counter[int]
    address_sum: int
    fd_sum: int
    bk_sum: int


class Links:
    """Words of the target, read page by page and kept for a while, for following lists."""

    CAPACITY = 4096  # pages

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pages: dict[int, Sequence[int]] = {}

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        words, index = self._at(address)
        return words[index]

    def chunk(self, address: int) -> Sequence[int]:
        """Return a chunk's first four words: prev_size, size, fd and bk."""
        words, index = self._at(address)
        if index + 4 <= len(words):
            return words[index : index + 4]
        return [self.word(address + i * self._target.word) for i in range(4)]

    def _at(self, address: int) -> tuple[Sequence[int], int]:
        """Return the words of the page that holds `address`, and the word's index there."""
        offset = address % self._target.page
        words = self._pages.get(address - offset)
        if words is None:
            try:
                words = self._load(address - offset)
            except MemoryFault:
                raise MemoryFault(address, self._target.word) from None
        if offset % self._target.word:
            raise MemoryFault(address, self._target.word)
        return words, offset // self._target.word

    def _load(self, page: int) -> Sequence[int]:
        if len(self._pages) >= self.CAPACITY:
            self._pages.clear()
        words = self._target.words(page, self._target.page // self._target.word)
        self._pages[page] = words
        return words


@dataclass
class Overlay:
    """Chunks that look in use and aren't the program's: in a tcache or fastbin, or a tcache itself.

    Four bytes a chunk; the walk meets them again where they must lie.
    """

    _buckets: dict[int, array[int]] = field(default_factory=dict)

    def add(self, chunk: int, size: int = 0) -> None:
        bucket = self._buckets.get(chunk >> BUCKET)
        if bucket is None:
            bucket = self._buckets[chunk >> BUCKET] = array("I")
        bucket.append(chunk & (1 << BUCKET) - 1)

    def within(self, block: int) -> frozenset[int]:
        """Return the chunks in the 2 ** BUCKET bytes from `block` on."""
        return frozenset(map(block.__add__, self._buckets.get(block >> BUCKET, ())))


class _BrokenError(Exception):
    """A list can't be followed further."""

    def __init__(self, code: str, statement: str, address: int) -> None:
        super().__init__(statement)
        self.problem = Problem(code, statement, address)


class _Followed(NamedTuple):
    """What a list held as far as it could be followed."""

    chunks: int
    bytes: int
    address_sum: int
    problems: tuple[Problem, ...]


_Chunks = Iterator[tuple[int, int]]  # address and size of each chunk of a list


def _follow(
    name: str, chunks: _Chunks, limit: int, visit: Callable[[int, int], None] | None = None
) -> _Followed:
    """Fold a list; a list that is damaged, runs in a circle (Brent) or on and on ends there."""
    count = total = address_sum = mark = 0
    power = 1
    problems: tuple[Problem, ...] = ()
    try:
        for chunk, size in chunks:
            if chunk == mark:
                raise _BrokenError("list_cycle", f"{name} runs in a circle at {chunk:#x}", chunk)
            if count == limit:
                raise _BrokenError("list_too_long", f"{name} has over {limit:,} chunks", chunk)
            count, total, address_sum = count + 1, total + size, address_sum + chunk
            if count == power:
                mark, power = chunk, power * 2
            if visit:
                visit(chunk, size)
    except _BrokenError as broken:
        problems = (broken.problem,)
    except MemoryFault as fault:
        statement = f"{name} leads to {fault.address:#x}, which cannot be read"
        problems = (Problem("bad_link", statement, fault.address),)
    return _Followed(count, total, address_sum, problems)


def _check_size(name: str, chunk: int, size: int, low: int, high: int | None) -> None:
    if size < low or (high is not None and size > high):
        raise _BrokenError("bad_size", f"{name}: chunk {chunk:#x} has size {size:#x}", chunk)


def _fast_list(name: str, layout: Layout, links: Links, head: int, size: int) -> _Chunks:
    chunk = head
    while chunk:
        _, found, link, _ = links.chunk(chunk)
        _check_size(name, chunk, found & ~FLAGS, size, size)
        yield chunk, size
        chunk = layout.reveal(link, chunk + layout.header)


def _regular_list(
    name: str, layout: Layout, links: Links, head: _Head, bounds: tuple[int, int | None]
) -> _Chunks:
    previous, chunk = head.pseudo, head.fd
    while chunk != head.pseudo:
        _, size, following, back = links.chunk(chunk)
        size &= ~FLAGS
        _check_size(name, chunk, size, *bounds)
        if back != previous:
            statement = f"{name}: chunk {chunk:#x} does not link back to {previous:#x}"
            raise _BrokenError("bad_link", statement, chunk)
        yield chunk, size
        previous, chunk = chunk, following


def _tcache_list(
    name: str, layout: Layout, links: Links, head: int, bounds: tuple[int, int | None]
) -> _Chunks:
    user = head
    while user:
        chunk = user - layout.header
        size = links.word(chunk + layout.word) & ~FLAGS
        _check_size(name, chunk, size, *bounds)
        yield chunk, size
        user = layout.reveal(links.word(user), user)


def read_fast(
    target: Target, layout: Layout, arena: Arena, links: Links, overlay: Overlay
) -> ArenaBins:
    """Return an arena's fastbins; their chunks are added to `overlay`."""
    bins: list[Bin] = []
    problems: list[Problem] = []
    heads = arena.record.array("fastbinsY", target.word) if layout.has_fastbins else ()
    for index, head in enumerate(heads):
        if head:
            size, name = layout.fast_size(index), f"fastbin {index}"
            chunks = _fast_list(name, layout, links, head, size)
            followed = _follow(name, chunks, arena.system // layout.min_size + 1, overlay.add)
            bins.append(Bin(BinKind.FAST, index, size, size, followed.chunks, followed.bytes))
            problems += followed.problems
    return _bins_of(arena, bins, 0, problems)


@dataclass(frozen=True)
class _Head:
    """A regular bin that isn't empty: its pseudo-chunk's address and its links."""

    index: int
    pseudo: int
    fd: int
    bk: int


def _heads(target: Target, layout: Layout, arena: Arena) -> list[_Head]:
    links = arena.record.array("bins", target.word)
    first = arena.record.address_of("bins") - layout.header
    heads = [
        _Head(index, first + 2 * (index - 1) * target.word, *links[2 * index - 2 : 2 * index])
        for index in range(UNSORTED, LAST_BIN + 1)
    ]
    return [head for head in heads if head.fd not in (head.pseudo, 0)]  # 0: never initialised


def read_regular(
    target: Target, layout: Layout, arena: Arena, links: Links, free: FreeChunks | None
) -> ArenaBins:
    """Return an arena's unsorted, small and large bins.

    `free` is what a walk found free. If all of it hangs in closed lists, only the shorter of the
    unsorted list and the sorted ones is followed, and the other is the rest; following a list costs
    a read per chunk. Otherwise every list is followed, and shows where it breaks.
    """
    heads = _heads(target, layout, arena)
    limit = arena.system // layout.min_size + 1
    if free is not None and _closed(heads, free, target.word):
        sizes = _unsorted_sizes(layout, links, heads, free, limit)
        derived = _derive(layout, heads, free, sizes) if sizes is not None else None
        if derived is not None:
            return _bins_of(arena, derived, free.address_sum, [])
    bins: list[Bin] = []
    problems: list[Problem] = []
    address_sum = 0
    for head in heads:
        kind, bounds = _kind(head.index), layout.bin_range(head.index)
        name = f"{kind.value} bin {head.index}"
        followed = _follow(name, _regular_list(name, layout, links, head, bounds), limit)
        bins.append(Bin(kind, head.index, *bounds, followed.chunks, followed.bytes))
        address_sum += followed.address_sum
        problems += followed.problems
    return _bins_of(arena, bins, address_sum, problems)


def _bins_of(arena: Arena, bins: list[Bin], address_sum: int, problems: list[Problem]) -> ArenaBins:
    located = tuple(replace(problem, arena=arena.index) for problem in problems)
    return ArenaBins(tuple(b for b in bins if b.chunks), address_sum, located)


def _closed(heads: list[_Head], free: FreeChunks, word: int) -> bool:
    """Tell whether the links of all free chunks and bins lead to all free chunks and bins.

    In circular lists each member is some member's fd once and some member's bk once, so the sums
    agree; a link that leads elsewhere, or to a chunk in use, makes them differ.
    """
    members = free.address_sum + sum(head.pseudo for head in heads)
    fds = free.fd_sum + sum(head.fd for head in heads)
    bks = free.bk_sum + sum(head.bk for head in heads)
    return (members - fds) % (1 << 8 * word) == 0 == (members - bks) % (1 << 8 * word)


def _unsorted_sizes(
    layout: Layout, links: Links, heads: list[_Head], free: FreeChunks, limit: int
) -> Counter[int] | None:
    """Return the unsorted chunks by size; None where a list can't be followed to its end.

    The unsorted list and the sorted ones are followed in turn until one of the two ends.
    """
    unsorted = [head for head in heads if head.index == UNSORTED]
    sorted_ = [head for head in heads if head.index != UNSORTED]
    sides = [_sizes_of(layout, links, side) for side in (unsorted, sorted_)]
    found: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    try:
        for _ in range(limit):
            for side, sizes, counts in zip((0, 1), sides, found):
                size = next(sizes, None)
                if size is None:
                    return counts if side == 0 else free.sizes - counts
                counts[size] += 1
    except (_BrokenError, MemoryFault):
        pass
    return None


def _sizes_of(layout: Layout, links: Links, heads: list[_Head]) -> Iterator[int]:
    for head in heads:
        bounds = layout.bin_range(head.index)
        for _, size in _regular_list("", layout, links, head, bounds):
            yield size


def _derive(
    layout: Layout, heads: list[_Head], free: FreeChunks, unsorted: Counter[int]
) -> list[Bin] | None:
    """Return the bins that the free chunks make; None if they aren't the bins that have a list."""
    counts: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    for size, number in free.sizes.items():
        index = layout.bin_index(size)
        for where, part in ((UNSORTED, unsorted[size]), (index, number - unsorted[size])):
            if part < 0:
                return None
            counts[where] += part
            totals[where] += part * size
    if {index for index, number in counts.items() if number} != {head.index for head in heads}:
        return None
    return [
        Bin(_kind(i), i, *layout.bin_range(i), counts[i], totals[i])
        for i in sorted(head.index for head in heads)
    ]


def _kind(index: int) -> BinKind:
    if index == UNSORTED:
        return BinKind.UNSORTED
    return BinKind.SMALL if index < NSMALLBINS else BinKind.LARGE


def read_tcache(
    target: Target,
    layout: Layout,
    block: Block,
    address: int,
    fill: int,
    links: Links,
    visit: Callable[[int, int], None],
) -> Tcache:
    """Return the tcache at `address`; `visit` gets address and size of each cached chunk.

    `fill` is mp_.tcache_count: from 2.42 the counters count down from it.
    """
    assert layout.tcache is not None
    record = target.read_struct(layout.tcache, address)
    heads = record.array("entries", target.word)
    bins: list[Bin] = []
    problems: list[Problem] = []
    stored = _stored(record, len(heads), fill)
    for index, (head, claimed) in enumerate(zip(heads, stored)):
        bounds = layout.tcache_range(index)
        name = f"tcache bin {index} of thread {block.lwp}"
        chunks = _tcache_list(name, layout, links, head, bounds)
        followed = _follow(name, chunks, TCACHE_LIMIT, visit)
        if followed.chunks:
            bins.append(Bin(BinKind.TCACHE, index, *bounds, followed.chunks, followed.bytes))
        problems += followed.problems
        if followed.chunks != claimed and not followed.problems:
            statement = f"{name} counts {claimed} chunks, its list holds {followed.chunks}"
            problems.append(Problem("tcache_count", statement, address))
    return Tcache(block.lwp, address, tuple(bins), sum(stored), tuple(problems))


def _stored(record: Record, bins: int, fill: int) -> list[int]:
    """Return how many chunks the tcache's own counters claim, by bin."""
    if "num_slots" in record.struct:
        size = record.struct["num_slots"].size // bins
        return [max(fill - slots, 0) for slots in record.array("num_slots", size)]
    return list(record.array("counts", record.struct["counts"].size // bins))
