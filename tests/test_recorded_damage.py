"""Damage in recorded images costs only itself: the claims on living processes, without one."""

from __future__ import annotations

import pytest
from live import Result
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
