"""Texts of /proc, environments and names: the process controls what is in them."""

from __future__ import annotations

import json
import os

from fuzzed import bounded, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from test_procfs import MAPS, SMAPS

from gdb_heapx.errors import HeapxError, escape, valid
from gdb_heapx.snapshots.regions import owner_of
from gdb_heapx.target.maps import parse_maps, parse_smaps
from gdb_heapx.target.procfs import (
    malloc_variables,
    number_of,
    parse_state,
    parse_status,
)
from gdb_heapx.why.sources import settings_of

MIB = 1 << 20
STATUS = "Name:\tx\nState:\tS (sleeping)\nTgid:\t12\nTracerPid:\t0\nNSpid:\t12\t1\n"

names = st.binary(max_size=40).map(os.fsdecode)
words = st.sampled_from(
    ("0", "-", ":", " ", "\t", "\n", "9" * 5000, "ffff", "kB", "[heap]", "rw-p")
)


@st.composite
def edited(draw, text):
    """Return a text with words put in, and parts taken out."""
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(text)))
        after = min(len(text), at + draw(st.sampled_from((0, 0, 1, 5, 50))))
        text = text[:at] + draw(st.one_of(words, names)) + text[after:]
    return text


def texts(whole):
    return st.one_of(edited(whole), names, st.text(max_size=100))


@fuzzed
@given(texts(MAPS), texts(SMAPS))
def test_any_maps_are_mappings(maps, smaps):
    with bounded(32 * MIB):
        for mapping in (*parse_maps(maps), *parse_smaps(smaps), *parse_smaps(maps)):
            assert 0 <= mapping.start < mapping.end <= 1 << 64
            owner_of(mapping)


def test_mappings_without_flags_are_read_to_the_end():
    """As before Linux 3.8."""
    heads = [f"{n:x}000-{n + 1:x}000 rw-p 00000000 00:00 0\n" for n in range(1, 5)]
    assert len(parse_smaps("".join(heads))) == 4
    assert len(parse_smaps("Rss: 4 kB\n".join([*heads, ""]))) == 4


@fuzzed
@given(texts(STATUS), texts("12 (a b) S 1 2 3\n"))
def test_any_status_and_stat_are_told_or_not(status, stat):
    with bounded(32 * MIB):
        for value in parse_status(status).values():
            assert number_of(value) is None or number_of(value) >= 0
        assert len(parse_state(stat)) <= 1


ENVIRONMENT = b"A=1\0GLIBC_TUNABLES=glibc.malloc.top_pad=1:x=\0MALLOC_ARENA_MAX=2\0"
entries = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from((b"\0", b"=", b":", b"MALLOC_TOP_PAD_=", b"GLIBC_TUNABLES=", b"glibc.x=")),
        st.sampled_from((b"9" * 6000, b"0x" + b"f" * 6000, b"-0" + b"7" * 6000, ENVIRONMENT)),
    ),
    max_size=12,
).map(b"".join)


@fuzzed
@given(entries)
def test_any_environment_is_variables_and_numbers(data):
    with bounded(32 * MIB):
        for setting in settings_of(malloc_variables(data)):
            assert 0 <= setting.number < 1 << 64
            assert setting.clean in (True, False)


def test_many_tunables_take_no_more_than_they_are():
    data = b"GLIBC_TUNABLES=x\0" + b"glibc.a=b\0" * 10_000
    with bounded(32 * MIB):
        assert malloc_variables(data)["GLIBC_TUNABLES"].count("glibc.a=b") == 10_000


@fuzzed
@given(names)
def test_any_name_can_be_shown_and_encoded(name):
    for text in (escape(name), str(HeapxError(name)).replace("\n", "")):
        assert text.isprintable()
        text.encode()
    assert json.loads(json.dumps(valid(name)).encode()) == valid(name)
    valid(name).encode()
