"""What a chunk in use looks like, one at a time: as the recognisers say, else by its first word."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..glibc.layout import FLAGS
from ..heap.holes import missing
from ..recognise.contents import WINDOW
from ..recognise.kinds import Code, Recognised, Type
from ..recognise.names import type_of
from ..recognise.recognisers import Contents, recognise
from .words import string_in

if TYPE_CHECKING:
    from .catalogue import Catalogue

MOST, FEW = 1 << 20, 1 << 12  # bytes of a chunk that are looked at: of one, and of each of many
# What tells less than a chunk's first word.
BY_WORD = (Code.UNRECOGNISED, Code.UNREAD, Code.SIGNATURE, Code.TEXT, Code.BEGINS_WITH_TEXT)


def recognised(
    catalogue: Catalogue, begin: int, end: int, most: int = MOST
) -> tuple[Recognised, Type] | None:
    """Return what the chunk in use is whose memory lies there, and what is said of it: as a look at
    all chunks tells, else by so many of its bytes; None where these don't tell, aren't all in RAM,
    which reading would change, or can't be read.
    """
    types = catalogue.types
    held = types.held.index.begin_at(begin) if types else None
    if types and held:
        return types.of(held)
    space, word, around = catalogue.source.space, catalogue.word, catalogue.surroundings
    size = min(end - begin, most) // word * word
    if missing(space.residency, begin, begin + size)[0]:
        return None
    data = catalogue.data(begin, size)
    if len(data) < size or size < 2 * word:
        return None
    contents = Contents(begin, space.as_words(memoryview(data)), data[:WINDOW])
    around.learn(contents.words)
    found = recognise(contents, around)
    if size < end - begin and found.key.code in (Code.ZEROS, Code.POINTERS):
        return None
    return found, type_of(found.key, around)


def looks(catalogue: Catalogue, address: int) -> str | None:
    """Return what the chunk in use at this address looks like; None if it isn't in RAM, which
    reading would change, or can't be read.

    Its type, where it is recognised; else what its first word is: what that points to, the string
    that begins there, or its value. It is the same for chunks that are alike, so that they can be
    grouped by it.
    """
    space, word = catalogue.source.space, catalogue.word
    begin = address + 2 * word
    if missing(space.residency, address, begin)[0]:
        return None
    head = catalogue.data(address, 2 * word)
    if len(head) < 2 * word:
        return None
    size = space.as_words(memoryview(head))[1] & ~FLAGS
    found = recognised(catalogue, begin, address + size + word, FEW)
    if found is not None and found[0].key.code not in BY_WORD:
        return found[1].name
    if missing(space.residency, begin, begin + word)[0]:
        return None
    usable = 3 * word if word == 8 else word  # of the smallest chunk
    if missing(space.residency, begin, begin + usable)[0]:
        usable = word
    data = catalogue.data(begin, usable)
    if len(data) < word:
        return None
    (value,) = space.as_words(memoryview(data[:word]))
    text = _pointed(catalogue, value)
    if text is None:
        string = string_in(data)
        text = f'"{string}"' if string else f"{value:#x}"
    return text


def _pointed(catalogue: Catalogue, value: int) -> str | None:
    """Return what a value points to, by its kind; None if it is no address."""
    mapping = catalogue.source.space.mapping_at(value)
    if mapping is None:
        return None
    if any(inventory.arena_at(value) for inventory in catalogue.inventories):
        return "pointer to a chunk"
    symbol = catalogue.source.probe.symbol(value)
    if symbol:
        return re.sub(r"( \+ \d+)?( in \S+)?$", "", symbol)
    if any(inventory.in_stack(value) for inventory in catalogue.inventories):
        return "pointer to a stack"
    name = os.path.basename(mapping.name) or "anonymous memory"
    return f"pointer to {name}"
