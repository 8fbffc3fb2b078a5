"""A target's chunks in use, held: found and copied while it stands still, looked at afterwards."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import HeapxError, MemoryFault
from ..glibc.layout import Layout
from ..heap.library import library
from ..records import dataclass
from ..snapshots.opened import Opened
from ..target.amounts import Amount
from ..target.cgroups import affordable
from ..target.pages import IN_RAM
from ..target.space import Space
from ..target.target import Target
from .copying import Copying, copy_parts
from .costs import refuse_noting, refuse_passes
from .declared import address_of, declared
from .files import FileMemory
from .hidden import Way
from .index import Grains, HeldChunk, Index
from .lots import Lots
from .parts import HeldPart, in_use_of, parts_of
from .pointers import Pointers, pointers_in
from .room import Room
from .root import RootKind, Roots
from .roots import find_roots
from .spots import code_blocks
from .store import COPIED, Store
from .table import RegionTable

IN_COPY = bytes([state | more for state in IN_RAM for more in (0, COPIED)])


@dataclass(frozen=True)
class Held:
    """The chunks in use of a target: their index, and a copy of them; its roots, and what these
    have of pointers to them.

    `inside` are threads that stand inside malloc or free, with the function, by their LWPs.
    `space` reads the copy, that of the files' variables, and what files have; `parts` are the
    regions of the index, and `lots` which of them are at hand; `blocks` are those of addresses that
    have code (spots.py). `functions` and `table` are for compiled code, None where there is none.
    """

    target: Target
    libcs: tuple[str, ...]
    layout: Layout
    index: Index
    store: Store
    space: Space
    parts: tuple[HeldPart, ...]
    lots: Lots
    blocks: array[int]
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

    def large(self) -> Iterator[HeldChunk]:
        """Yield the chunks that are too large to be at hand."""
        yield from (self.index.ranked(self.index.firsts[region]) for region in self.lots.large)

    def copy_of(self, region: int) -> int:
        """Return where in heapx's own memory a region's copy is."""
        offset: int = self.store.offset(self.index.starts[region])
        return int(address_of(self.store.memory)) + offset

    @property
    def residency_known(self) -> bool:
        """Whether it is known what of the chunks is in memory."""
        return self.target.space.residency is not None


def hold(
    opened: Opened,
    shared: bool = False,
    room: Room | None = None,
    most: int | None = None,
    passes: bool = False,
    ways: Sequence[Way] = (),
) -> Held:
    """Return the chunks in use of a target that was walked over, and its roots, with `shared`
    memory among them, looked at in `ways`, too; the copy goes into `room`, if it fits there.

    Where it would have more than `most` bytes, parts of it are read one after the other. HeapxError
    where there is no malloc, where a process would have to stand still for that, unless `passes`
    are wanted, and where even so too much memory would be needed; StoppedError where reading was
    stopped.
    """
    if not opened.mallocs:
        raise opened.refused or HeapxError("there is no glibc malloc")
    target, layout = opened.target, opened.mallocs[0].libc.layout
    space, parts, roots = target.space, parts_of(opened), find_roots(opened, shared)
    if most is not None:
        chunks, in_use = in_use_of(opened)
        refuse_noting(space, parts, chunks, Grains.of(layout).size)
        if space.facts.live and not passes:
            refuse_passes(space, parts, in_use, most)
    index, spans = _index_for(parts, layout), _spans(parts, layout)
    variables = [(r.start, r.end) for r in roots.spans if r.kind is RootKind.GLOBAL]
    store = Store(space, [*spans, *variables], room)
    table, functions = _for_compiled(space, layout, index, store)
    copying = Copying(opened, parts, index, store, table, functions)
    space.pace.begin("copying chunks in use", sum(end - start for start, end in spans))
    lots = copy_parts(copying, spans, most)
    for start, end in variables:
        store.load(start, end)
    blocks = code_blocks(target)
    copied = _HeldMemory(store, FileMemory(target))
    return Held(
        target=target,
        libcs=tuple(reading.libc.path for reading in opened.mallocs),
        layout=layout,
        index=index,
        store=store,
        space=replace(space, memory=copied, residency=None, fill=None),
        parts=tuple(parts),
        lots=lots,
        blocks=blocks,
        roots=roots,
        pointers=pointers_in(space, roots, index, table, functions, blocks, ways),
        inside=target.probe.inside_malloc() or {},
        functions=functions,
        table=table,
    )


def hold_alone(opened: Opened, passes: bool) -> Held:
    """Return the chunks in use of a target, as far as memory allows, which nobody else has."""
    facts = opened.target.facts
    return hold(opened, most=affordable(facts.pid if facts.live else None), passes=passes)


def _index_for(parts: Sequence[HeldPart], layout: Layout) -> Index:
    """Return an index with a region for each part, and no chunk yet."""
    index = Index(Grains.of(layout))
    for part in parts:
        index.add_region(part.start, part.end, part.single)
    index.begin()
    return index


def _spans(parts: Sequence[HeldPart], layout: Layout) -> list[tuple[int, int]]:
    """Return what there may be to copy of each part."""
    behind = layout.word  # what of the header behind a heap's last chunk isn't memory of that
    return [(part.start, part.end + (behind if part.heap else 0)) for part in parts]


def _for_compiled(
    space: Space, layout: Layout, index: Index, store: Store
) -> tuple[RegionTable | None, Any]:
    """Return the regions for compiled code, and that; None where it can't be used."""
    code = library(space).code
    if code is None or layout.alignment != 2 * layout.word:
        return None, None
    return RegionTable(index, store, space.page), declared(code)


class _HeldMemory:
    """What was copied, and what files have."""

    def __init__(self, store: Store, files: FileMemory) -> None:
        self._store, self._files = store, files

    def read(self, address: int, size: int) -> memoryview:
        try:
            return self._store.read(address, size)
        except MemoryFault:
            return self._files.read(address, size)
