"""A target's chunks in use, held: found and copied while it stands still, looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import starmap
from typing import Any

from ..errors import HeapxError, MemoryFault
from ..glibc.layout import Layout
from ..heap.library import library
from ..snapshots.opened import Opened
from ..target.amounts import Amount
from ..target.cgroups import affordable
from ..target.mappings import merged
from ..target.pages import IN_RAM
from ..target.space import Space
from ..target.target import Target
from .compiled import CompiledIndexing, Job, Load, by_two
from .costs import refuse_passes
from .declared import address_of, declared
from .files import FileMemory
from .hidden import Way
from .index import Grains, HeldChunk, Index
from .indexing import index_heap
from .lots import Lots
from .parts import PIECE, HeldPart, in_use_of, parts_of
from .pointers import Pointers, pointers_in
from .room import Room
from .root import RootKind, Roots
from .roots import find_roots
from .store import COPIED, Store
from .table import RegionTable

IN_COPY = bytes([state | more for state in IN_RAM for more in (0, COPIED)])


@dataclass(frozen=True)
class Held:
    """The chunks in use of a target: their index, and a copy of them; its roots, and what these
    have of pointers to them.

    `inside` are threads that stand inside malloc or free, with the function, by their LWPs.
    `space` reads the copy, that of the files' variables, and what files have; `parts` are the
    regions of the index, and `lots` which of them are at hand. `functions` and `table` are for
    compiled code, None where there is none.
    """

    target: Target
    libcs: tuple[str, ...]
    layout: Layout
    index: Index
    store: Store
    space: Space
    parts: tuple[HeldPart, ...]
    lots: Lots
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
    where there is no malloc, and where a process would have to stand still for that, unless
    `passes` are wanted; StoppedError where reading was stopped.
    """
    if not opened.mallocs:
        raise opened.refused or HeapxError("there is no glibc malloc")
    space, layout = opened.target.space, opened.mallocs[0].libc.layout
    parts, roots = parts_of(opened), find_roots(opened, shared)
    if most is not None and space.facts.live and not passes:
        refuse_passes(space, parts, in_use_of(opened)[1], most)
    index = Index(Grains.of(layout))
    for part in parts:
        index.add_region(part.start, part.end, part.single)
    index.begin()
    behind = layout.word  # what of the header behind a heap's last chunk isn't memory of that
    spans = [(part.start, part.end + (behind if part.heap else 0)) for part in parts]
    variables = [root for root in roots.spans if root.kind is RootKind.GLOBAL]
    store = Store(space, [*spans, *((root.start, root.end) for root in variables)], room)
    table, functions = _for_compiled(space, layout, index, store)
    heaps = {} if table is None else _compiled(functions, space, parts, table, store)
    space.pace.begin("copying chunks in use", sum(end - start for start, end in spans))
    if table is not None and (most is None or sum(starmap(store.to_copy, spans)) <= most):
        by_two(space, store, _jobs(parts, heaps))
    large = [at for at, part in enumerate(parts) if _is_large(part, store, most)]
    sizes = _hold_parts(opened, parts, index, store, heaps, most, {*large})
    index.number()
    if table is not None:
        for at in large:
            table.hide(at)
        table.number()
    for root in variables:
        store.load(root.start, root.end)
    lots = Lots(index, store, table, sizes, most, large)
    pointers = pointers_in(space, roots, index, table, functions, ways)
    memory = _HeldMemory(store, FileMemory(opened.target))
    copied = replace(space, memory=memory, residency=None, fill=None)
    libcs = tuple(reading.libc.path for reading in opened.mallocs)
    inside = opened.target.probe.inside_malloc() or {}
    whole = (tuple(parts), lots, roots, pointers, inside, functions, table)
    return Held(opened.target, libcs, layout, index, store, copied, *whole)


def hold_alone(opened: Opened, passes: bool) -> Held:
    """Return the chunks in use of a target, as far as memory allows, which nobody else has."""
    facts = opened.target.facts
    return hold(opened, most=affordable(facts.pid if facts.live else None), passes=passes)


def _for_compiled(
    space: Space, layout: Layout, index: Index, store: Store
) -> tuple[RegionTable | None, Any]:
    """Return the regions for compiled code, and that; None where it can't be used."""
    code = library(space).code
    if code is None or layout.alignment != 2 * layout.word:
        return None, None
    return RegionTable(index, store, space.page), declared(code)


def _compiled(
    functions: Any, space: Space, parts: Sequence[HeldPart], table: RegionTable, store: Store
) -> dict[int, CompiledIndexing]:
    """Return what indexes each heap by compiled code, by the numbers of the parts."""
    return {
        at: CompiledIndexing(functions, space, part.heap, part.overlay, table, store, at)
        for at, part in enumerate(parts)
        if part.heap is not None and part.overlay is not None
    }


def _jobs(parts: Sequence[HeldPart], heaps: Mapping[int, CompiledIndexing]) -> Iterator[Job]:
    """Yield what two threads may do: index the heaps, and copy what mmapped chunks have."""
    yield from (heap.go_on for heap in heaps.values())
    for start, end in merged((part.start, part.end) for part in parts if part.single):
        for at in range(start, end, PIECE):
            yield partial(_load, at, min(at + PIECE, end))


def _load(start: int, end: int, load: Load) -> None:
    load(start, end)


def _hold_parts(
    opened: Opened,
    parts: Sequence[HeldPart],
    index: Index,
    store: Store,
    heaps: Mapping[int, CompiledIndexing],
    most: int | None,
    large: set[int],
) -> list[int]:
    """Copy what isn't too large, and put it into the index; return how many bytes that took of each
    part. Once it is more than `most` bytes in all, each is let go again.
    """
    sizes, whole = [0] * len(parts), 0
    for at, part in enumerate(parts):
        if at not in large:
            sizes[at] = _hold(opened, part, at, index, store, heaps.get(at))
            whole += sizes[at]
            if most is not None and whole > most:
                store.let_go(part.start, part.end)
    return sizes


def _hold(
    opened: Opened,
    part: HeldPart,
    at: int,
    index: Index,
    store: Store,
    compiled: CompiledIndexing | None,
) -> int:
    """Copy a part's chunks in use, and put them into the index; return how many bytes that took."""
    if part.heap is None or part.overlay is None:
        store.load(part.start, part.end)
        return store.copied(part.start, part.end)
    layout, space = opened.mallocs[part.libc].libc.layout, opened.target.space
    if compiled is not None:
        compiled.go_on(store.load)
        compiled.complete()
    else:
        index_heap(space, layout, part.heap, part.overlay, index, store, at)
    return store.copied(part.start, part.end)


def _is_large(part: HeldPart, store: Store, most: int | None) -> bool:
    """Tell whether a single chunk has more alone than may be copied."""
    single = part.heap is None and most is not None
    return single and store.to_copy(part.start, part.end) > (most or 0)


class _HeldMemory:
    """What was copied, and what files have."""

    def __init__(self, store: Store, files: FileMemory) -> None:
        self._store, self._files = store, files

    def read(self, address: int, size: int) -> memoryview:
        try:
            return self._store.read(address, size)
        except MemoryFault:
            return self._files.read(address, size)
