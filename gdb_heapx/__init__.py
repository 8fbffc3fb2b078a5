"""heapx: where the memory of a process sits inside glibc malloc, and why it stays there.

In gdb, other scripts may use what the module api has: gdb_heapx.snapshot() and the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        Chunk,
        Finding,
        HeapxError,
        Snapshot,
        Wanted,
        chunk_at,
        chunks,
        findings,
        snapshot,
    )

__version__ = "0.1.0"
__all__ = [
    "Chunk",
    "Finding",
    "HeapxError",
    "Snapshot",
    "Wanted",
    "chunk_at",
    "chunks",
    "findings",
    "snapshot",
]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: it needs gdb, and the shell command has none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
