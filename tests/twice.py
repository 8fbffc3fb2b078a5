"""Two saved snapshots of a made-up process: what it holds, and what malloc keeps, grew."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

from heapbuilder import FREE, TCACHE, USED, HeapBuilder, Pages
from sessions import report_of

from gdb_heapx.cli.command import REGISTRY
from gdb_heapx.cli.execute import Terminal, execute
from gdb_heapx.heap.states import Search
from gdb_heapx.saved.saved import Saved, write_saved
from gdb_heapx.saved.taken import Taken
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import take

KIB = 1 << 10
WHOLE = Scope(search=Search.HEADERS, stale=True, whole=True)
# How many chunks of 2 KiB arena 1 holds, how many of 32 KiB arena 2 keeps free, and other mappings.
FIRST, SECOND = (10, 2, 1), (200, 60, 2)
DIRECTORY = tempfile.TemporaryDirectory()


def look(taken: Taken, held: int, kept: int, mapped: int) -> Saved:
    """Return one look at the process."""
    heap = HeapBuilder()
    heap.residency = Pages()
    for index in range(3):
        arena = heap.arena() if index else heap.main
        cached = heap.thread(arena, 100 + index, f"worker-{index}")
        arena.add(TCACHE, 96, cached)
        for _ in range(held if index == 1 else 10):
            arena.add(USED, 2 * KIB)
        for _ in range(kept if index == 2 else 2):
            arena.add(FREE, 32 * KIB)
            arena.add(USED, 64)
        arena.close()
    for _ in range(mapped):
        heap.mmapped(256 * KIB, apart=True)
    found = take(heap.target(), WHOLE)
    facts = replace(found.target, pid=4711, born="boot 1", exe="/srv/worker")
    (types,) = report_of(REGISTRY["heapx types"], found, heap.target()).tables
    return Saved(taken, replace(found, target=facts), {"types": types})


@cache
def files() -> tuple[str, str]:
    """Return the files of both looks."""
    paths = f"{DIRECTORY.name}/old.json.gz", f"{DIRECTORY.name}/new.json.gz"
    for path, hour, amounts in zip(paths, (2, 3), (FIRST, SECOND)):
        taken = Taken(f"2026-11-27T0{hour}:40:00Z", "host", "0.1.0", 0.25)
        write_saved(path, look(taken, *amounts))
    return paths


def compared(options: str, width: int) -> str:
    """Return what heapx compare says of both."""
    pieces: list[str] = []
    words = ["compare", *files(), *options.split()]
    execute(words, lambda seconds, held: nullcontext(), Terminal(width, False), pieces.append)
    return "".join(pieces)
