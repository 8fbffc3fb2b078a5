"""Two threads walk over a heap in turn: as one would, and both have ended afterwards."""

from __future__ import annotations

import ctypes
import threading
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.heap import relay
from gdb_heapx.heap.relay import Relay, span

WORD, START = 8, 1 << 20
WINDOW = 256


@pytest.fixture(autouse=True)
def _small_windows_and_no_thread_left():
    before = threading.active_count()
    with mock.patch.multiple(relay, WINDOW=WINDOW, LEAST=2 * WINDOW):
        yield
    assert threading.active_count() == before


class Records:
    """Memory of records, each with its size in words first. `take` is as the compiled walk: the
    next record must begin in what is held.
    """

    def __init__(self, sizes, stop_at=None):
        data = [word for size in sizes for word in [size, *[0] * (size - 1)]]
        self.data = b"".join(word.to_bytes(WORD, "little") for word in data)
        self.end = START + len(self.data)
        self.taken = []
        self.threads = set()
        self.stop_at = stop_at
        self.unreadable = None

    def fill(self, address, room):
        if self.unreadable is not None and address + len(room) > self.unreadable:
            return False
        room[:] = self.data[address - START :][: len(room)]
        return True

    def take(self, place, size, address):
        self.threads.add(threading.get_ident())
        held = memoryview(ctypes.string_at(place, size)).cast("Q")
        at = 0
        while at < len(held) and at + held[at] < len(held) and address + at * WORD != self.stop_at:
            self.taken.append(address + at * WORD)
            at += held[at]
        return address + at * WORD

    def all(self):
        """Return where the records lie that can be taken."""
        places, at = [], 0
        words = memoryview(self.data).cast("Q")
        while at < len(words):
            places.append(START + at * WORD)
            at += words[at]
        return places

    def relay(self, goes_on=lambda: True):
        return Relay(self.fill, START, self.end, self.take, goes_on)


@tried(200)
@given(st.randoms(use_true_random=True))
def test_each_record_is_taken_once_and_in_order(seed):
    records = Records([seed.randint(1, WINDOW // WORD) for _ in range(seed.randint(1, 300))])
    reached = records.relay().run()
    *taken, last = records.all()
    assert records.taken == taken
    assert reached == last


def test_both_threads_take_part():
    records = Records([3] * 1000)
    records.relay().run()
    assert len(records.threads) == 2


@tried(200)
@given(st.randoms(use_true_random=True))
def test_it_ends_where_a_record_is_unusual_or_unread_or_too_large(seed):
    sizes = [seed.randint(1, 20) for _ in range(200)]
    how = seed.choice(["unusual", "unread", "too large"])
    if how == "too large":
        sizes[seed.randrange(150)] = 3 * WINDOW // WORD
    records = Records(sizes)
    places = records.all()
    if how == "unusual":
        records.stop_at = seed.choice(places)
    if how == "unread":
        records.unreadable = seed.randrange(START, records.end)
    reached = records.relay().run()
    assert records.taken == places[: len(records.taken)]
    assert reached == places[len(records.taken)]
    if how == "unusual":
        assert reached == records.stop_at
    if how == "unread":
        assert records.unreadable - 3 * WINDOW < reached < records.unreadable
    if how == "too large":
        first = next(p for p, size in zip(places, sizes) if size > WINDOW // WORD)
        assert reached == first


def test_it_ends_where_reading_is_stopped():
    asked = iter([True, True, False])
    records = Records([3] * 1000)
    reached = records.relay(lambda: next(asked)).run()
    assert 0 < reached - START < 6 * WINDOW
    assert records.taken == records.all()[: len(records.taken)]


def test_an_exception_in_the_thread_that_asked_ends_both():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Records([3] * 1000).relay(interrupted).run()


# Where two threads may walk.


class Space:
    def __init__(self, states, page=WINDOW):
        self.page, self.residency = page, self
        self.fill = lambda address, room: True
        self._states = states

    def states(self, start, end):
        first = (start - START) // self.page
        return self._states[first : -(-(end - START) // self.page)]


RESIDENT, SWAPPED, UNTOUCHED, SHARED = 1, 2, 0, 4


@pytest.mark.parametrize("odd", [SWAPPED, UNTOUCHED])
def test_only_what_is_in_ram_is_read_in_any_thread(odd):
    space = Space(bytes([RESIDENT, SHARED, RESIDENT, odd, RESIDENT, RESIDENT]))
    assert span(space, START + 16, START + 6 * WINDOW) == START + 3 * WINDOW
    assert span(space, START + 2 * WINDOW, START + 6 * WINDOW) == START + 2 * WINDOW


def test_what_is_little_or_only_gdbs_or_has_one_processor_is_read_by_one_thread():
    space = Space(bytes([RESIDENT]) * 6)
    assert span(space, START, START + 6 * WINDOW) == START + 6 * WINDOW
    assert span(space, START, START + 2 * WINDOW - 1) == START
    with mock.patch.object(relay.os, "sched_getaffinity", return_value={0}):
        assert span(space, START, START + 6 * WINDOW) == START
    space.fill = None
    assert span(space, START, START + 6 * WINDOW) == START
