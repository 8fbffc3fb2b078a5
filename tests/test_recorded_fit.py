"""heapx fit on recorded images: each request has an answer, and the sums are those of the heap."""

from __future__ import annotations

import pytest
from recorded import NAMES, SOUND, load, target_of

from gdb_heapx.fit.fits import SOURCES, fits
from gdb_heapx.fit.unusable import unusable
from gdb_heapx.heap.states import HELD_FREE
from gdb_heapx.snapshots.malloc import EVERYTHING
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of

REQUESTS = (24, 100, 1000, 4000, 50_000, 120_000, 1 << 20, 1 << 27)


def answers(opened):
    for reading in opened.mallocs:
        lwps = [thread.lwp for thread in opened.target.facts.threads]
        for lwp in (None, *lwps[:3]):
            for found in fits(reading, REQUESTS, lwp):
                yield reading, found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(16)
def test_each_request_has_an_answer_or_a_reason(name):
    for _, found in answers(open_target(target_of(load(name)))):
        assert (found.source is None) == (found.reason is not None)
        assert found.source in (None, *SOURCES)


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.few(8)
def test_what_cant_serve_is_part_of_what_is_free(name):
    opened = open_target(target_of(load(name)))
    snapshot = snapshot_of(opened, EVERYTHING)
    mallocs = {malloc.libc: malloc for malloc in snapshot.mallocs}
    for reading, found in answers(opened):
        malloc = mallocs[found.libc]
        free = sum(a.amounts[state].bytes for a in malloc.arenas for state in HELD_FREE)
        lost = sum(row.bytes or 0 for row in unusable(reading, malloc, found))
        if found.source is not None:
            assert 0 <= lost <= free
            assert (found.chunk_size or 0) <= free - lost or found.grows != 0
