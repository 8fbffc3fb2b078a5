"""The compiled walk's calls as heaps make them, again: under sanitizers, and on aarch64.

They are recorded while snapshots are taken, of recorded images and of a heap that a test builds.
Under sanitizers they are made with damaged memory, too.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from live import scenes
from properties import SHARE
from recorded import IMAGES, load, target_of
from test_table import joining, listed
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

from gdb_heapx.heap import compiled, table, walk
from gdb_heapx.heap.cells import ROW
from gdb_heapx.heap.declared import CTable, CWalk
from gdb_heapx.heap.library import Library
from gdb_heapx.snapshots import walks
from gdb_heapx.snapshots.take import take

NAMES = sorted(path.stem for path in IMAGES.glob("*-amd64*.zip"))
SOME = ("2.36-amd64", "2.36-amd64-tcaches", "2.36-amd64-fast", "2.36-amd64-damaged-size")
MOST = 200  # calls that are recorded of an image
ROOM = 2000  # chunks that a table has room for


@dataclass
class Buffers:
    """The memory that a call is given: structs, and what their pointers lead to, each once.

    `foreign` are those that have words of the process, each with the first of them, how far they
    are from each other, and their bytes.
    """

    places: list[tuple[int, int, type]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    foreign: list[tuple[int, int, int, int]] = field(default_factory=list)

    def add(self, struct: Any) -> int:
        """Add a struct, and return its number."""
        place = ctypes.addressof(struct), ctypes.sizeof(struct), type(struct)
        if place in self.places:
            return self.places.index(place)
        number = len(self.places)
        self.places.append(place)
        for at, led in (_of_walk if isinstance(struct, CWalk) else _of_table)(struct):
            self.points.append(Point(At(number, at), At(self._led(struct, at, led))))
        return number

    def _led(self, struct: Any, at: int, led: Any) -> int:
        if not isinstance(led, int):
            return self.add(led)
        self.places.append((ctypes.c_uint64.from_buffer(struct, at).value, led, ctypes.c_char))
        number = len(self.places) - 1
        if isinstance(struct, CWalk) and at != CWalk.cells.offset:
            self.foreign.append((number, 0, 8, 8))
        elif at == CTable.rows.offset:  # the links of each row; where it lies is the walk's
            cells = range(1, 2 if struct.width == 2 else 3)
            self.foreign += ((number, 4 * (struct.width + i), 4 * struct.width, 4) for i in cells)
        return number

    def held(self) -> tuple[bytes, ...]:
        """Return what they hold, with zeros for pointers."""
        found = [bytearray(ctypes.string_at(at, size)) for at, size, _ in self.places]
        for number, byte in (point.at for point in self.points):
            found[number][byte : byte + 8] = bytes(8)
        return tuple(map(bytes, found))


# A call with what came of it, and `foreign` of its buffers.
Recorded = tuple[Calls, Made, "list[tuple[int, int, int, int]]"]


@dataclass
class Recorder:
    """walk.c's functions, for a CompiledWalk; `kept` are the calls with what came of each, and
    which of their memory is the process's.
    """

    code: Any
    kept: list[Recorded] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            result: int = self._call(name, arguments)
            return result

        return call

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in ("heapx_close", "heapx_end_cells", "heapx_upwards"):  # the last: test_chains.py
            return getattr(self.code, name)(*arguments)
        buffers, words = Buffers(), [a for a in arguments if isinstance(a, bytes)]
        passed = [
            a if isinstance(a, (int, bytes)) else At(buffers.add(getattr(a, "_obj", a)))
            for a in arguments
        ]
        last = len(buffers.places)
        numbers = tuple(At(last) if isinstance(a, bytes) else a for a in passed)
        before = (*buffers.held(), *words)
        result = getattr(self.code, name)(*arguments)
        made = Made((result,), (*buffers.held(), *words))
        foreign = [*buffers.foreign, *((last, 0, 8, 8) for _ in words)]
        if sum(calls.calls[0].name == name for calls, _, _ in self.kept) < MOST:
            calls = Calls(before, (Call(name, numbers),), tuple(buffers.points))
            self.kept.append((calls, made, foreign))
        return result


def _of_walk(struct: Any) -> Iterator[tuple[int, Any]]:
    """Yield where in a struct walk pointers lie, each with the size or struct that it leads to."""
    page = 1 << struct.page_bits
    end = -(-struct.limit // page) * page
    sizes = {
        "states": (end - struct.states_at) // page if struct.states_at else 0,
        "cached": 8 * struct.cached_left,
        "fast": 8 * struct.fast_left,
    }
    yield from ((getattr(CWalk, name).offset, size) for name, size in sizes.items() if size)
    if struct.cells.amounts:
        cells = (struct.limit - 1 >> struct.cells.bits) - struct.cells.first + 1
        yield CWalk.cells.offset, 8 * ROW * cells
    for i, each in enumerate(struct.tables):
        if each:
            yield CWalk.tables.offset + 8 * i, each.contents


def _of_table(struct: Any) -> Iterator[tuple[int, Any]]:
    """Yield the same of a struct table."""
    yield CTable.rows.offset, 4 * struct.width * (struct.room + 1)
    yield CTable.latest.offset, 4 * ((struct.places >> struct.part) + 1)


@pytest.fixture(scope="module")
def record(shared):
    """Return what records the calls that a snapshot of a target makes."""
    code = native(shared)
    library = Library(code, "here", Path("walk.so"))

    def calls(name: str | None) -> list[Recorded]:
        recorder = Recorder(compiled.declared(code))
        heap = listed(random.Random(1), chunks=60)
        target = heap.target() if name is None else target_of(load(name))
        with (
            joining(),
            mock.patch.object(table, "available", return_value=ROOM * 160),
            mock.patch.object(walk, "library", return_value=library),
            mock.patch.object(walks, "library", return_value=library),
            mock.patch.object(table, "library", return_value=library),
            mock.patch.object(compiled, "declared", return_value=recorder),
            mock.patch.object(table, "declared", return_value=recorder),
        ):
            take(target)
        made = {calls.calls[0].name for calls, _, _ in recorder.kept}
        assert "heapx_walk" in made
        assert name or "heapx_join" in made
        return recorder.kept

    return calls


@pytest.fixture(scope="module")
def under_sanitizers(shared):
    return sanitized(shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, *scenes(NAMES, live=SOME)])
def test_under_sanitizers_a_heap_s_calls_return_and_leave_the_same(under_sanitizers, record, name):
    made, expected, _ = zip(*record(name))
    assert made_by(under_sanitizers, made) == list(expected)


def damaged(recorded: Recorded, chance: random.Random) -> Calls:
    """Return a call with a few words of the process, and of its lists, that are others."""
    calls, _, foreign = recorded
    buffers = list(map(bytearray, calls.buffers))
    for number, first, step, size in foreign:
        words = buffers[number]
        places = range(first, len(words) - size + 1, step)
        for _ in range(chance.randrange(4) if places else 0):
            at, other = chance.choice(places), chance.choice(places)
            found = int.from_bytes(words[other : other + size], "little")
            words[at : at + size] = word(chance, found, 8 * size).to_bytes(size, "little")
    return replace(calls, buffers=tuple(map(bytes, buffers)))


def word(chance: random.Random, found: int, bits: int) -> int:
    """Return a word that damage may leave: of elsewhere, nearly it, or anything."""
    return chance.choice(
        (
            found,
            found ^ 1 << chance.randrange(bits),
            chance.getrandbits(bits),
            chance.randrange(1 << 20),
            (1 << bits) - chance.randrange(1, 1 << 12),
            0,
        )
    )


@pytest.mark.parametrize("name", [None, *SOME])
@pytest.mark.slow
def test_under_sanitizers_no_word_of_the_process_is_trusted(under_sanitizers, record, name):
    chance = random.Random(name)
    made = record(name)
    made_by(under_sanitizers, [damaged(chance.choice(made), chance) for _ in range(500 // SHARE)])


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ON_AARCH64)
def test_on_aarch64_a_heap_s_calls_return_and_leave_the_same(compiler, record, shared):
    made, expected, _ = zip(*record(None), *record("2.36-amd64"))
    assert made_by(on_aarch64(shared, compiler), made) == list(expected)
