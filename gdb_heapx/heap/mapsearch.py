"""Where mmapped chunks are: in no list, so they are looked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import eq
from typing import NamedTuple

from ..glibc.layout import FLAGS, IS_MMAPPED, Layout, align_down, align_up
from ..target.mappings import Mapping, merged
from ..target.space import Space
from .holes import next_touched
from .mmapped import (
    AT_ONCE,
    HUGE,
    MANY_PAGES,
    MmappedChunk,
    MmappedChunks,
    chunk_of,
    read_block,
)


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


def find_mmapped(
    space: Space, layout: Layout, places: Sequence[Stretch], number: int, total: int
) -> MmappedChunks:
    """Return the mmapped chunks in these places: `number` of them, `total` bytes, if all goes well.

    First where mappings begin, since malloc puts a header there, aligned or not; then, if they are
    too few, anywhere in the pages that belong to none.
    """
    found = MmappedChunks(layout.mmap_header)
    places = [_whole_pages(place, space.page) for place in places]
    for place in places:
        at = found.ends[-1] if found else 0
        _scan(space, layout, place._replace(start=max(place.start, at)), found)
    if len(found) < number and found.mapped < total:
        rest = [s for place in places for s in gaps(place, found)]
        more = (chunk for place in rest for chunk in _scan_deep(space, layout, place))
        found = MmappedChunks.of(found.own, merge(found, more))
    return found


def _whole_pages(place: Stretch, page: int) -> Stretch:
    """Return a stretch without parts of pages, which a core has that is damaged."""
    start = align_up(place.start, page)
    return place._replace(start=start, end=max(align_down(place.end, page), start))


def gaps(place: Stretch, found: MmappedChunks) -> Iterator[Stretch]:
    """Yield the parts of a stretch that lie in no chunk."""
    at, index = place.start, bisect_right(found.ends, place.start)
    while index < len(found) and found.starts[index] < place.end:
        if at < found.starts[index]:
            yield Stretch(at, found.starts[index], found.starts[index])
        at, index = found.ends[index], index + 1
    if at < place.end:
        limit = found.starts[index] if index < len(found) else place.limit
        yield Stretch(at, place.end, min(place.limit, limit))


def _scan(space: Space, layout: Layout, place: Stretch, found: MmappedChunks) -> None:
    """Add the chunks of a stretch whose headers are where their mappings begin.

    A block is read once. Behind a large chunk it is a page; it grows as long as there is none.
    """
    page, lead = space.page, layout.first_chunk(place.start) - place.start
    first, step = lead // space.word, space.page // space.word
    own, keep = found.own, ~HUGE if found.own else ~0  # as chunk_of
    address = next_touched(space.residency, page, place.start, place.end)
    at_once = page
    while address < place.end:
        words = read_block(space, address, min(at_once, place.end - address))
        prev_sizes, sizes = list(words[first::step]), list(words[first + 1 :: step])
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
            found.addresses.append(begin + lead)
            found.starts.append(begin)
            found.ends.append(end)
        address += index * page
        at_once = page if large >= MANY_PAGES else min(4 * at_once, AT_ONCE)
        if at_once > page:  # what nobody has touched has no header
            address = next_touched(space.residency, page, address, place.end)


def _scan_deep(space: Space, layout: Layout, place: Stretch) -> Iterator[MmappedChunk]:
    """Yield the chunks of a stretch whose headers lie anywhere in its pages."""
    page, address, free_from = space.page, place.start, place.start
    while (address := next_touched(space.residency, page, address, place.end)) < place.end:
        words = read_block(space, address, min(AT_ONCE, place.end - address))
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
