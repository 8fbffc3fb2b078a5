"""A target's chunks in use, held: found and copied while it stands still, looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

from ..errors import HeapxError, MemoryFault
from ..glibc.layout import Layout
from ..heap.heaps import Walked
from ..heap.library import library
from ..heap.places import Overlay
from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading
from ..target.amounts import Amount
from ..target.pages import IN_RAM
from ..target.space import Space
from ..target.target import Target
from .declared import declared
from .files import FileMemory
from .index import Grains, HeldChunk, Index
from .indexing import index_compiled, index_heap
from .pointers import Pointers, pointers_in
from .room import Room
from .root import RootKind, Roots
from .roots import find_roots
from .store import COPIED, Store
from .table import RegionTable

IN_COPY = bytes([state | more for state in IN_RAM for more in (0, COPIED)])


class HeldPart(NamedTuple):
    """A region of the index: what it is of, and how the chunks in it are told."""

    start: int
    end: int
    libc: int
    single: int = 0
    walked: Walked | None = None
    overlay: Overlay | None = None


@dataclass(frozen=True)
class Held:
    """The chunks in use of a target: their index, and a copy of them; its roots, and what these
    have of pointers to them.

    `inside` are threads that stand inside malloc or free, with the function, by their LWPs.
    `space` reads the copy, that of the files' variables, and what files have; `parts` are the
    regions of the index. `functions` and `table` are for compiled code, None where there is none.
    """

    target: Target
    libcs: tuple[str, ...]
    layout: Layout
    index: Index
    store: Store
    space: Space
    parts: tuple[HeldPart, ...]
    roots: Roots
    pointers: Pointers
    inside: Mapping[int, str]
    functions: Any
    table: RegionTable | None

    def amount(self, chunk: HeldChunk) -> Amount:
        """Return what of a chunk is in memory, as it was when it was held."""
        start = (
            self.index.starts[chunk.region] if self.parts[chunk.region].single else chunk.address
        )
        return self.store.amount(start, start + chunk.bytes)

    def whole_regions(self) -> list[bool]:
        """Return of each region whether all its pages are in RAM."""
        pages, page, offset = self.store.pages, self.space.page, self.store.offset
        index = self.index
        places = ((offset(start), end - start) for start, end in zip(index.starts, index.ends))
        return [
            not pages[at // page : -(-(at + size) // page)].translate(None, IN_COPY)
            for at, size in places
        ]

    @property
    def residency_known(self) -> bool:
        """Whether it is known what of the chunks is in memory."""
        return self.target.space.residency is not None


def hold(opened: Opened, shared: bool = False, room: Room | None = None) -> Held:
    """Return the chunks in use of a target that was walked over, and its roots, with `shared`
    memory among them; the copy goes into `room`, if it fits there. HeapxError where there is no
    malloc; StoppedError where reading was stopped.
    """
    if not opened.mallocs:
        raise opened.refused or HeapxError("there is no glibc malloc")
    space, layout = opened.target.space, opened.mallocs[0].libc.layout
    parts = _apart(sorted(_parts(opened), key=attrgetter("start")))
    roots = find_roots(opened, shared)
    index = Index(Grains.of(layout))
    for part in parts:
        index.add_region(part.start, part.end, part.single)
    index.begin()
    behind = index.grains.tail + layout.word  # the header behind a heap's last chunk
    spans = [(part.start, part.end + (0 if part.single else behind)) for part in parts]
    variables = [root for root in roots.spans if root.kind is RootKind.GLOBAL]
    wanted = [*spans, *((root.start, root.end) for root in variables)]
    store = Store(space, wanted, room)
    table, functions = _for_compiled(space, layout, index, store)
    space.pace.begin("copying chunks in use", sum(end - start for start, end in spans))
    for at, part in enumerate(parts):
        _hold(opened, part, at, index, store, table, functions)
    index.number()
    if table is not None:
        table.number()
    for root in variables:
        store.load(root.start, root.end)
    pointers = pointers_in(space, roots.spans, index, table, functions)
    memory = _HeldMemory(store, FileMemory(opened.target))
    copied = replace(space, memory=memory, residency=None, fill=None)
    libcs = tuple(reading.libc.path for reading in opened.mallocs)
    inside = opened.target.probe.inside_malloc() or {}
    whole = (tuple(parts), roots, pointers, inside, functions, table)
    return Held(opened.target, libcs, layout, index, store, copied, *whole)


def _for_compiled(
    space: Space, layout: Layout, index: Index, store: Store
) -> tuple[RegionTable | None, Any]:
    """Return the regions for compiled code, and that; None where it can't be used."""
    code = library(space).code
    if code is None or layout.alignment != 2 * layout.word:
        return None, None
    return RegionTable(index, store, space.page), declared(code)


def _parts(opened: Opened) -> Iterator[HeldPart]:
    """Yield the heaps and mmapped chunks of all libcs."""
    for libc, reading in enumerate(opened.mallocs):
        tail = reading.libc.layout.word
        for arena in reading.arenas:
            overlay = reading.walks.overlay(arena)
            for walked in reading.walks.over(arena, arena.heaps).parts or ():
                first, end = walked.heap.first, walked.tally.end
                if first < end:
                    yield HeldPart(first, end + tail, libc, 0, walked, overlay)
        yield from _mmapped(reading, libc)


def _mmapped(reading: MallocReading, libc: int) -> Iterator[HeldPart]:
    if reading.mmapped.certain:
        cached = reading.outline.caches.mmapped
        for chunk in reading.mmapped_headers:
            if chunk.address not in cached:
                yield HeldPart(chunk.start, chunk.end, libc, chunk.address)


def _apart(parts: list[HeldPart]) -> list[HeldPart]:
    """Return parts without those that overlap one before: damage may claim what isn't its own."""
    apart: list[HeldPart] = []
    for part in parts:
        if not apart or part.start >= apart[-1].end:
            apart.append(part)
    return apart


def _hold(
    opened: Opened,
    part: HeldPart,
    at: int,
    index: Index,
    store: Store,
    table: RegionTable | None,
    functions: Any,
) -> None:
    """Copy a part's chunks in use, and put them into the index."""
    if part.walked is None or part.overlay is None:
        store.load(part.start, part.end)
        return
    layout, space = opened.mallocs[part.libc].libc.layout, opened.target.space
    heap = replace(part.walked.heap, end=part.walked.tally.end)
    if table is not None:
        index_compiled(functions, space, heap, part.overlay, table, store, at)
    else:
        index_heap(space, layout, heap, part.overlay, index, store, at)


class _HeldMemory:
    """What was copied, and what files have."""

    def __init__(self, store: Store, files: FileMemory) -> None:
        self._store, self._files = store, files

    def read(self, address: int, size: int) -> memoryview:
        try:
            return self._store.read(address, size)
        except MemoryFault:
            return self._files.read(address, size)
