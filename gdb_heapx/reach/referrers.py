"""The words of chunks in use that lead to one chunk: in Python, and by holders.c."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator

from ..held.declared import address_of
from ..held.held import Held
from ..held.index import HeldChunk
from .declared import CSearch, declared_holders
from .leads import Lead, Leads

ROOM = 1 << 12  # words that are found at once
STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on


def referring_words(held: Held, chunk: HeldChunk) -> Iterator[Lead]:
    """Yield the words of chunks that lead to a chunk, in order; StoppedError where stopped."""
    held.space.pace.begin("looking for pointers")
    if held.table is None:
        yield from _found(held, chunk)
        return
    for at in _found_compiled(held, chunk):
        yield Lead(at, held.space.read_word(at), chunk)


def root_words_to(held: Held, chunk: HeldChunk) -> Iterator[Lead]:
    """Yield the words of roots in memory that lead to a chunk, in order."""
    for at, to in zip(held.pointers.at, held.pointers.to):
        if chunk.user <= to < chunk.user + chunk.usable:
            yield Lead(at, to, chunk)


def _found(held: Held, chunk: HeldChunk) -> Iterator[Lead]:
    leads = Leads(held)
    for each in held.index.each():
        held.space.pace.check(each.address)
        yield from (lead for lead in leads.of(each) if lead.to.rank == chunk.rank)


def _found_compiled(held: Held, chunk: HeldChunk) -> Iterator[int]:
    assert held.table is not None
    functions, found = declared_holders(held.functions), array("Q", bytes(8 * ROOM))
    given = CSearch(low=chunk.user, high=chunk.user + chunk.usable, room=ROOM)
    given.found = address_of(found)
    done = 0
    while not done:
        held.space.pace.check(0)
        given.count = 0
        done = functions.heapx_refs(held.table.reference, ctypes.byref(given), STEPS)
        yield from found[: given.count]
