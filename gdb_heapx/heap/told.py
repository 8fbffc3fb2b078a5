"""Fast chunks, told from chunks in use by what lies in them: no list is followed.

From glibc 2.32 on a fast chunk's link is mangled with its own address (malloc.c, PROTECT_PTR), so
that what a program has written hardly ever looks like one: 0, or a chunk of the same arena. Memory
that is used again and was not written since still has its link: fast.py proves which sizes hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, compress, islice, repeat
from operator import itemgetter, rshift

from ..glibc.layout import FLAGS, Layout

GRAIN = 8  # bytes; every chunk's address and size is a multiple, whatever the architecture
GRAIN_BITS = GRAIN.bit_length() - 1
MANGLED = 12  # a link is mangled with its address shifted by this (PROTECT_PTR)


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
        self, start: int, words: Sequence[int], different: Collection[int], links: Sequence[int]
    ) -> list[int]:
        """Return the chunks that look fast, of those that lie one behind the other from `start` on:
        their size `words`, the `different` ones of these, and what lies GRAIN by GRAIN where links
        are.
        """
        sized = {word for word in different if word & ~FLAGS in self.sizes}
        if not sized:
            return []
        places: Iterable[int] = accumulate(map(rshift, words, repeat(GRAIN_BITS)), initial=0)
        if len(sized) < len(different):
            places = compress(places, map(sized.__contains__, words))
        at = list(islice(places, len(words)))
        stored = itemgetter(*at, at[0])(links)
        same, likely = self._same
        ends = start >> MANGLED, start + (at[-1] + 2) * GRAIN >> MANGLED
        found = [  # cheap, and hardly any chunk of the program's is among them
            (start + i * GRAIN, s)
            for i, s in zip(at, stored)
            if s >> same in likely or ends[0] <= s <= ends[1]
        ]
        low, high, header = self.low, self.high, self.layout.header
        odd = self.layout.alignment - 1
        return [
            chunk
            for chunk, s in found
            if not (link := s ^ chunk + header >> MANGLED)
            or (low <= link < high and not link & odd)
        ]

    @cached_property
    def _same(self) -> tuple[int, frozenset[int]]:
        """From which bit on a link is stored as it is, and what it can be there."""
        bits = (self.high >> MANGLED).bit_length()
        return bits, frozenset(range(self.low >> bits, (self.high >> bits) + 1))

    def links_of(self, chunks: Sequence[int], stored: Sequence[int]) -> list[int]:
        """Return where the links of chunks lead, as they are stored; 0 at a list's end."""
        header = self.layout.header
        return [s ^ chunk + header >> MANGLED for chunk, s in zip(chunks, stored)]
