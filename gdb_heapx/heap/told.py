"""Fast chunks, told from chunks in use by what lies in them: no list is followed.

From glibc 2.32 on a fast chunk's link is mangled with its own address (malloc.c, PROTECT_PTR), so
that what a program has written hardly ever looks like one: 0, or a chunk of the same arena. Memory
that is used again and was not written since still has its link: fast.py proves which sizes hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ..glibc.layout import FLAGS, Layout

GRAIN = 8  # bytes; every chunk's address and size is a multiple, whatever the architecture


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
    ) -> Iterator[int]:
        """Yield the chunks that look fast, of those that lie one behind the other from `start` on:
        their size `words`, the `different` ones of these, and what lies GRAIN by GRAIN where links
        are.
        """
        sized = {word for word in different if word & ~FLAGS in self.sizes}
        if not sized:
            return
        places = accumulate((word // GRAIN for word in words), initial=0)
        for place in [place for place, word in zip(places, words) if word in sized]:
            chunk = start + place * GRAIN
            if self._leads_on(links[place], chunk):
                yield chunk

    def link_of(self, stored: int, chunk: int) -> int:
        """Return where a chunk's link leads, 0 at a list's end."""
        return self.layout.reveal(stored, chunk + self.layout.header)

    def _leads_on(self, stored: int, chunk: int) -> bool:
        link = self.link_of(stored, chunk)
        return not link or (self.low <= link < self.high and not link % self.layout.alignment)
