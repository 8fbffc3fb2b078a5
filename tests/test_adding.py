"""What docs/adding.md names is there; and its example that needs no gdb, done on built heaps."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from heapbuilder import FAST, FREE, TCACHE, USED, HeapBuilder
from live import ROOT
from test_live_adding import PAGE, example

from gdb_heapx.heap import folds
from gdb_heapx.heap.walk import walk
from gdb_heapx.recognise import recognisers
from gdb_heapx.recognise.kinds import Code
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.why.sums import Case


@pytest.fixture
def largest(monkeypatch):
    """Return the fold of the example, written into folds.py as the page says."""
    code = example("A fold", "class Largest").replace("from .states", "from gdb_heapx.heap.states")
    for name in ("State", "Largest"):
        monkeypatch.setattr(folds, name, None, raising=False)
    exec(code, vars(folds))
    return folds.Largest()


def heap_with(*chunks):
    """Return a heap whose main arena has these (state, size), and their addresses."""
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 100)
    return heap, [heap.main.add(state, size, cache) for state, size in chunks]


def fold(heap, what):
    """Walk over the main arena's heap up to top."""
    target = heap.target()
    (reading,) = open_target(target).mallocs
    (arena,) = reading.arenas
    main, overlay = replace(arena.heaps[0], end=arena.top), reading.walks.overlay(arena)
    end, problems = walk(target.space, heap.layout, main, overlay, [what])
    assert (end, problems) == (main.end, [])


def test_the_fold_of_the_example_finds_the_largest_chunk_of_the_program(largest):
    heap, chunks = heap_with(
        *((USED, 4096), (TCACHE, 1024), (USED, 160), (FREE, 1 << 17), (FAST, 96), (USED, 8192)),
        *((USED, 8192), (USED, 1 << 16), (USED, 2048), (TCACHE, 1024), (FREE, 1 << 20), (USED, 64)),
    )
    fold(heap, largest)
    assert (largest.address, largest.size) == (chunks[7], 1 << 16)


def test_the_fold_of_the_example_takes_no_freed_chunk_for_the_program_s(largest):
    heap, chunks = heap_with((USED, 64), (TCACHE, 512), (FAST, 112), (FREE, 4096), (FAST, 96))
    fold(heap, largest)
    assert (largest.address, largest.size) == (chunks[0], 64)


def test_the_sums_that_the_page_names_are_a_case_s():
    (told,) = re.findall(
        r"They are (`live`.*?)\. All are .*?which\. (`swapped.*?) has what", PAGE, re.S
    )
    names = {name for part in told for name in re.findall(r"`(\w+)", part)}
    others = {"ledger", "environment", "named", "resident_known", "snapshot", "as_read", "brief"}
    others |= {"ceilings"}
    assert names == {name for name in dir(Case) if not name.startswith("_")} - others


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"gdb_heapx/[\w/]+\.py", PAGE)) - {"gdb_heapx/commands/limits.py"}
    assert "gdb_heapx/heap/folds.py" in named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_recogniser_of_the_example_knows_an_image(monkeypatch):
    codes = SimpleNamespace(PNG=max(Code) + 1)
    monkeypatch.setattr(recognisers, "Code", codes)
    monkeypatch.setattr(recognisers, "png", None, raising=False)
    exec(example("A recogniser", "def png"), vars(recognisers))
    image = recognisers.Contents(16, [1], b"\x89PNG\r\n\x1a\n and more")
    text = recognisers.Contents(16, [1], b"PNG and more")
    assert recognisers.png(image, None).key.code == codes.PNG
    assert recognisers.png(text, None) is None
