"""What changed by size of chunk: numbers, and bytes."""

from __future__ import annotations

from typing import NamedTuple

from ..heap.census import Census, joined
from .look import Look


class SizeChange(NamedTuple):
    """How many more chunks of a size there are, in use and free, and their bytes."""

    size: int
    in_use_chunks: int
    free_chunks: int

    @property
    def in_use(self) -> int:
        return self.size * self.in_use_chunks

    @property
    def free(self) -> int:
        return self.size * self.free_chunks


def size_changes(old: Look, new: Look) -> list[SizeChange] | None:
    """Return the sizes whose number of chunks changed, most bytes first; None where the chunks of
    one look could not all be counted.
    """
    before, after = _census(old), _census(new)
    if before is None or after is None:
        return None
    sizes = {size for census in (before, after) for counts in census for size in counts}
    rows = (
        SizeChange(
            size,
            after.in_use.get(size, 0) - before.in_use.get(size, 0),
            after.free.get(size, 0) - before.free.get(size, 0),
        )
        for size in sizes
    )
    moved = [row for row in rows if row.in_use_chunks or row.free_chunks]
    return sorted(moved, key=lambda row: (-abs(row.in_use), -abs(row.free), row.size))


def _census(look: Look) -> Census | None:
    """Return all chunks by size; None where they weren't all counted."""
    parts = [arena.census for arena in look.snapshot.arenas()]
    parts += [malloc.mmapped_census for malloc in look.snapshot.mallocs]
    known = [part for part in parts if part is not None]
    return joined(known) if len(known) == len(parts) else None
