"""Snapshots in files: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from live import run
from recorded import NAMES, load

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.states import Search
from gdb_heapx.report.model import Note
from gdb_heapx.saved import packing
from gdb_heapx.saved.saved import VERSION, Saved, read_saved, write_saved
from gdb_heapx.saved.schema import fingerprint
from gdb_heapx.saved.summary import findings_of, process_of, summary_of
from gdb_heapx.saved.taken import Taken
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import Snapshot

WIDEST = Scope(search=Search.HEADERS, stale=True, whole=True, strips=False)
TAKEN = Taken("2026-11-27T02:40:00Z", "host", "0.1.0", 0.25)


def whole(name: str) -> Snapshot:
    return load(name).session.take(WIDEST)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(5)
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


# Versions


SAMPLES = Path(__file__).parent / "saved"
FILES = sorted(SAMPLES.glob("version-*.json.gz"))


def test_there_is_a_file_of_every_version():
    assert [file.name for file in FILES] == [f"version-{n + 1}.json.gz" for n in range(VERSION)]
    assert all(file.stat().st_size < 200 << 10 for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_any_version_is_read(file):
    saved = read_saved(str(file))
    assert saved.taken == TAKEN
    assert {"types", "pins", "pin_groups"} <= set(saved.tables)
    assert saved.snapshot.in_use == whole("2.36-amd64").in_use
    assert saved.snapshot.mallocs[0].parameters == whole("2.36-amd64").mallocs[0].parameters


def test_what_files_have_changes_with_the_version_only():
    """Raise VERSION, give new fields defaults, and run scripts/save_sample; before the first
    release that writes this version: scripts/save_sample --again.
    """
    known = json.loads((SAMPLES / "fingerprints.json").read_text())
    assert known[str(VERSION)] == fingerprint()


# Files that aren't


def document(**changes):
    return {**json.loads(gzip.decompress(FILES[0].read_bytes())), **changes}


def refused(tmp_path, data):
    """Return the one sentence by which a file is refused, without its name."""
    path = tmp_path / "file"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    with pytest.raises(HeapxError) as error:
        read_saved(str(path))
    return error.value.statement.replace(str(path), "FILE")


def test_a_file_of_a_later_heapx_is_refused(tmp_path):
    assert refused(tmp_path, document(version=VERSION + 1)) == (
        f"FILE has version {VERSION + 1} of the format, and this heapx reads up to {VERSION}"
    )


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_is_refused(part, tmp_path):
    packed = FILES[0].read_bytes()
    said = refused(tmp_path, packed[: int(len(packed) * part)])
    assert said == "FILE is damaged, or not all of it is there"
    plain = gzip.decompress(packed)
    said = refused(tmp_path, plain[: int(len(plain) * part)])
    assert said == "FILE is damaged, or not all of it is there"


FOREIGN = (b"hello", b"{}", b'{"a', b"[]", b"1", b"nul", b"[" * 100_000, b'{"a":NaN}', b"\xff\xfe")
NO_JSON = b'{"format": "heapx snapshot", "version": NaN}'


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("data", FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_file_is_refused(data, pack, tmp_path):
    assert refused(tmp_path, pack(data)) == "FILE is no snapshot of heapx"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "FILE is empty"),
        (gzip.compress(b"", mtime=0), "FILE is empty"),
        (b"\x1f\x8bgarbage", "FILE is damaged, or not all of it is there"),
        (b"\x28\xb5\x2f\xfdgarbage", "FILE is damaged, or not all of it is there"),
        (NO_JSON, "FILE is damaged, or not all of it is there"),
        (NO_JSON * 2, "FILE has 2 snapshots, and heapx looks at one"),
        (document(version="1"), "FILE is damaged: version 1"),
        (document(columns=[]), "FILE is damaged: columns or notes"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(data, said, tmp_path):
    assert refused(tmp_path, data) == said


def header(order, kind):
    """Return an ELF header of this type, in 64 bits."""
    data = {"<": 1, ">": 2}[order]
    begin = struct.pack(f"{order}4sBBB9x", b"\x7fELF", 2, data, 1)
    return begin + struct.pack(f"{order}HHI3QI6H", kind, 62, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)


def test_a_program_and_a_core_are_told_by_their_headers(tmp_path, monkeypatch):
    """A core by what readelf calls one, in both byte orders."""
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path, Path(sys.executable).read_bytes()) == (
        "FILE is a program or a library, no snapshot of heapx"
    )
    for order in ("<", ">"):
        Path("core").write_bytes(header(order, 4))
        assert "CORE (Core file)" in run(("readelf", "-h", "core")).out
        with pytest.raises(HeapxError) as error:
            read_saved("core")
        assert error.value.statement == "core is a core, no snapshot of heapx"
        assert "heapx --core core." in str(error.value)


def test_no_more_is_read_of_a_foreign_file_than_its_beginning():
    with pytest.raises(HeapxError, match="/dev/zero is no snapshot of heapx"):
        read_saved("/dev/zero")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(HeapxError, match="Is a directory") as error:
        read_saved(str(tmp_path))
    assert "Name a file that is in it." in str(error.value)


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc", "--zstd=wlog=17"], input=data, capture_output=True).stdout


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_file_that_unpacks_to_more_than_any_snapshot_is_refused(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MOST", 1 << 20)
    data = pack(bytes(64 << 20))
    tracemalloc.start()
    try:
        said = refused(tmp_path, data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said == "FILE is no snapshot: it has more than 1 MiB"
    assert most < 8 << 20


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(HeapxError, match="No such file"):
        read_saved(str(tmp_path / "none"))


def test_without_zstd_its_name_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HeapxError, match="the command zstd was not found") as error:
        write_saved(str(tmp_path / "saved.zst"), Saved(TAKEN, whole("2.36-amd64")))
    assert "apt-get install zstd" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_says_nothing_is_refused(tmp_path):
    path = tmp_path / "file"
    write_saved(str(path), Saved(TAKEN, whole("2.36-amd64"), notes={"pins": (Note("x", {}),)}))
    assert refused(tmp_path, path.read_bytes()).endswith("no note is called x")


# What is in it


def test_the_page_names_what_is_flat():
    page = (Path(__file__).parent.parent / "docs" / "saved.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    snapshot = whole("2.36-amd64")
    assert set(document()) <= named
    assert {*process_of(snapshot), *summary_of(snapshot), "time", "host", "heapx"} <= named
    assert {key for each in findings_of(snapshot, None, ()) for key in each} <= named


def test_nothing_of_the_heap_is_quoted(tmp_path):
    """The recorded program fills what it allocates with m."""
    pages = load("2.36-amd64").pages.values()
    assert any(b"m" * 24 in page for page in pages)
    assert "m" * 8 not in json.dumps(document())


def test_only_malloc_s_variables_of_the_environment_are_there():
    environment = document()["snapshot"]["snapshot"]["target"]["environment"]
    assert all(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environment)


def test_the_summary_is_that_of_the_commands():
    found, image = document()["summary"], load("2.36-amd64")
    arenas = image.report("arenas")["tables"][0]["total"]
    assert found["in_use"] == arenas["in_use"] + found["mmapped"]
    for name in ("tcache", "fast", "binned", "top", "overhead"):
        assert found[name] == arenas[name]
    assert found["rss"] == sum(mapping.usage.resident for mapping in image.mappings)
