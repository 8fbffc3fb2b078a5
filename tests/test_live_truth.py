"""What test programs say of their own chunks is true: valgrind and symbols say the same."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import memcheck
import pytest
from live import Region, regions, run
from releases import need
from sets import classes_of, holders_of, sets_of

pytestmark = pytest.mark.live

LISTED = ("leaks", "list", "2000")
PROGRAMS = (("leaks",), ("leaks_threads",), ("leaks", "stale"), LISTED)

# valgrind's word for each degree. To it the 128 bytes below a stack pointer are of the stack.
FATES = {
    "reachable": "still reachable",
    "interior": "possibly lost",
    "red_zone": "still reachable",
    "leaked": "definitely lost",
    "indirect": "indirectly lost",
}


class Difference(NamedTuple):
    """What valgrind says of a set otherwise, and why."""

    fate: str
    why: str


DIFFERENCES = {
    "by_shared_mapping": Difference("still reachable", "shared mappings are roots to it"),
    "by_vector_register": Difference("definitely lost", "it looks into general registers only"),
    "by_upper_half_of_vector_register": Difference("definitely lost", "the same"),
    "by_tls_of_library_in_thread": Difference(
        "possibly lost", "to it a DTV is a chunk like others, and struct pthread points inside it"
    ),
    "by_stack_left_for_fiber": Difference(
        "definitely lost", "a stack that a thread has left for another is gone, unless registered"
    ),
    "by_tls_of_ended_thread": Difference(
        "still reachable", "the TLS in the stack that nptl keeps is memory like other"
    ),
    "by_tls_of_library_of_ended_thread": Difference(
        "possibly lost", "the DTV in the stack that nptl keeps leads to it"
    ),
}


@pytest.fixture(scope="module", params=PROGRAMS, ids=" ".join)
def checked(request, inferiors, tmp_path_factory):
    need(valgrind="valgrind")
    name, *arguments = request.param
    return memcheck.checked(inferiors / name, *arguments, directory=tmp_path_factory.mktemp(name))


def fates_of(checked, request):
    """Return the blocks of this size by fate."""
    alike = [r for r in checked.records if r.bytes == r.blocks * request]
    return {
        fate: sum(r.blocks for r in alike if r.fate == fate) for fate in {r.fate for r in alike}
    }


@pytest.mark.slow
def test_valgrind_says_of_each_set_what_the_program_says_but_for_the_differences_named(checked):
    sets = sets_of(checked.oracle).values()
    assert sets
    for one in sets:
        expected = Counter()
        for degree, chunks in one.chunks.items():
            different = DIFFERENCES.get(one.name)
            expected[different.fate if different else FATES[degree]] += chunks
        assert (one.name, fates_of(checked, one.request)) == (one.name, expected)


def test_nothing_but_the_sets_is_lost_by_valgrind_s_verdict(checked):
    requests = {one.request for one in sets_of(checked.oracle).values()}
    others = [r for r in checked.records if r.bytes // r.blocks not in requests]
    lost = [r for r in others if r.fate in ("definitely lost", "indirectly lost")]
    left = [r for r in lost if "by_stack_left_for_fiber" not in r.frames]  # DIFFERENCES: its DTV
    assert others
    assert not left


@pytest.mark.slow
def test_what_a_program_of_holders_has_lost_is_what_valgrind_misses(cxx_inferiors, tmp_path):
    need(valgrind="valgrind")
    oracle, records = memcheck.checked(cxx_inferiors / "holders", directory=tmp_path)
    (known,) = (words for words in oracle.known if words[0] == "unreachable")
    lost = [r for r in records if r.fate in ("definitely lost", "indirectly lost")]
    assert sum(r.blocks for r in lost) == int(known[1])
    assert holders_of(oracle)


# Pointers that are in memory, where they don't count; and those that are in no memory at all.
TRAPS = {
    "leaks": ("by_shared_mapping", "by_tcached", "by_binned", "by_fast"),
    "leaks_threads": (
        "by_below_stack_pointer",
        "by_red_zone",
        "by_stack_of_ended_thread",
        "by_tls_of_ended_thread",
        "by_tls_of_library_of_ended_thread",
    ),
    "leaks_forked": ("by_stack_of_thread_of_parent", "by_tls_of_thread_of_parent"),
}
IN_REGISTERS = (
    "by_register",
    "by_register_to_inside",
    "by_vector_register",
    "by_upper_half_of_vector_register",
    "by_vector_register_of_avx512",
)


def words_in(pid: int, region: Region) -> array[int]:
    """Return the words of a mapping of a process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(region.start)
        return array("Q", memory.read(region.end - region.start))


def words_of(pid: int) -> Iterator[array[int]]:
    """Yield the words of each writable mapping of a process."""
    return (words_in(pid, region) for region in regions(pid) if "w" in region.permissions)


@pytest.mark.parametrize("name", TRAPS)
def test_a_pointer_that_is_not_to_count_is_in_memory(name, start):
    oracle = start(name).oracle
    pid = int((oracle.directory / "ready").read_text())  # which may be a child's
    sets = sets_of(oracle)
    missing = {trap: sets[trap].address for trap in TRAPS[name]}
    for words in words_of(pid):
        found = set(words)
        missing = {trap: address for trap, address in missing.items() if address not in found}
    assert not missing


def test_a_chunk_that_only_a_register_refers_to_is_referred_to_nowhere_in_memory(start):
    inferior = start("leaks_threads")
    sets = sets_of(inferior.oracle)
    chunks = [range(s.address, s.address + s.request) for n, s in sets.items() if n in IN_REGISTERS]
    if not chunks:
        pytest.skip("the program has no code for the registers of this CPU")
    low, high = min(c.start for c in chunks), max(c.stop for c in chunks)
    for words in words_of(inferior.pid):
        near = [word for word in words if low <= word < high]
        assert not [word for word in near for chunk in chunks if word in chunk]


def vtables(exe: Path) -> dict[str, range]:
    """Return where a program's vtables are in its file, by class."""
    lines = run(("nm", "-C", "-S", exe)).out.splitlines()
    found = (re.match(r"(\w+) (\w+) \w vtable for (.*)", line) for line in lines)
    return {m[3]: range(int(m[1], 16), int(m[1], 16) + int(m[2], 16)) for m in found if m}


def heap_words(pid: int) -> Counter[int]:
    """Return the words of a process's heap, and how often each is there."""
    (heap,) = (r for r in regions(pid) if r.name == "[heap]")
    return Counter(words_in(pid, heap))


def test_the_heap_has_a_pointer_to_the_vtable_for_each_object_that_the_program_knows(
    cxx_inferiors, start_once, inferiors
):
    inferior = start_once("types")
    exe = inferiors / "types"
    base = next(r.start for r in regions(inferior.pid) if r.name == str(exe))
    words = heap_words(inferior.pid)
    known = {**classes_of(inferior.oracle), **classes_of(inferior.oracle, "dead")}
    tables = vtables(exe)
    for name, kind in known.items():
        table = tables[name]
        found = {n for word, n in words.items() if word - base in table}
        assert (name, found) == (name, {kind.instances})  # by each of its vtable pointers
    assert set(tables) - set(known) <= {
        "zoo::Animal",
        "zoo::Swimmer",
        "zoo::Left",
        "zoo::Right",
    } | {name for name in tables if name.startswith("std::")}


def test_a_program_without_symbols_knows_the_same(cxx_inferiors, start):
    def told(name):
        return [line for line in start(name).oracle.known if "class" in line or "data" in line]

    assert told("types_stripped") == told("types")
    assert not run(("nm", cxx_inferiors / "types_stripped")).out
