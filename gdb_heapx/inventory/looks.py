"""What a chunk in use looks like: the one place that guesses what the program keeps in it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..heap.holes import missing
from .words import string_in

if TYPE_CHECKING:
    from .catalogue import Catalogue


def looks(catalogue: Catalogue, address: int) -> str | None:
    """Return what the first word of the chunk in use at this address looks like; None if it isn't
    in RAM, which reading would change, or can't be read.

    A symbol (of a vtable the class's), what it points to, the string that begins there, or its
    value: the same for chunks that are alike, so that they can be grouped by it.
    """
    space, word = catalogue.source.space, catalogue.word
    begin = address + 2 * word
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
