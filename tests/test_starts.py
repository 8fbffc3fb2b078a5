"""Where functions begin in files without symbols, beside what readelf says of the same tables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gdb_heapx.target.elf import Elf
from gdb_heapx.target.starts import Starts

LIBC = next(Path("/usr/lib").glob("*/libc.so.6"), None)


def told_by_readelf(path: Path) -> list[tuple[int, int]]:
    """Return where each function begins and ends that can be unwound, in their order."""
    words = ["readelf", "--debug-dump=frames", path]  # its status: also what it warns of
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = re.findall(r" FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)", said)
    return sorted((int(start, 16), int(end, 16)) for start, end in found)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library whose last function has no other behind it."""
    base = tmp_path_factory.mktemp("starts")
    (base / "a.c").write_text("int first(int a) { return a; }\nint last(int a) { return a + 1; }\n")
    command = ("cc", "-O1", "-shared", "-nostdlib", "-o", base / "a.so", base / "a.c")
    subprocess.run(command, check=True)
    return base / "a.so"


@pytest.mark.parametrize("which", ["small", "libc"])
def test_functions_begin_and_end_where_readelf_says(which, small):
    path = small if which == "small" else LIBC
    if path is None:
        pytest.skip("no libc.so.6 here")
    known = [each for each in told_by_readelf(path) if each[1] > each[0]]
    starts = Starts(Elf(path.read_bytes()))
    assert len(known) > 1
    for begin, end in known:
        for address in (begin, end - 1):
            span = starts.span(address)
            assert span is not None
            assert span[0] == begin
            assert span[1] >= end
    assert starts.span(known[0][0] - 1) is None
    assert starts.span(1 << 40) is None
