"""How much is fuzzed, and what bounds each case.

HEAPX_FUZZ is the number of cases of each test, 20000 in the long run; unless it is set, 300 with
CI=true, else 100.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from properties import IN_CI

CASES = int(os.environ.get("HEAPX_FUZZ", 300 if IN_CI else 100))
fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))

ENDLESS = 60  # seconds: no case takes one
EXTREMES = (0, 1, 2, 3, 7, 12, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 47)
EXTREMES += ((1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1)

numbers = st.one_of(st.sampled_from(EXTREMES), st.integers(0, (1 << 64) - 1), st.integers(0, 4096))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, first: int = 0, last: int = 512) -> bytes:
    """Return bytes that were changed at a few places, most of them in [first, last), or cut."""
    data = bytearray(whole)
    anywhere = st.integers(0, max(len(data) - 1, 0))
    places = st.one_of(st.integers(first, min(last, len(data)) - 1), anywhere)
    for _ in range(draw(st.integers(0, 6))):
        at, size = draw(places), draw(st.sampled_from((1, 2, 4, 8)))
        order = draw(st.sampled_from(("little", "big")))
        value = draw(numbers) % (1 << 8 * size)
        data[at : at + size] = value.to_bytes(size, order)[: len(data) - at]
    cut = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return bytes(data[:cut])


def _kib(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0])


@contextmanager
def bounded(memory: int) -> Iterator[None]:
    """Fail where so many bytes more are in memory at once, or where it does not end."""

    def give_up(*_: object) -> None:
        raise AssertionError("it does not end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(ENDLESS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    resident = _kib("VmHWM")
    try:
        yield
        assert (_kib("VmHWM") - resident) << 10 < memory
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
