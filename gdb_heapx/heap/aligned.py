"""The header that an aligned allocation puts into the mapping of a chunk."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.layout import Layout, align_up
from ..target.space import Space
from .mmapped import AT_ONCE, HUGE, MANY_PAGES, MmappedChunk, MmappedChunks, chunk_of, read_block


def with_headers(
    space: Space, layout: Layout, found: MmappedChunks, damaged: Container[object]
) -> MmappedChunks:
    """Return the chunks, each with the header that belongs to what malloc returned.

    The first header of a mapping stays where it was. One that is `damaged` is the only one.
    """
    addresses, near = array("Q"), dict[int, _Near]()
    for chunk, head in zip(found, _heads(space, found)):
        lead, second = chunk.address - chunk.start, None
        if lead not in near:
            near[lead] = _near(layout, space.page, lead)
        if chunk.address not in damaged:
            second = _second(space, layout, chunk, head, near[lead])
        addresses.append(chunk.address if second is None else second)
    return replace(found, addresses=addresses)


class _Near(NamedTuple):
    """Where in the first page of a mapping an aligned chunk may have its header, and the least
    alignment with which it lies behind that page.
    """

    offsets: tuple[int, ...]
    beyond: int


def _near(layout: Layout, page: int, lead: int) -> _Near:
    """Return this for mappings whose first header is so far from their beginning."""
    offsets, alignment = list[int](), 2 * layout.alignment
    while (offset := _aligned(layout, lead, alignment)) + layout.header <= page:
        offsets.append(offset)
        alignment *= 2
    return _Near(tuple(dict.fromkeys(offsets)), alignment)


def _aligned(layout: Layout, address: int, alignment: int) -> int:
    """Return where a header lies in the chunk at `address`: before the first address that is
    aligned, and at least MINSIZE behind the first one (malloc.c, _int_memalign).
    """
    found = align_up(address + layout.header, alignment) - layout.header
    return found if found - address >= layout.min_size else found + alignment


def _second(
    space: Space, layout: Layout, chunk: MmappedChunk, head: Sequence[int], near: _Near
) -> int | None:
    """Return where the second header of a mapping lies, None without one."""
    keep = ~HUGE if layout.mmap_header else ~0  # as chunk_of
    for offset in near.offsets:
        at = offset // space.word
        if head[at] & keep == offset and _is_same(
            chunk, chunk_of(space, layout, chunk.start + offset, head[at], head[at + 1])
        ):
            return chunk.start + offset
    alignment = near.beyond
    while chunk.address + alignment < chunk.end:
        address = _aligned(layout, chunk.address, alignment)
        alignment *= 2
        if address + layout.header >= chunk.end:
            continue
        try:
            words = space.words(address, 2)
        except MemoryFault:
            continue
        if _is_same(chunk, chunk_of(space, layout, address, *words)):
            return address
    return None


def _is_same(chunk: MmappedChunk, other: MmappedChunk | None) -> bool:
    """Tell whether two chunks have the same mapping."""
    return other is not None and (other.start, other.end) == (chunk.start, chunk.end)


def _heads(space: Space, found: MmappedChunks) -> Iterator[Sequence[int]]:
    """Yield the words of each mapping's first page; of small ones side by side they are read at
    once.
    """
    page, word = space.page, space.word
    starts, ends = found.starts, found.ends
    words: Sequence[int] = ()
    begin = 0
    for index, start in enumerate(starts):
        if start + page > begin + len(words) * word:
            stop = index
            while (
                stop + 1 < len(starts)
                and starts[stop + 1] == ends[stop] < start + AT_ONCE
                and ends[stop] - starts[stop] < MANY_PAGES * page
            ):
                stop += 1
            begin, words = start, read_block(space, start, starts[stop] + page - start)
        at = (start - begin) // word
        yield words[at : at + page // word]
