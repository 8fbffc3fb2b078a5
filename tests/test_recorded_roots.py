"""Roots on recorded processes of several releases and of two word sizes."""

from __future__ import annotations

import pytest
import recorded

from gdb_heapx.held.own import HINT
from gdb_heapx.held.root import RootKind
from gdb_heapx.held.roots import find_roots
from gdb_heapx.snapshots.malloc import EVERYTHING

every_image = pytest.mark.parametrize("name", recorded.SOUND)


def roots(recording):
    return find_roots(recording.session._read)


@pytest.mark.few(16)
@every_image
def test_each_dtv_that_libc_has_allocated_begins_a_chunk_in_use(name):
    """That of the main thread is from ld.so's own malloc."""
    image = recorded.load(name)
    header = 2 * image.facts["word"]
    chunks = {chunk.address + header for chunk in image.session.catalogue(EVERYTHING).chunks()}
    dtvs = [r for r in roots(image).registers if r.kind is RootKind.TLS]
    assert {r.lwp for r in dtvs} >= {thread["lwp"] for thread in image.facts["threads"]}
    assert {r.words[0] for r in dtvs if r.lwp != image.pid} <= chunks
    stacks = [stack for stack in image.session._read.stacks if not stack.lwp]
    left = chunks.intersection(roots(image).left)
    assert len(left) >= len(stacks)


@pytest.mark.few(12)
@every_image
def test_without_debug_info_the_roots_are_the_same(name):
    """But for one word, which may then be malloc's own."""
    image = recorded.load(name)
    (libc, *_) = image.session._read.mallocs
    hint = libc.libc.image.address(HINT)
    known, found = roots(image), roots(image.without_symbols)
    assert hint is not None
    apart = set(known.spans) ^ set(found.spans)
    assert {(root.kind, root.image) for root in apart} <= {
        (RootKind.GLOBAL, known.at(hint - libc.libc.layout.word).image)
    }
    assert known.registers == found.registers
    assert known.blocks == found.blocks


@every_image
def test_each_thread_has_a_struct_pthread_with_its_keys_and_its_blocks(name):
    image = recorded.load(name)
    found, threads = roots(image), {thread["lwp"] for thread in image.facts["threads"]}
    assert {root.lwp for root in found.spans if root.kind is RootKind.KEY} == threads
    assert {block.lwp for block in found.blocks} == threads
    files = image.session.target.objects
    assert any("libc" in files[block.image].path for block in found.blocks)
