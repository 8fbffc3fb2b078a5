"""Chunks with a mapping of their own: in no list, so they are looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from operator import eq
from typing import NamedTuple

from ..errors import MemoryFault, Problem
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout, align_down, align_up
from ..target.mappings import Mapping
from ..target.space import Space
from .holes import missing, next_touched

HUGE = 1  # 2.43: bit 0 of prev_size says that the mapping has huge pages
AT_ONCE = 1 << 20  # bytes read
BAD_MMAPPED = "bad_mmapped"
FEW, MOST_GAPS = 2, 500  # damaged chunks that are looked for, and the places tried


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


def find_mmapped(
    space: Space, layout: Layout, mappings: list[Mapping], number: int, total: int
) -> tuple[MmappedChunk, ...]:
    """Return the mmapped chunks in `mappings`: `number` of them, `total` bytes, if all goes well.

    First at page boundaries, where malloc and large alignments put them; then, if they are too few,
    anywhere in the pages that belong to none.
    """
    found: list[MmappedChunk] = []
    if not number:
        return ()
    for deep in (False, True):
        found = [c for m in mappings for c in _scan(space, layout, m, deep)]
        if are_all(found, number, total):
            break
    return tuple(found)


def are_all(found: Sequence[MmappedChunk], number: int, total: int) -> bool:
    """Tell whether these are the mmapped chunks that mp_ counts."""
    return len(found) == number and sum(chunk.mapping for chunk in found) == total


def find_damaged(
    space: Space,
    layout: Layout,
    mappings: list[Mapping],
    found: Sequence[MmappedChunk],
    number: int,
    total: int,
) -> list[tuple[MmappedChunk, Problem]]:
    """Return the chunks that are missing among those found, each with the problem that its header
    is damaged; [] where it isn't certain which they are.

    They are the gaps between the others that have the bytes that are missing, if there is only one
    choice. A header that is swapped out or can't be read isn't damaged.
    """
    lacking, size = number - len(found), total - sum(chunk.mapping for chunk in found)
    if not 0 < lacking <= FEW or size <= 0:
        return []
    gaps = [gap for gap in _gaps(mappings, found) if gap[1] - gap[0] <= size][:MOST_GAPS]
    choices = [c for c in combinations(gaps, lacking) if sum(e - s for s, e in c) == size]
    if len(choices) != 1:
        return []
    return [each for gap in choices[0] for each in _damaged(space, layout, *gap)]


def _gaps(mappings: list[Mapping], found: Sequence[MmappedChunk]) -> Iterator[tuple[int, int]]:
    """Yield the parts of the mappings that lie in no chunk."""
    for mapping in mappings:
        at = mapping.start
        for chunk in sorted(found, key=lambda chunk: chunk.start):
            if chunk.start in mapping:
                if at < chunk.start:
                    yield at, chunk.start
                at = chunk.end
        if at < mapping.end:
            yield at, mapping.end


def _damaged(
    space: Space, layout: Layout, start: int, end: int
) -> Iterator[tuple[MmappedChunk, Problem]]:
    """Yield the chunk whose mapping this is, with what is wrong."""
    address = layout.first_chunk(start)
    try:
        prev_size, word = space.words(address, 2)
    except MemoryFault:
        return
    chunk = MmappedChunk(address, end - address - layout.mmap_header, start, end)
    statement = (
        f"mmapped chunk {address:#x} has prev_size {prev_size:#x} and the size word {word:#x}; by "
        f"glibc's count its mapping has {end - start:,} bytes"
    )
    yield chunk, Problem(BAD_MMAPPED, statement, address)


def _scan(space: Space, layout: Layout, mapping: Mapping, deep: bool) -> Iterator[MmappedChunk]:
    """Yield the chunks in one mapping of the kernel, which may be several of malloc's."""
    address = free_from = mapping.start
    while (address := _touched(space, address, mapping)) < mapping.end:
        size = min(AT_ONCE, mapping.end - address)
        if missing(space.residency, address, address + size)[1]:
            size = space.page  # reading brings swapped pages back
        words = _readable_words(space, address, size)
        chunk = _first(space, layout, words, address, free_from, mapping.end, deep)
        if chunk:
            yield _aligned(space, layout, chunk)
            address = free_from = chunk.end
        else:
            address += size


def _touched(space: Space, address: int, mapping: Mapping) -> int:
    """Return where the next page of a mapping is that may hold a header: someone has written it."""
    return next_touched(space.residency, space.page, address, mapping.end)


def _readable_words(space: Space, address: int, size: int) -> Sequence[int]:
    """Return the words of a block; zeros where a page can't be read, such as a stack's guard."""
    try:
        return space.words(address, size // space.word)
    except MemoryFault:
        words: list[int] = []
        for page in range(address, address + size, space.page):
            count = min(space.page, address + size - page) // space.word
            try:
                words += space.words(page, count)
            except MemoryFault:
                words += [0] * count
        return words


def _first(
    space: Space,
    layout: Layout,
    words: Sequence[int],
    base: int,
    free_from: int,
    limit: int,
    deep: bool,
) -> MmappedChunk | None:
    """Return the first chunk whose header is in this block."""
    page = space.page // space.word
    for index in range(0, len(words), page):
        at = base + index * space.word
        aligned = layout.header // space.word
        candidates = [layout.first_chunk(at) - at, space.page - layout.header]
        if deep:
            prev_sizes = words[index : index + page : aligned]
            offsets = range(0, space.page, layout.header)
            same = map(eq, prev_sizes, offsets)
            candidates += [o for o, hit in zip(offsets, same) if hit]
        for offset in sorted(set(candidates)):
            where = index + offset // space.word
            if where + 1 >= len(words) or words[where + 1] & FLAGS != IS_MMAPPED:
                continue
            chunk = _chunk(space, layout, at + offset, words[where], words[where + 1])
            begin = align_down(free_from, space.page)
            if chunk and begin <= chunk.start and chunk.end <= limit:
                return chunk
    return None


def _aligned(space: Space, layout: Layout, chunk: MmappedChunk) -> MmappedChunk:
    """Return the chunk that an aligned allocation made of another one, in the same mapping; that
    one itself without any.

    The first header stays where it was. The second one lies before an address that is aligned, and
    at least MINSIZE behind the first (malloc.c, _int_memalign).
    """
    alignment = 2 * layout.alignment
    while chunk.address + alignment < chunk.end:
        user = align_up(chunk.address + layout.header, alignment)
        for address in (user - layout.header, user - layout.header + alignment):
            if chunk.address < address and address + layout.header < chunk.end:
                try:
                    found = _chunk(space, layout, address, *space.words(address, 2))
                except MemoryFault:
                    continue
                if found and (found.start, found.end) == (chunk.start, chunk.end):
                    return found
        alignment *= 2
    return chunk


def _chunk(
    space: Space, layout: Layout, address: int, prev_size: int, size: int
) -> MmappedChunk | None:
    """Return the chunk that this header describes, None if it can't be one.

    To 2.42 prev_size + size is the mapping; from 2.43 (614cfd0f8a) the header is not in `size`.
    """
    offset = prev_size & ~HUGE if layout.mmap_header else prev_size
    total = offset + (size & ~FLAGS) + layout.mmap_header
    if size & FLAGS != IS_MMAPPED or not size & ~FLAGS:
        return None
    if (address - offset) % space.page or total % space.page:
        return None
    start = address - offset
    return MmappedChunk(address, size & ~FLAGS, start, start + total)
