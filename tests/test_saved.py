"""Snapshots in files: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded import NAMES, load

from gdb_heapx.heap.states import Search
from gdb_heapx.saved.saved import Saved, read_saved, write_saved
from gdb_heapx.saved.taken import Taken
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import Snapshot

WIDEST = Scope(search=Search.HEADERS, stale=True, whole=True, strips=False)
TAKEN = Taken("2026-11-27T02:40:00Z", "host", "0.1.0", 0.25)


def whole(name: str) -> Snapshot:
    return load(name).session.take(WIDEST)


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_comes_back_as_it_was(name, tmp_path):
    saved, file = Saved(TAKEN, whole(name)), str(tmp_path / "saved.json.gz")
    write_saved(file, saved)
    assert read_saved(file) == saved


@pytest.mark.parametrize("end", ["json", "json.gz", "json.zst"])
def test_a_file_is_packed_as_its_name_says(end, tmp_path):
    file = tmp_path / f"saved.{end}"
    size = write_saved(str(file), Saved(TAKEN, whole("2.36-amd64")))
    begins = {"json": b"{", "json.gz": b"\x1f\x8b", "json.zst": b"\x28\xb5\x2f\xfd"}
    assert file.read_bytes().startswith(begins[end])
    assert file.stat().st_size == size
    assert read_saved(str(file)).snapshot == whole("2.36-amd64")


def test_a_usual_process_has_a_small_file(tmp_path):
    file = tmp_path / "saved.json.gz"
    assert write_saved(str(file), Saved(TAKEN, whole("2.36-amd64"))) < 15 << 10


def test_names_that_are_no_text_come_back_as_they_are_shown(tmp_path):
    snapshot = whole("2.36-amd64")
    target = replace(snapshot.target, exe="/tmp/\udcff")
    file = str(tmp_path / "saved.json")
    write_saved(file, Saved(TAKEN, replace(snapshot, target=target)))
    assert read_saved(file).snapshot.target.exe == "/tmp/\\xff"
