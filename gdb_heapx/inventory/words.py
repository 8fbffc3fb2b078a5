"""What an address or a word of memory means: a symbol, a place in malloc, a string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..glibc.layout import BK_NEXTSIZE, FD
from ..heap.holes import missing
from ..report.model import size_text
from .chunk import FAST, LISTED, TCACHE, Chunk

if TYPE_CHECKING:
    from ..target.mappings import Mapping
    from .catalogue import Catalogue
    from .libc import Inventory

SHORTEST = 4  # characters of what counts as a string
LONGEST = 48  # characters of one that a pointer leads to


def words_of(catalogue: Catalogue, chunk: Chunk, data: bytes, number: int) -> list[tuple[int, str]]:
    """Return the first words of a chunk's memory, so many at most, each with what it is: a symbol,
    a pointer into a chunk or a mapping, a string; "" where it is just a number, or inside a string.
    """
    word, layout = catalogue.word, catalogue.inventory_of(chunk).libc.layout
    values = catalogue.source.space.as_words(memoryview(data[: len(data) // word * word]))
    words: list[tuple[int, str]] = []
    string_ends = 0
    for at, value in zip(range(0, number * word, word), values):
        link = at <= (BK_NEXTSIZE - FD) * word and chunk.state in LISTED
        meaning = _pointed(catalogue, value, link)
        if at == 0 and chunk.state in (TCACHE, FAST) and layout.safe_linking and value:
            user = chunk.address + layout.header
            pointed = _pointed(catalogue, layout.reveal(value, user), link)
            meaning = pointed and f"protected link to {pointed}"
        string = "" if at < string_ends else string_in(data[at:])
        if string and not meaning:
            string_ends = at + len(string)
        words.append((value, meaning or (f'"{string}"' if string else "")))
    return words


def _pointed(catalogue: Catalogue, value: int, link: bool) -> str | None:
    """Say what an address points at, None if the value is none.

    Only malloc's own links point at headers: other pointers there mean the memory before them.
    """
    mapping = catalogue.source.space.mapping_at(value)
    if mapping is None and catalogue.source.space.mappings:
        return None
    found = None if catalogue.source.probe.symbol(value) else catalogue.around(value, 1)
    if found is None:
        name = name_of(catalogue, value) if mapping else catalogue.source.probe.symbol(value)
        return name and name + _quoted(catalogue, mapping, value)
    chunk = found.chunk
    if not link and found.before and value <= catalogue.memory(found.before[0])[1]:
        chunk = found.before[0]
    begin, end = catalogue.memory(chunk)
    places = {begin: "", end: "end of ", chunk.address: "header of "}
    offset = places.get(value, f"{value - begin:+#x} in ")
    text = "" if link or chunk.state in LISTED else _quoted(catalogue, mapping, value)
    return f"{offset}chunk {chunk.address:#x}, {chunk.size:,} bytes, {chunk.state}{text}"


def _quoted(catalogue: Catalogue, mapping: Mapping | None, address: int) -> str:
    """Return the string that a pointer leads to, in quotes; "" if there is none, or if reading it
    would bring it into memory.
    """
    if mapping is None or "x" in mapping.permissions or "r" not in mapping.permissions:
        return ""
    space, end = catalogue.source.space, min(address + LONGEST, mapping.end)
    if missing(space.residency, address, end)[0] or (space.facts.live and space.residency is None):
        return ""
    text = string_in(catalogue.data(address, end - address))
    return f': "{text}{"…" if len(text) == LONGEST else ""}"' if text else ""


def name_of(catalogue: Catalogue, address: int) -> str:
    """Say what an address is part of that no chunk has."""
    source, inventories = catalogue.source, catalogue.inventories
    heads = filter(None, (inventory.bin_at(address) for inventory in inventories))
    parts = filter(None, (_part(inventory, address) for inventory in inventories))
    named = next(heads, None) or source.probe.symbol(address) or next(parts, None)
    if named:
        return named
    mapping = source.space.mapping_at(address)
    if mapping is None:
        return "nothing is mapped there"
    name = mapping.name or "anonymous memory"
    return f"{name} ({mapping.permissions}, {size_text(mapping.size)})"


def _part(inventory: Inventory, address: int) -> str | None:
    """Say what of a libc's own an address is part of: an arena, a heap's ends, a stack."""
    size = inventory.libc.layout.state.size
    for arena in inventory.arenas:
        if arena.address <= address < arena.address + size:
            return f"arena {arena.index} itself, its malloc_state"
    for heap in (heap for arena in inventory.arenas for heap in arena.heaps):
        whose = f"heap {heap.address:#x} of arena {heap.arena}"
        if heap.address <= address < heap.first:
            return f"the head of {whose}"
        if address in heap:
            return f"the end of {whose}: a fencepost, a gap, or what can't be read"
        if heap.end <= address < heap.address + heap.reserved:
            return f"address space that {whose} has reserved"
    return "a thread's stack" if inventory.in_stack(address) else None


def string_in(data: bytes) -> str:
    """Return the string that some bytes begin with, "" if they don't look like one."""
    text = data.partition(b"\0")[0]
    if len(text) < SHORTEST or not text.isascii() or not text.decode().isprintable():
        return ""
    return text.decode()
