"""The compiled walk under AddressSanitizer and UBSan, and on aarch64: it returns the same."""

from __future__ import annotations

import pytest
from walkcalls import ON_AARCH64, At, Call, Calls, made_by, made_here, native, on_aarch64, sanitized

WORDS = bytes(range(64))
CALLS = Calls(
    (WORDS, b""),
    (
        Call("heapx_abi"),
        Call("heapx_sum", (At(0, 16), 6)),
        Call("heapx_sum", (At(0), 8)),
        Call("heapx_sum", (At(1), 0)),
    ),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Return what the calls make of the walk for this machine."""
    return made_here(native(tmp_path_factory.mktemp("native")), CALLS)


@pytest.fixture(scope="module")
def under_sanitizers(tmp_path_factory):
    return sanitized(tmp_path_factory.mktemp("sanitized"))


def test_under_sanitizers_it_returns_and_leaves_the_same(under_sanitizers, here):
    assert made_by(under_sanitizers, [CALLS, CALLS]) == [here, here]


def test_a_sanitizer_sees_a_word_too_many(under_sanitizers):
    beyond = Calls((WORDS,), (Call("heapx_sum", (At(0), len(WORDS) // 8 + 1)),))
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        made_by(under_sanitizers, [beyond])


@pytest.mark.parametrize("compiler", ON_AARCH64)
def test_on_aarch64_it_returns_and_leaves_the_same(compiler, here, tmp_path):
    assert made_by(on_aarch64(tmp_path, compiler), [CALLS]) == [here]
