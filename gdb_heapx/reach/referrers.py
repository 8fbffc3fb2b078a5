"""The words of chunks in use that lead to one chunk: in Python, and by holders.c."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..held.declared import CCursor, address_of
from .declared import CSearch, declared_holders
from .leads import Lead, Leads

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

ROOM = 1 << 12  # words that are found at once
STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on


def chunk_at(held: Held, address: int) -> HeldChunk | None:
    """Return the chunk in use that has an address, in its header or its memory; None without. Where
    a header begins the memory of the chunk before ends: then the header's is meant.
    """
    header, word = held.index.grains.header, held.space.word
    for at in range(address + header, address, -word):
        found = held.index.begin_at(at)
        if found is not None:
            return found
    return held.index.at(address)


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
    functions, found = declared_holders(held.functions), array("Q", bytes(8 * ROOM))
    given = _search(found, chunk.user, chunk.user + chunk.usable)
    assert held.table is not None
    for lot in held.lots.each():
        given.at, given.start = CCursor(lot.start, 0), 0
        done = 0
        while not done:
            held.space.pace.check(0)
            given.count = 0
            done = functions.heapx_refs(held.table.reference, ctypes.byref(given), STEPS)
            yield from found[: given.count]
    for large in held.large():
        yield from _found_in(held, large, chunk.user, chunk.user + chunk.usable)


def _found_in(held: Held, large: HeldChunk, low: int, high: int) -> Iterator[int]:
    """Yield where words of a large chunk lead into [low, high)."""
    assert held.table is not None
    functions, found, last = declared_holders(held.functions), array("Q", bytes(8 * ROOM)), 0
    given = _search(found, low, high)
    for _ in held.lots.pieces(large.region):
        held.table.show(large.region, held.store)
        given.region, given.chunk, given.start = large.region, large.address, large.user
        words = array("Q")
        while given.start:
            given.count = 0
            functions.heapx_refs(held.table.reference, ctypes.byref(given), 1)
            words.extend(found[: given.count])
        held.table.hide(large.region)
        yield from (at for at in words if at > last)  # pieces overlap
        last = words[-1] if words else last


def _search(found: array[int], low: int, high: int) -> CSearch:
    given = CSearch(low=low, high=high, room=len(found))
    given.found = address_of(found)
    return given


def link(held: Held, chunk: HeldChunk, to: HeldChunk) -> Lead:
    """Return the first word of a chunk that leads to the beginning of another one, or, if none
    does, to its inside: one does.
    """
    if held.table is None:
        found = [lead for lead in Leads(held).of(chunk) if lead.to.rank == to.rank]
        return next((lead for lead in found if lead.word == to.user), found[0])
    if chunk.region in held.lots.large:
        return _link_of_large(held, chunk, to)
    held.lots.bring(chunk.region)
    functions, room = declared_holders(held.functions), array("Q", bytes(8))
    for end in (to.user + 1, to.user + to.usable):
        given = _search(room, to.user, end)
        given.region, given.chunk, given.start = chunk.region, chunk.address, chunk.user
        functions.heapx_refs(held.table.reference, ctypes.byref(given), 1)
        if given.count:
            break
    return Lead(room[0], held.space.read_word(room[0]), to)


def _link_of_large(held: Held, large: HeldChunk, to: HeldChunk) -> Lead:
    for end in (to.user + 1, to.user + to.usable):
        for at in _found_in(held, large, to.user, end):
            return Lead(at, held.space.read_word(at), to)
    raise AssertionError("a chunk of a way leads to the next one")
