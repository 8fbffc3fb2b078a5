"""Chunks with a mapping of their own: in no list, so they are looked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from operator import attrgetter, eq, ne
from typing import NamedTuple

from ..errors import MemoryFault, StoppedError
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout, align_down, align_up
from ..target.mappings import Mapping, merged
from ..target.pages import SWAPPED
from ..target.space import Space
from .holes import next_touched

HUGE = 1  # 2.43: bit 0 of prev_size says that the mapping has huge pages
AT_ONCE = 1 << 20  # bytes read
MANY_PAGES = 16  # of a chunk: only the page behind it is read then


class MmappedChunk(NamedTuple):
    """One chunk: its header's address, its size, and where its whole mapping begins and ends."""

    address: int
    size: int
    start: int
    end: int

    @property
    def mapping(self) -> int:
        """Bytes of the whole mapping."""
        return self.end - self.start


class Stretch(NamedTuple):
    """Memory that headers may lie in, and up to where their chunks may reach."""

    start: int
    end: int
    limit: int

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.start <= address < self.end


def stretches(mappings: Iterable[Mapping]) -> list[Stretch]:
    """Return anonymous mappings as stretches: those side by side are one.

    The kernel cuts a mapping of malloc's where a part of it is to be treated otherwise (madvise,
    mlock, mbind, a name), and merges neighbours. A part that can't be read (mprotect) holds no
    header, but belongs to the chunk around it.
    """
    parts = list(mappings)
    walls = iter(merged((part.start, part.end) for part in parts))
    found: list[Stretch] = []
    limit = 0
    for start, end in merged((p.start, p.end) for p in parts if p.permissions.startswith("r")):
        while limit < end:
            _, limit = next(walls)
        found.append(Stretch(start, end, limit))
    return found


def side_by_side(chunks: Sequence[MmappedChunk]) -> list[tuple[int, int]]:
    """Return where the mappings of chunks lie, these in order, those side by side as one."""
    starts, ends = ([*map(attrgetter(name), chunks)] for name in ("start", "end"))
    apart = [True, *map(ne, ends, starts[1:]), True]
    return merged(zip(compress(starts, apart), compress(ends, apart[1:])))


def find_mmapped(
    space: Space, layout: Layout, places: Sequence[Stretch], number: int, total: int
) -> list[MmappedChunk]:
    """Return the mmapped chunks in these places: `number` of them, `total` bytes, if all goes well.

    First where mappings begin, since malloc puts a header there, aligned or not; then, if they are
    too few, anywhere in the pages that belong to none.
    """
    if not number:
        return []
    found, at = list[MmappedChunk](), 0
    places = [_whole_pages(place, space.page) for place in places]
    for place in places:
        found += _scan(space, layout, place._replace(start=max(place.start, at)))
        at = found[-1].end if found else at
    if len(found) < number and sum(chunk.mapping for chunk in found) < total:
        rest = [s for place in places for s in gaps(place, found)]
        found += [chunk for place in rest for chunk in _scan_deep(space, layout, place)]
        found.sort()
    return found


def _whole_pages(place: Stretch, page: int) -> Stretch:
    """Return a stretch without parts of pages, which a core has that is damaged."""
    start = align_up(place.start, page)
    return place._replace(start=start, end=max(align_down(place.end, page), start))


def gaps(place: Stretch, found: Sequence[MmappedChunk]) -> Iterator[Stretch]:
    """Yield the parts of a stretch that lie in no chunk; these are in order."""
    at = place.start
    low, high = 0, len(found)
    while low < high:  # bisect's key is Python 3.10's
        middle = (low + high) // 2
        low, high = (low, middle) if found[middle].end > at else (middle + 1, high)
    while low < len(found) and found[low].start < place.end:
        chunk = found[low]
        if at < chunk.start:
            yield Stretch(at, chunk.start, chunk.start)
        at, low = chunk.end, low + 1
    if at < place.end:
        limit = found[low].start if low < len(found) else place.limit
        yield Stretch(at, place.end, min(place.limit, limit))


def _scan(space: Space, layout: Layout, place: Stretch) -> Iterator[MmappedChunk]:
    """Yield the chunks of a stretch whose headers are where their mappings begin.

    A block is read once. Behind a large chunk it is a page; it grows as long as there is none.
    """
    page, lead = space.page, layout.first_chunk(place.start) - place.start
    first, step = lead // space.word, space.page // space.word
    own, keep = layout.mmap_header, ~HUGE if layout.mmap_header else ~0  # as chunk_of
    address = next_touched(space.residency, page, place.start, place.end)
    at_once = page
    while address < place.end:
        words = _block(space, address, min(at_once, place.end - address))
        prev_sizes, sizes = words[first::step], words[first + 1 :: step]
        index = large = 0
        while index < len(sizes):
            size = sizes[index]
            if size & FLAGS != IS_MMAPPED or size <= FLAGS or prev_sizes[index] & keep != lead:
                index += 1
                continue
            begin = address + index * page
            end = begin + lead + size - IS_MMAPPED + own
            if end % page or end > place.limit:
                index += 1
                continue
            large = (end - begin) // page
            index += large
            yield MmappedChunk(begin + lead, size - IS_MMAPPED, begin, end)
        address += index * page
        at_once = page if large >= MANY_PAGES else min(4 * at_once, AT_ONCE)
        if at_once > page:  # what nobody has touched has no header
            address = next_touched(space.residency, page, address, place.end)


def _scan_deep(space: Space, layout: Layout, place: Stretch) -> Iterator[MmappedChunk]:
    """Yield the chunks of a stretch whose headers lie anywhere in its pages."""
    page, address, free_from = space.page, place.start, place.start
    while (address := next_touched(space.residency, page, address, place.end)) < place.end:
        words = _block(space, address, min(AT_ONCE, place.end - address))
        end = address + len(words) * space.word
        while address < end:
            here = words[len(words) - (end - address) // space.word :][: page // space.word]
            found = _in_page(space, layout, here, address)
            fits = (c for c in found if free_from <= c.start and c.end <= place.limit)
            chunk = next(fits, None)
            if chunk:
                yield chunk
                free_from = chunk.end
            address = chunk.end if chunk else address + page


def _in_page(
    space: Space, layout: Layout, words: Sequence[int], address: int
) -> Iterator[MmappedChunk]:
    """Yield what may be a chunk whose header is in this page: in the mapping's first one, or right
    before the next page, where an aligned chunk has it.
    """
    offsets = range(0, space.page, layout.header)
    same = map(eq, words[:: layout.header // space.word], offsets)
    likely = {offset for offset, hit in zip(offsets, same) if hit}
    for offset in sorted(likely | {space.page - layout.header}):
        where = offset // space.word
        chunk = chunk_of(space, layout, address + offset, words[where], words[where + 1])
        if chunk:
            yield chunk


def _block(space: Space, address: int, size: int) -> Sequence[int]:
    """Return the words of a block, but not more than a page where pages are swapped out, since
    reading brings them back; zeros where a page can't be read, such as a stack's guard.
    """
    states = space.residency.states(address, address + size) if space.residency else b""
    size = space.page if SWAPPED in states else size
    try:
        return space.words(address, size // space.word)
    except StoppedError:
        raise
    except MemoryFault:
        words: list[int] = []
        for page in range(address, address + size, space.page):
            count = min(space.page, address + size - page) // space.word
            try:
                words += space.words(page, count)
            except MemoryFault:
                words += [0] * count
        return words


def with_header(space: Space, layout: Layout, chunk: MmappedChunk) -> MmappedChunk:
    """Return the chunk that an aligned allocation made of another one, in the same mapping; that
    one itself without any.

    The first header stays where it was. The second one lies before the first address that is
    aligned, and at least MINSIZE behind the first (malloc.c, _int_memalign).
    """
    alignment = 2 * layout.alignment
    tried: set[int] = set()
    head = _block(space, chunk.start, space.page)
    while chunk.address + alignment < chunk.end:
        address = align_up(chunk.address + layout.header, alignment) - layout.header
        if address - chunk.address < layout.min_size:
            address += alignment
        alignment *= 2
        if address in tried or address + layout.header >= chunk.end:
            continue
        tried.add(address)
        at = (address - chunk.start) // space.word
        try:
            prev_size, size = head[at : at + 2] if at < len(head) else space.words(address, 2)
        except MemoryFault:
            continue
        found = chunk_of(space, layout, address, prev_size, size)
        if found and (found.start, found.end) == (chunk.start, chunk.end):
            return found
    return chunk


def chunk_of(
    space: Space, layout: Layout, address: int, prev_size: int, size: int
) -> MmappedChunk | None:
    """Return the chunk that this header describes, None if it can't be one.

    To 2.42 prev_size + size is the mapping; from 2.43 (614cfd0f8a) the header is not in `size`.
    """
    if size & FLAGS != IS_MMAPPED or size <= FLAGS:
        return None
    page, own = space.page, layout.mmap_header
    offset = prev_size & ~HUGE if own else prev_size
    start, size = address - offset, size - IS_MMAPPED
    end = address + size + own
    if start % page or end % page or start < 0:
        return None
    return MmappedChunk(address, size, start, end)
