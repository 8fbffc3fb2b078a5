"""Chunks with mappings of their own in live processes and cores; glibc's counts are the oracle."""

from __future__ import annotations

import pytest
from live import PAGE, kernel_core, regions, reports, running, table
from releases import HOST, glibc_of

pytestmark = pytest.mark.live

OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44
COMMANDS = ("heapx", "heapx mmapped", "heapx ledger", "heapx check", "heapx params", "heapx arenas")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def glibc_s_own(inferior, found):
    """Check what was found against mallinfo2, and malloc_usable_size of what the program has."""
    theirs = inferior.oracle.mallinfo
    rows = table(found["heapx mmapped"])
    assert not any(report["problems"] for report in found.values())
    assert {row["state"] for row in rows} <= {"in use"}
    assert (len(rows), sum(row["mapping"] for row in rows)) == (theirs["hblks"], theirs["hblkhd"])
    owners = table(found["heapx ledger"])
    assert sum(r["virtual"] for r in owners if r["owner"] == "mmapped chunks") == theirs["hblkhd"]
    (total,) = table(found["heapx arenas"], "mmapped_total")
    assert (total["chunks"], total["bytes"]) == (theirs["hblks"], theirs["hblkhd"])
    sizes = {int(row["address"], 16): row["size"] for row in rows}
    for words in inferior.oracle.known:
        if words[0] == "aligned":
            assert sizes[int(words[1], 16) - 16] - int(words[2]) in (8, 16)


@pytest.mark.slow
@pytest.mark.parametrize("suite", [HOST, *map(slow, OTHERS)])
def test_chunks_whose_mappings_the_kernel_has_cut(suite, tmp_path):
    glibc = glibc_of(suite)
    exe = glibc.build("split", tmp_path)
    with running(exe, directory=tmp_path / "run") as inferior:
        inside = [int(words[1], 16) + (1 << 20) & -PAGE for words in inferior.oracle.known]
        starts = {region.start for region in regions(inferior.pid)}
        assert starts & set(inside), "the kernel has cut none"
        words = (*glibc.symbols, "-p", inferior.pid)
        glibc_s_own(inferior, reports(COMMANDS, tmp_path / "live", words))
        core = kernel_core(inferior)
    glibc_s_own(inferior, reports(COMMANDS, tmp_path / "dead", (*glibc.symbols, exe, core)))
    core.unlink()
