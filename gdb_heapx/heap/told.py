"""Fast chunks, told from chunks in use by what lies in them: no list is followed.

From glibc 2.32 on a fast chunk's link is mangled with its own address (malloc.c, PROTECT_PTR), so
that what a program has written hardly ever looks like one: 0, or a chunk of the same arena. Memory
that is used again and was not written since still has its link: fast.py proves which sizes hold.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import compress, filterfalse
from operator import itemgetter
from typing import NamedTuple

from ..glibc.layout import FLAGS, Layout
from ..records import dataclass
from ..target.space import Words

GRAIN = 8  # bytes; every chunk's address and size is a multiple, whatever the architecture
GRAIN_BITS = GRAIN.bit_length() - 1
MANGLED = 12  # a link is mangled with its address shifted by this (PROTECT_PTR)


def pick(indexes: Sequence[int], *fields: Words) -> list[tuple[int, ...]]:
    """Return what each of these has at some indexes."""
    picked = itemgetter(*indexes, 0, 0)  # two more, since of a single item it makes no tuple
    return [picked(values)[:-2] for values in fields]


class Linked(NamedTuple):
    """Chunks that look fast, by their indexes in a run, and where the link of each leads: 0 at a
    list's end.
    """

    chunks: list[int]
    links: list[int]

    def plus(self, other: Linked) -> Linked:
        return Linked(self.chunks + other.chunks, self.links + other.links)


NONE_LINKED = Linked([], [])


@dataclass(frozen=True)
class Told:
    """The sizes whose fast chunks are told so, and [low, high), where their links may lead."""

    sizes: frozenset[int]
    low: int
    high: int
    layout: Layout

    def but(self, sizes: Iterable[int]) -> Told:
        """Return the same without these sizes."""
        return replace(self, sizes=self.sizes.difference(sizes))

    def among(
        self, start: int, by_word: Mapping[int, list[int]], links: Words, others: Collection[int]
    ) -> dict[int, Linked]:
        """Return the chunks that look fast and are no others, by size.

        They are among chunks in use by size word: indexes in grains from `start`, where `links` has
        what lies GRAIN by GRAIN where their links are.
        """
        sized = [word for word in by_word if word & ~FLAGS in self.sizes]
        if not sized:
            return {}
        found: dict[int, Linked] = {}
        tell = _bytes_of(links, self._byte)
        for word in sized:
            (picked,) = pick(by_word[word], tell)
            likely = bytes(picked).translate(self._likely)
            some = filterfalse(others.__contains__, compress(by_word[word], likely))
            linked = self._linked(start, [*some], links)
            if linked.chunks:
                found[word & ~FLAGS] = found.get(word & ~FLAGS, NONE_LINKED).plus(linked)
        return found

    def _linked(self, start: int, chunks: list[int], links: Words) -> Linked:
        """Return those whose links lead to chunks of the arena, or nowhere."""
        first, low, high = (start + self.layout.header) // GRAIN, self.low, self.high
        odd, shift, (stored,) = self.layout.alignment - 1, MANGLED - GRAIN_BITS, pick(chunks, links)
        leads = [s ^ first + i >> shift for i, s in zip(chunks, stored)]
        right = [not link or (low <= link < high and not link & odd) for link in leads]
        if all(right):
            return Linked(chunks, leads)
        return Linked([*compress(chunks, right)], [*compress(leads, right)])

    @cached_property
    def _byte(self) -> int:
        """The byte of a word that tells likely links: few of the program's words have such a one.

        It is the lowest one that is the same in most links of an arena.
        """
        word = self.layout.word
        return word // 2 if sys.byteorder == "little" else word // 2 - 1

    @cached_property
    def _likely(self) -> bytes:
        """What that byte can be, as links are stored: 1 for each such value, 0 for the others."""
        bits = 4 * self.layout.word
        leads = (0, *range(self.low >> bits, (self.high >> bits) + 1)[:256])
        masks = range(self.low >> bits + MANGLED, (self.high >> bits + MANGLED) + 1)[:256]
        values = {(link ^ mask) & 255 for link in leads for mask in masks}
        return bytes([value in values for value in range(256)])


def _bytes_of(words: Words, number: int) -> memoryview:
    """Return this byte of each word."""
    view = memoryview(words)
    whole = view if view.contiguous else memoryview(view.tobytes())
    return whole.cast("B")[number :: view.itemsize]
