"""Memory that runtimes map and divide by themselves, told by the headers that they put into it.

Only headers are read, and only where their pages are in memory. Where there is more than can be
looked at, every so many are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from ..errors import MemoryFault
from ..glibc.layout import align_up
from ..target.images import Image
from ..target.mappings import Mapping
from ..target.pages import IN_RAM
from ..target.space import Space

Spans = Iterator[tuple[int, int]]
Finder = Callable[[Space, Image, Sequence[Mapping]], Spans]

MOST_HEADERS = 1 << 15  # looked at in one search

# CPython, Objects/obmalloc.c: an arena is a mapping that is cut into pools. From 3.10 these have
# 16 KiB, and arenas 1 MiB; before, and on 32-bit, 4 KiB and 256 KiB.
POOLS = {1 << 14: 1 << 20, 1 << 12: 256 << 10}
POOL_HEADERS = {8: struct.Struct("I4xQQQIIII"), 4: struct.Struct("IIIIIIII")}
LARGEST_REQUEST = 512  # SMALL_REQUEST_THRESHOLD

ZEND_CHUNK = 2 << 20  # ZEND_MM_CHUNK_SIZE, Zend/zend_alloc.c
RUBY_PAGE = 64 << 10  # HEAP_PAGE_ALIGN, gc.c
V8_PAGE = 256 << 10  # kPageSizeBits, src/base/build_config.h
GO_ARENAS = (0xC0 << 32, 1 << 40)  # the first hint of mallocinit, runtime/malloc.go


def pymalloc_arenas(space: Space, _image: Image, mappings: Sequence[Mapping]) -> Spans:
    """Yield the arenas of CPython's pymalloc, by the headers of their pools."""
    sizes = (
        size
        for mapping in mappings
        for at in _headers(space, mapping, max(POOLS), _stride(mappings, max(POOLS)))
        if (size := _pool_size(space, at))
    )
    pool = next(sizes, 0)
    if not pool:
        return
    stride = min(_stride(mappings, pool), POOLS[pool])
    for mapping in mappings:
        found = (
            (at, _is(_pool_size(space, at), pool)) for at in _headers(space, mapping, pool, stride)
        )
        yield from _with_edges(mapping, _runs(found, stride), pool)


def _is(found: int | None, wanted: int) -> bool | None:
    return None if found is None else found == wanted


def _pool_size(space: Space, address: int) -> int | None:
    """Return the size of the pool that begins at an address, 0 if none does; None where it can't be
    told: nothing was written there yet.
    """
    header = POOL_HEADERS[space.word]
    data = _read(space, address, header.size)
    if data is None or not any(data):
        return None
    order = "<" if space.byteorder == "little" else ">"
    fields = struct.unpack(order + header.format, data)
    count, free, _next, _previous, _arena, index, offset, last = fields
    room = align_up(header.size, 16)  # POOL_OVERHEAD
    for alignment in (16, 8):  # ALIGNMENT: 8 before 3.7 and on 32-bit
        size = (index + 1) * alignment
        pool: int = last + size
        if (
            size <= LARGEST_REQUEST
            and pool in POOLS
            and count <= (pool - room) // size
            and room <= offset <= pool
            and not (offset - room) % size
            and (not free or address < free < address + pool)
        ):
            return pool
    return 0


def zend_chunks(space: Space, _image: Image, mappings: Sequence[Mapping]) -> Spans:
    """Return the chunks of PHP's Zend MM: a ring of them, each with a pointer to the same heap."""
    return _spans_of(space, mappings, ZEND_CHUNK, _is_zend_chunk)


def _is_zend_chunk(space: Space, address: int) -> bool | None:
    words = _words(space, address, 3)
    if words is None:
        return None
    heap, following, before = words
    if not heap or following % ZEND_CHUNK or before % ZEND_CHUNK or not following:
        return False
    behind = _words(space, following, 3)
    return behind is not None and (behind[0], behind[2]) == (heap, address)


def ruby_pages(space: Space, _image: Image, mappings: Sequence[Mapping]) -> Spans:
    """Return Ruby's heap pages: their first word leads to a struct that points back into them.

    Before 3.1, and where the kernel's pages are larger than 16 KiB, malloc has them.
    """
    return _spans_of(space, mappings, RUBY_PAGE, _points_back)


def _points_back(space: Space, address: int) -> bool | None:
    words = _words(space, address, 1)
    if words is None:
        return None
    described = _words(space, words[0], 16) if words[0] and not words[0] % space.word else None
    return any(address < word <= address + 1024 for word in described or ())


def v8_pages(space: Space, _image: Image, mappings: Sequence[Mapping]) -> Spans:
    """Yield the pages of V8's heap: a header says where the objects begin and where they end.

    To V8 12 the header has it itself (BasicMemoryChunk), then a struct does that it leads to.
    """
    stride = _stride(mappings, V8_PAGE)
    for mapping in mappings:
        end = mapping.start
        for at in _headers(space, mapping, V8_PAGE, stride):
            area = _v8_area(space, mapping, at) if at >= end else None
            if area:
                end = min(align_up(area, V8_PAGE), mapping.end)
                yield at, end


def _v8_area(space: Space, mapping: Mapping, address: int) -> int | None:
    """Return where the objects of a V8 page end, None where none begins."""
    header = _words(space, address, 8)
    if header is None:
        return None
    for words in (header, _words(space, header[1], 8) or ()):
        for start, end in zip(words, words[1:]):
            if address < start <= address + (V8_PAGE >> 2) < end <= mapping.end:
                return end
    return None


def java_heap(space: Space, image: Image, _mappings: Sequence[Mapping]) -> Spans:
    """Yield the address space of the Java heap, by the structs that HotSpot describes for its own
    debugger (vmStructs.hpp).
    """
    with suppress(MemoryFault, LookupError):
        fields = dict(_vm_structs(space, image))
        heap = space.read_word(fields["Universe", "_collectedHeap"])
        start, size = space.words(heap + fields["CollectedHeap", "_reserved"], 2)
        yield start, start + size * space.word


HOTSPOT = {("Universe", "_collectedHeap"): True, ("CollectedHeap", "_reserved"): False}
MOST_FIELDS = 1 << 14


def _vm_structs(space: Space, image: Image) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield type and field of those in HOTSPOT, with the address of the static ones, and the offset
    of the others.
    """
    names = ("TypeNameOffset", "FieldNameOffset", "OffsetOffset", "AddressOffset", "ArrayStride")
    known = [_value(space, image, f"gHotSpotVMStructEntry{name}") for name in names]
    kind, field, offset, place, stride = known
    entry = _value(space, image, "gHotSpotVMStructs")
    wanted = {name for _, name in HOTSPOT}
    for number in range(MOST_FIELDS):
        at = entry + number * stride
        if not space.read_word(at + kind):
            return
        name = space.read_string(space.read_word(at + field), 32)
        if name in wanted:
            key = space.read_string(space.read_word(at + kind), 32), name
            if key in HOTSPOT:
                yield key, space.read_word(at + (place if HOTSPOT[key] else offset))


def _value(space: Space, image: Image, name: str) -> int:
    """Return a variable's value, a word; LookupError without such a variable."""
    address = image.address(name)
    if address is None:
        raise LookupError(name)
    return space.read_word(address)


def go_arenas(_space: Space, _image: Image, mappings: Sequence[Mapping]) -> Spans:
    """Yield the arenas of Go's heap: Go asks for them at addresses of its own."""
    start, size = GO_ARENAS
    return ((m.start, m.end) for m in mappings if start <= m.start < start + size)


# Headers.


def _stride(mappings: Iterable[Mapping], step: int) -> int:
    """Return the distance of headers to look at: `step`, or so many times that as it takes."""
    number = sum(mapping.size for mapping in mappings) // step
    return step * -(-max(number, 1) // MOST_HEADERS)


def _spans_of(
    space: Space,
    mappings: Sequence[Mapping],
    step: int,
    proven: Callable[[Space, int], bool | None],
) -> Spans:
    """Yield what reaches from header to header, as far as they are `proven`."""
    stride = _stride(mappings, step)
    for mapping in mappings:
        found = ((at, proven(space, at)) for at in _headers(space, mapping, step, stride))
        yield from _runs(found, stride)


def _headers(space: Space, mapping: Mapping, step: int, stride: int) -> Iterator[int]:
    """Yield every so many bytes of a mapping, from an aligned address on, where the page may be
    read: it is in memory.
    """
    first, page, residency = align_up(mapping.start, step), space.page, space.residency
    if residency is None and space.facts.live:
        return  # to read would touch them
    for at in range(first, mapping.end, stride):
        if residency is None or residency.states(at, at + page)[0] in IN_RAM:
            yield at


def _read(space: Space, address: int, size: int) -> bytes | None:
    try:
        return bytes(space.memory.read(address, size))
    except MemoryFault:
        return None


def _words(space: Space, address: int, count: int) -> Sequence[int] | None:
    """Return words, None where they can't be read, or all are 0."""
    data = _read(space, address, count * space.word)
    return space.as_words(memoryview(data)) if data and any(data) else None


def _runs(found: Iterable[tuple[int, bool | None]], step: int) -> Spans:
    """Yield what reaches from one header to the last one of a run: what can't be told doesn't end
    it, and isn't part of its end.
    """
    start = end = 0
    for at, proven in found:
        if proven:
            start, end = start if end else at, at + step
        elif proven is False and end:
            yield start, end
            end = 0
    if end:
        yield start, end


def _with_edges(mapping: Mapping, spans: Spans, pool: int) -> Spans:
    """Yield the same with what is left at a mapping's ends: less than a pool."""
    for start, end in spans:
        first = mapping.start if start - mapping.start < pool else start
        yield first, mapping.end if mapping.end - end < pool else min(end, mapping.end)
