"""malloc_trim's page arithmetic, and the free space that it works on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from heapbuilder import PAGE, Pages

from gdb_heapx.heap.holes import Holes, Trimmer
from gdb_heapx.target.amounts import NOTHING, Amount
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import RESIDENT, SWAPPED, UNTOUCHED, ZERO

KIB64 = 64 << 10
P = 0x7F1000100000  # the start of a page, of 64 KiB as well
LOCKED = Usage(0, 0, 0, 0, 0, 0, True, None)


def trimmer(word=8, page=PAGE, residency=None, locked=()):
    """Return the Trimmer of a process with these locked (start, end) and one mapping unlocked."""
    unlocked = Mapping(P - (1 << 20), P, "rw-p", 0, "", 0, LOCKED._replace(locked=False))
    mappings = [unlocked, *(unlocked._replace(start=s, end=e, usage=LOCKED) for s, e in locked)]
    target = SimpleNamespace(page=page, word=word, residency=residency, mappings=mappings)
    return Trimmer(target)


def unknown(size):
    return Amount(size, None, None)


def holes(*chunks, top=0, **machine):
    """Return what these (start, size, fast) leave, before top."""
    looking = trimmer(**machine)
    folded = Holes(looking, machine.get("residency"))
    for chunk in chunks:
        folded.add(*chunk)
    folded.close(top)
    return folded


# By hand from malloc.c, mtrim: from the page behind the chunk's first six words, to its end's page.
FITTING = (
    (8, PAGE, -48, 4144, (0, 1)),  # the smallest chunk, where it lies best
    (8, PAGE, -48, 4128, None),
    (8, PAGE, -64, 4144, (0, 0)),
    (8, PAGE, -64, 4160, (0, 1)),
    (8, PAGE, -32, 8208, (1, 1)),  # its six words reach into the next page
    (8, PAGE, -32, 8224, (1, 2)),
    (8, PAGE, 0, 4144, (1, 1)),
    (8, PAGE, 0, 8176, (1, 1)),
    (8, PAGE, 0, 8192, (1, 2)),
    (8, PAGE, 16, 1 << 20, (1, 256)),
    (4, PAGE, -24, 4120, (0, 1)),  # two words of alignment, as on ARM
    (4, PAGE, -24, 4112, None),
    (4, PAGE, -32, 4120, (0, 0)),
    (4, PAGE, -24, 4128, (0, 1)),  # four words, as on i386: chunks lie at 8 modulo 16
    (4, PAGE, -8, 8192, (1, 1)),
    (4, PAGE, -8, 8208, (1, 2)),
    (8, KIB64, -48, KIB64 + 48, (0, 1)),
    (8, KIB64, -48, KIB64 + 32, None),
    (8, KIB64, 16, 2 * KIB64 - 32, (1, 1)),
    (8, KIB64, 16, 2 * KIB64 - 16, (1, 2)),
)


@pytest.mark.parametrize(("word", "page", "offset", "size", "pages"), FITTING)
def test_a_free_chunk_gives_the_whole_pages_behind_its_first_six_words(
    word, page, offset, size, pages
):
    found = holes((P + offset, size, False), word=word, page=page)
    first, stop = pages or (0, 0)
    assert found.returned.bytes == (stop - first) * page
    assert found.partial.bytes == (size - (stop - first) * page if pages else 0)
    if pages:
        span = trimmer(word, page).whole_pages(P + offset, size)
        assert span == (P + first * page, P + stop * page)


@pytest.mark.parametrize(("word", "smallest"), [(4, PAGE + 24), (8, PAGE + 48)])
def test_the_smallest_chunk_is_a_page_and_six_words(word, smallest):
    assert trimmer(word).smallest == smallest


def test_no_chunk_that_is_smaller_holds_a_page():
    looking = trimmer()
    for start in range(P, P + PAGE, 16):
        first, stop = looking.whole_pages(start, looking.smallest - 16)
        assert first == stop


# What consolidation makes one chunk of.


def chunks_of(*parts, start=P - 48):
    """Return adjacent chunks of (size, fast)."""
    found = []
    for size, fast in parts:
        found.append((start, size, fast))
        start += size
    return found


FREE, FAST = False, True


@pytest.mark.parametrize(
    "parts",
    [
        ((2048, FREE), (48, FAST), (2048, FREE)),
        ((4096, FREE), (48, FAST)),
        ((48, FAST), (4096, FREE)),
        ((128, FAST),) * 32 + ((48, FAST),),
        ((48, FAST), (32, FREE), (64, FAST), (4000, FREE)),
    ],
)
def test_a_fast_chunk_becomes_one_with_what_is_free_around_it(parts):
    assert holes(*chunks_of(*parts)).returned.bytes == PAGE


@pytest.mark.parametrize("part", [1, 2])
def test_parts_that_do_not_touch_stay_apart(part):
    chunks = chunks_of((2048, FREE), (48, FAST), (2048, FREE))
    moved = [(start + 16 * (number >= part), *rest) for number, (start, *rest) in enumerate(chunks)]
    assert holes(*moved).returned.bytes == 0


def test_small_chunks_are_no_part_of_pages():
    found = holes((P, 512, False), (P + 1024, 64, True))
    assert {found.returned, found.partial, found.into_top} == {unknown(0)}


@pytest.mark.parametrize(
    ("parts", "into_top"),
    [
        (((64, FAST),), 64),
        (((4096, FREE), (64, FAST)), 4160),
        (((64, FAST), (1 << 20, FREE), (64, FAST)), (1 << 20) + 128),
    ],
)
def test_what_a_fast_chunk_joins_with_top_is_no_hole_any_more(parts, into_top):
    chunks = chunks_of(*parts)
    start, size, _ = chunks[-1]
    found = holes(*chunks, top=start + size)
    assert found.into_top == unknown(into_top)
    assert {found.returned, found.partial} == {unknown(0)}


def test_a_fast_chunk_that_does_not_touch_top_stays_below_it():
    assert holes((P, 64, True), top=P + 128).into_top.bytes == 0


def test_each_heap_has_its_own_holes():
    looking = trimmer()
    folded = Holes(looking, None)
    for start in (P - 48, P + (64 << 20) - 48):
        folded.add(start, 4144, False)
        folded.close(0)
    assert folded.returned.bytes == 2 * PAGE


# What the kernel takes of it.


def pages_of(*states, start=P):
    residency = Pages()
    for number, state in enumerate(states):
        residency.mark(start + number * PAGE, start + (number + 1) * PAGE, state)
    return residency


def test_pages_go_from_ram_and_from_swap_and_some_are_gone_already():
    states = (RESIDENT, RESIDENT, SWAPPED, UNTOUCHED, ZERO, RESIDENT)
    found = holes((P + PAGE - 48, 5 * PAGE + 48, False), residency=pages_of(*states))
    assert found.returned == Amount(3 * PAGE, 2 * PAGE, PAGE)
    assert (found.gone, found.kept) == (Amount(2 * PAGE, 0, 0), NOTHING)


def at(first, stop):
    return P + first * PAGE, P + stop * PAGE


@pytest.mark.parametrize(
    ("locked", "returned"),
    [
        ([], 8),
        ([at(8, 9), at(-3, 0)], 8),
        ([at(3, 5)], 3),  # what is behind it stays, too
        ([at(7, 20)], 7),
        ([at(0, 1)], 0),
        ([at(-5, 1)], 0),
        ([at(-5, 20)], 0),
        ([at(6, 7), at(2, 3)], 2),
    ],
)
def test_locked_memory_ends_what_madvise_returns(locked, returned):
    residency = pages_of(*[RESIDENT, SWAPPED] * 4)
    found = holes((P - 48, 8 * PAGE + 48, False), residency=residency, locked=locked)
    out, kept = returned // 2, 8 - returned
    assert found.returned == Amount(returned * PAGE, (returned - out) * PAGE, out * PAGE)
    assert found.kept == Amount(kept * PAGE, kept // 2 * PAGE, (kept - kept // 2) * PAGE)
    assert found.gone == NOTHING
    unmapped = trimmer(residency=residency, locked=locked).unmapped(*at(0, 8))
    assert unmapped == Amount(8 * PAGE, 4 * PAGE, 4 * PAGE)


def test_bytes_around_whole_pages_count_by_the_page_they_lie_in():
    states = (UNTOUCHED, RESIDENT, SWAPPED, RESIDENT)
    found = holes((P + 512, 3 * PAGE, False), residency=pages_of(*states))
    assert (found.returned, found.gone) == (Amount(2 * PAGE, PAGE, PAGE), NOTHING)
    assert found.partial == Amount(PAGE, 512, 0)


def test_what_joins_top_counts_by_its_pages():
    found = holes((P + 4000, 128, True), top=P + 4128, residency=pages_of(UNTOUCHED, RESIDENT))
    assert found.into_top == Amount(128, 32, 0)


def test_where_residency_is_unknown_every_whole_page_may_go():
    found = holes((P + 512, 3 * PAGE, False), (P + 9000, 64, True))
    assert (found.returned, found.kept) == (unknown(2 * PAGE), unknown(0))
    assert (found.partial, found.into_top) == (unknown(PAGE), unknown(0))
