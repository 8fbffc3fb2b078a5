"""Damage in recorded images costs only itself: the claims on living processes, without one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from live import Result, table
from recorded import load
from test_live_damage import (  # noqa: F401
    test_a_damaged_heap_is_a_problem_at_its_place_and_status_1,
    test_beside_damage_the_main_arena_is_exact,
    test_in_use_is_right_or_null_but_for_chunks_that_a_broken_tcache_lost,
    test_no_problem_is_in_the_sound_arena,
    test_the_damaged_arena_is_still_listed,
)


@pytest.fixture(scope="module", params=["size", "tcache", "bin"])
def damaged(request):
    return load(f"2.36-amd64-damaged-{request.param}")


def _result(image, line):
    said = image.answer(line)
    return Result(said.status, said.text, said.warning or "")


@pytest.fixture(scope="module")
def result(damaged):
    return _result(damaged, "arenas --format json")


def test_every_command_answers_on_a_damaged_heap(damaged):
    for command in ("", "heaps", "bins", "tcache", "top", "mmapped", "check", "about"):
        result = _result(damaged, command)
        assert result.status == 1, command
        assert result.out.startswith("problem"), command


def test_what_glibc_said_when_it_aborted_is_told():
    result = _result(load("2.36-amd64-aborted"), "check")
    assert result.status == 1
    assert "malloc(): corrupted top size" in result.out


def swapped(image, one, other):
    """Return an image in which two words have changed places."""
    page, word = image.facts["page"], image.facts["word"]
    (a, i), (b, j) = ((at - at % page, slice(at % page, at % page + word)) for at in (one, other))
    pages = {**image.pages, **{start: bytearray(image.pages[start]) for start in (a, b)}}
    pages[a][i], pages[b][j] = pages[b][j], pages[a][i]
    return replace(image, pages=pages)


@pytest.mark.parametrize("name", ["2.31-amd64", "2.36-amd64", "2.44-amd64", "2.41-i386"])
@pytest.mark.few(1)
def test_two_links_that_changed_places_are_found(name):
    """Of binned chunks, whichever: fd with fd, and bk with bk."""
    image, seed = load(name), random.Random(name)
    word = image.facts["word"]
    rows = [r for r in table(image.report("bins --chunks")) if r["kind"] != "fast"]
    for _ in range(10):
        one, other = (int(row["address"], 16) for row in seed.sample(rows, 2))
        link = seed.choice((2, 3)) * word
        damaged = swapped(image, one + link, other + link)
        assert _result(damaged, "check").status == 1, (hex(one), hex(other), link)
