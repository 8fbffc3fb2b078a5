"""The chunks in use of all parts, copied and put into the index, as much at once as is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from typing import Any

from ..records import dataclass
from ..snapshots.opened import Opened
from ..target.mappings import merged
from .compiled import CompiledIndexing, Job, Load, by_two
from .index import Index
from .indexing import index_heap
from .lots import Lots
from .parts import PIECE, HeldPart
from .store import Store
from .table import RegionTable


@dataclass(frozen=True)
class Copying:
    """Whose chunks are copied, and into what; `functions` and `table` as Held has them."""

    opened: Opened
    parts: Sequence[HeldPart]
    index: Index
    store: Store
    table: RegionTable | None
    functions: Any


def copy_parts(copying: Copying, spans: Sequence[tuple[int, int]], most: int | None) -> Lots:
    """Copy chunks in use, no more than `most` bytes at once, and put them into the index; return
    which are at hand.
    """
    parts, store, table = copying.parts, copying.store, copying.table
    heaps = _compiled(copying)
    if table is not None and (most is None or sum(starmap(store.to_copy, spans)) <= most):
        by_two(copying.opened.target.space, store, _jobs(parts, heaps))
    large = [at for at, part in enumerate(parts) if _is_large(part, store, most)]
    sizes = _hold_parts(copying, heaps, most, {*large})
    copying.index.number()
    if table is not None:
        for at in large:
            table.hide(at)
        table.number()
    return Lots(copying.index, store, table, sizes, most, large)


def _compiled(copying: Copying) -> dict[int, CompiledIndexing]:
    """Return what indexes each heap by compiled code, by the numbers of the parts."""
    space, table = copying.opened.target.space, copying.table
    return {
        at: CompiledIndexing(
            copying.functions, space, part.heap, part.overlay, table, copying.store, at
        )
        for at, part in enumerate(copying.parts)
        if table is not None and part.heap is not None and part.overlay is not None
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
    copying: Copying, heaps: Mapping[int, CompiledIndexing], most: int | None, large: set[int]
) -> list[int]:
    """Copy what isn't too large, and put it into the index; return how many bytes that took of each
    part. Once it is more than `most` bytes in all, each is let go again.
    """
    sizes, whole = [0] * len(copying.parts), 0
    for at, part in enumerate(copying.parts):
        if at not in large:
            sizes[at] = _hold(copying, part, at, heaps.get(at))
            whole += sizes[at]
            if most is not None and whole > most:
                copying.store.let_go(part.start, part.end)
    return sizes


def _hold(copying: Copying, part: HeldPart, at: int, compiled: CompiledIndexing | None) -> int:
    """Copy a part's chunks in use, and put them into the index; return how many bytes that took."""
    opened, store = copying.opened, copying.store
    if part.heap is None or part.overlay is None:
        store.load(part.start, part.end)
    elif compiled is not None:
        compiled.go_on(store.load)
        compiled.complete()
    else:
        space, layout = opened.target.space, opened.mallocs[part.libc].libc.layout
        index_heap(space, layout, part.heap, part.overlay, copying.index, store, at)
    return store.copied(part.start, part.end)


def _is_large(part: HeldPart, store: Store, most: int | None) -> bool:
    """Tell whether a single chunk has more alone than may be copied."""
    single = part.heap is None and most is not None
    return single and store.to_copy(part.start, part.end) > (most or 0)
