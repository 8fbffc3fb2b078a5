"""heapx fit says what malloc then does: on heaps at random, in any thread, on every release."""

from __future__ import annotations

import pytest
from fitting import difference, heap

pytestmark = pytest.mark.live

OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44
HEAPS, MANY, ASKS = 20, 200, 12


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def differences(heap, asks, word=8):
    """Return the asks of which something didn't come true in a child, and what."""
    said = heap.predicted(asks)
    done = {ask: heap.in_a_child(ask) for ask in asks}
    found = {ask: difference(said[ask], done[ask], word) for ask in asks}
    return {ask: (text, said[ask], done[ask]) for ask, text in found.items() if text}


@pytest.mark.parametrize("seed", [*range(HEAPS), *map(slow, range(HEAPS, MANY))])
def test_malloc_does_what_fit_says(seed, inferiors, tmp_path):
    with heap(inferiors / "fit", seed, tmp_path) as found:
        assert not differences(found, found.asks(ASKS))
