"""The compiled walk's calls as heaps make them, again: under sanitizers, and on aarch64.

They are recorded while snapshots are taken, of recorded images and of a heap that a test builds.
Under sanitizers they are made with damaged memory, too.
"""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from heapbuilder import usual
from live import scenes
from properties import SHARE
from recorded import IMAGES, load, target_of
from walkcalls import (
    ON_AARCH64,
    At,
    Call,
    Calls,
    Made,
    Point,
    made_by,
    native,
    on_aarch64,
    sanitized,
)

from gdb_heapx.heap import compiled, walk
from gdb_heapx.heap.library import Library
from gdb_heapx.snapshots.take import take

NAMES = sorted(path.stem for path in IMAGES.glob("*-amd64*.zip"))
SOME = ("2.36-amd64", "2.36-amd64-tcaches", "2.36-amd64-fast", "2.36-amd64-damaged-size")
MOST = 200  # calls that are recorded of an image
STRUCT, WORDS = 0, -1  # the buffers of a call: struct walk is the first, words of memory the last


@dataclass
class Recorder:
    """walk.c's functions, for a CompiledWalk; `kept` are the calls with what came of each."""

    code: Any
    kept: list[tuple[Calls, Made]] = field(default_factory=list)

    def heapx_walk(self, *arguments: Any) -> int:
        return self._call("heapx_walk", *arguments)

    def heapx_run(self, *arguments: Any) -> int:
        return self._call("heapx_run", *arguments)

    def heapx_close(self, reference: Any, top: int) -> None:
        self.code.heapx_close(reference, top)

    def _call(self, name: str, reference: Any, words: bytes, *numbers: int) -> int:
        struct = reference._obj
        places, points = [], []
        for at, size in _pointers(struct).items():
            points.append(Point(At(STRUCT, at), At(len(places) + 1)))
            places.append((ctypes.c_uint64.from_buffer(struct, at).value, size))

        def buffers() -> tuple[bytes, ...]:
            return (_without_pointers(struct), *(ctypes.string_at(*at) for at in places), words)

        before = buffers()
        call = Call(name, (At(STRUCT), At(len(before) - 1), *numbers))
        result: int = getattr(self.code, name)(reference, words, *numbers)
        made = Made((result,), buffers())
        if len(self.kept) < MOST:
            self.kept.append((Calls(before, (call,), tuple(points)), made))
        return result


def _pointers(struct: Any) -> dict[int, int]:
    """Return where in a struct walk pointers lie, each with the size of what it leads to."""
    page = 1 << struct.page_bits
    end = -(-struct.limit // page) * page
    sizes = {
        "states": (end - struct.states_at) // page if struct.states else 0,
        "cached": 8 * struct.cached_left,
        "fast": 8 * struct.fast_left,
    }
    return {getattr(type(struct), name).offset: size for name, size in sizes.items() if size}


def _without_pointers(struct: Any) -> bytes:
    data = bytearray(struct)
    for name in ("states", "cached", "fast"):
        at = getattr(type(struct), name).offset
        data[at : at + ctypes.sizeof(ctypes.c_void_p)] = bytes(ctypes.sizeof(ctypes.c_void_p))
    return bytes(data)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Return what records the calls that a snapshot of a target makes."""
    code = native(tmp_path_factory.mktemp("native"))
    library = Library(code, "here", Path("walk.so"))

    def calls(name: str | None) -> list[tuple[Calls, Made]]:
        recorder = Recorder(compiled.declared(code))
        target = usual().target() if name is None else target_of(load(name))
        with (
            mock.patch.object(walk, "library", return_value=library),
            mock.patch.object(compiled, "declared", return_value=recorder),
        ):
            take(target)
        assert recorder.kept
        return recorder.kept

    return calls


@pytest.fixture(scope="module")
def under_sanitizers(tmp_path_factory):
    return sanitized(tmp_path_factory.mktemp("sanitized"))


@pytest.mark.parametrize("name", [None, *scenes(NAMES, live=SOME)])
def test_under_sanitizers_a_heap_s_calls_return_and_leave_the_same(under_sanitizers, record, name):
    made, expected = zip(*record(name))
    assert made_by(under_sanitizers, made) == list(expected)


def damaged(calls: Calls, chance: random.Random) -> Calls:
    """Return a call with a few words of the process, and of its lists, that are others."""
    buffers = list(calls.buffers)
    for index in (WORDS, *range(1, len(buffers) - 1)):
        words = bytearray(buffers[index])
        for _ in range(chance.randrange(4) if len(words) >= 8 else 0):
            at = chance.randrange(len(words) // 8) * 8
            words[at : at + 8] = word(chance, words).to_bytes(8, "little")
        buffers[index] = bytes(words)
    return replace(calls, buffers=tuple(buffers))


def word(chance: random.Random, words: bytearray) -> int:
    """Return a word that damage may leave: of elsewhere, nearly it, or anything."""
    at = chance.randrange(len(words) // 8) * 8
    found = int.from_bytes(words[at : at + 8], "little")
    return chance.choice(
        (
            found,
            found ^ 1 << chance.randrange(64),
            chance.getrandbits(64),
            chance.randrange(1 << 20),
            (1 << 64) - chance.randrange(1, 1 << 12),
            0,
        )
    )


@pytest.mark.parametrize("name", [None, *SOME])
def test_under_sanitizers_no_word_of_the_process_is_trusted(under_sanitizers, record, name):
    chance = random.Random(name)
    made = [calls for calls, _ in record(name)]
    made_by(under_sanitizers, [damaged(chance.choice(made), chance) for _ in range(500 // SHARE)])


@pytest.mark.parametrize("compiler", ON_AARCH64)
def test_on_aarch64_a_heap_s_calls_return_and_leave_the_same(compiler, record, tmp_path):
    made, expected = zip(*record(None), *record("2.36-amd64"))
    assert made_by(on_aarch64(tmp_path, compiler), made) == list(expected)
