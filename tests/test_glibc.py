"""The annotated structs against layouts that were read from real debug info, and known facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdb_heapx.glibc import releases
from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.glibc.releases import annotated_layout

LAYOUTS = json.loads((Path(__file__).parent / "layouts.json").read_text())
ARCHITECTURES = {
    "amd64": (8, Architecture.X86_64),
    "i386": (4, Architecture.I386),
    "arm64": (8, Architecture.AARCH64),
}
AMD64, I386, ARM = (8, Architecture.X86_64), (4, Architecture.I386), (4, Architecture.ARM)


def parse(pair: str) -> tuple[int, Architecture, tuple[int, int]]:
    release, architecture = pair.split("-")
    major, minor = release.split(".")
    return (*ARCHITECTURES[architecture], (int(major), int(minor)))


def as_list(struct) -> list:
    return [struct.size, *([n, m.offset, m.size] for n, m in struct.members.items())]


@pytest.mark.parametrize("pair", LAYOUTS)
def test_the_annotated_structs_equal_real_debug_info(pair):
    layout = annotated_layout(*parse(pair))
    structs = (layout.state, layout.par, layout.heap_info, layout.tcache)
    ours = {struct.name: as_list(struct) for struct in structs if struct}
    theirs = {
        name: [size, *(field for field in fields if field[0] != "pad")]
        for name, (size, *fields) in LAYOUTS[pair].items()
    }
    assert ours == theirs


# Releases and architectures without debug info at hand: from the source.
@pytest.mark.parametrize(
    ("machine", "release", "state", "heap_info", "tcache"),
    [
        (AMD64, (2, 24), 2192, 32, None),
        (AMD64, (2, 26), 2192, 32, 576),
        (I386, (2, 25), 1108, 16, None),
        (I386, (2, 26), 1112, 24, 320),
        (AMD64, (2, 29), 2200, 32, 576),
        (I386, (2, 29), 1116, 24, 320),
        (AMD64, (2, 30), 2200, 32, 640),
        (I386, (2, 30), 1116, 24, 384),
        (AMD64, (2, 32), 2200, 32, 640),
        (AMD64, (2, 33), 2200, 32, 640),
        (AMD64, (2, 34), 2200, 32, 640),
        (I386, (2, 34), 1116, 24, 384),
        (ARM, (2, 34), 1112, 16, 384),
        (ARM, (2, 36), 1112, 24, 384),
        (AMD64, (2, 38), 2200, 48, 640),
    ],
)
def test_struct_sizes_of_releases_without_debug_info(machine, release, state, heap_info, tcache):
    layout = annotated_layout(*machine, release)
    assert layout.state.size == state
    assert layout.heap_info.size == heap_info
    assert (layout.tcache and layout.tcache.size) == tcache


@pytest.mark.parametrize(
    ("release", "gap"),
    [
        ((2, 23), 0x8B0),
        ((2, 27), 0x8C0),
        ((2, 34), 0x8C0),
        ((2, 35), 0x8D0),
        ((2, 42), 0x8D0),
        ((2, 43), 0x870),
    ],
)
def test_the_first_chunk_of_a_thread_arena(release, gap):
    layout = annotated_layout(*AMD64, release)
    assert layout.first_chunk(layout.heap_info.size + layout.state.size) == gap


@pytest.mark.parametrize(
    ("word", "architecture", "release", "alignment"),
    [
        (8, Architecture.X86_64, (2, 23), 16),
        (8, Architecture.S390, (2, 36), 16),
        (4, Architecture.I386, (2, 25), 8),
        (4, Architecture.I386, (2, 26), 16),
        (4, Architecture.X32, (2, 23), 16),
        (4, Architecture.ARM, (2, 36), 8),
        (4, Architecture.POWERPC, (2, 23), 8),
        (4, Architecture.POWERPC, (2, 24), 16),
        (4, Architecture.RISCV, (2, 33), 16),
        (4, Architecture.S390, (2, 36), 8),
    ],
)
def test_malloc_alignment(word, architecture, release, alignment):
    assert releases.malloc_alignment(word, architecture, release) == alignment


def test_the_number_of_fastbins():
    def number(word, architecture):
        return annotated_layout(word, architecture, (2, 36)).state["fastbinsY"].size // word

    assert (number(*AMD64), number(*I386), number(*ARM)) == (10, 11, 10)


def test_fastbins_went_with_2_43():
    assert annotated_layout(*AMD64, (2, 42)).has_fastbins
    assert not annotated_layout(*AMD64, (2, 43)).has_fastbins


def test_safe_linking_came_with_2_32():
    assert [releases.safe_linking((2, minor)) for minor in (31, 32, 44)] == [False, True, True]


def test_the_tcache_came_with_2_26():
    assert annotated_layout(*AMD64, (2, 25)).tcache is None
    assert annotated_layout(*AMD64, (2, 26)).tcache is not None


def test_ld_so_has_the_thread_list_from_2_34():
    assert [releases.thread_list_in_loader((2, m)) for m in (33, 34)] == [False, True]


def test_the_header_left_mmapped_sizes_with_2_43():
    assert [releases.page_sized_mmap_header((2, m)) for m in (42, 43)] == [False, True]


@pytest.mark.parametrize(
    ("word", "release", "huge", "size"),
    [
        (8, (2, 36), 0, 64 << 20),
        (4, (2, 36), 0, 1 << 20),
        (8, (2, 34), 2 << 20, 64 << 20),
        (8, (2, 35), 2 << 20, 8 << 20),
        (8, (2, 41), 2 << 20, 8 << 20),
        (8, (2, 42), 2 << 20, 64 << 20),
    ],
)
def test_heap_max_follows_huge_pages_from_2_35_to_2_41(word, release, huge, size):
    assert releases.heap_max(word, release, huge) == size
