"""Which words of roots are one holder: a variable, a thread's stack, a mapping.

A word that no symbol names is a holder by itself, called by where in its file it lies. But those
next to it that lead to the same chunks are taken to be of the same variable, such as the three
words of a vector, or of a map: nothing else tells where a nameless variable ends. So an array of
pointers that lead to different things is as many holders as it has pointers, and no more is ever
said to be held by one variable than what one or several words of it hold.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from ..held.naming import where_is
from ..held.root import PLACES, Register, Root, RootKind
from ..held.threadlocal import STRUCT
from ..records import dataclass
from .places import module_name

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.named import Symbol

NEAR = 2  # words from one pointer to the next one that may be of the same nameless variable
ENDED = "left by threads that ended"


class RootHolder(NamedTuple):
    """What holds chunks: its kind, the thread's LWP, the file's path, its symbol or what else it is
    called, and where it begins; None where it has none.
    """

    kind: str
    lwp: int | None
    module: str | None
    name: str
    address: int | None


@dataclass
class Holding:
    """A holder, with its words that lead to chunks; whether it is `near` the nameless one before
    it; and chunks that it holds without what these lead to.
    """

    holder: RootHolder
    near: bool = False
    words: array[int] = field(default_factory=lambda: array("Q"))
    left: tuple[int, ...] = ()


def holdings_of(held: Held) -> list[Holding]:
    """Return all that holds chunks: nameless variables first, in order, so that those that are near
    each other come one after the other.
    """
    return list(_Holdings(held).found())


class _Holdings:
    def __init__(self, held: Held) -> None:
        self._held, self._images = held, held.target.objects
        self._near = NEAR * held.space.word
        self._named: dict[RootHolder, Holding] = {}
        self._nameless: list[Holding] = []
        self._last = 0  # where the last nameless word lies

    def found(self) -> Iterator[Holding]:
        for root in self._held.roots.spans:
            self._take(root)
        for register in self._held.roots.registers:
            self._take_register(register)
        yield from self._nameless
        yield from self._named.values()
        if self._held.roots.left:
            ended = RootHolder(PLACES[RootKind.TLS], None, None, ENDED, None)
            yield Holding(ended, left=self._held.roots.left)

    def _take(self, root: Root) -> None:
        """Take in the words of a root that lead to chunks."""
        at, to = self._held.pointers.at, self._held.pointers.to
        first, last = bisect_left(at, root.start), bisect_left(at, root.end)
        by_symbol = root.kind in (RootKind.GLOBAL, RootKind.TLS) and root.image is not None
        if by_symbol:
            self._take_variables(root, first, last)
        elif root.kind is RootKind.KEY:
            for place in range(first, last):
                where = where_is(self._held.target, self._held.roots, at[place])
                name = where.name if where and where.name else root.name
                self._add(RootHolder(PLACES[root.kind], root.lwp, None, name, None), to[place])
        elif first < last:
            self._words_of(self._whole(root)).extend(to[first:last])

    def _whole(self, root: Root) -> RootHolder:
        """Return the holder that all words of a root are of."""
        kind = PLACES[root.kind]
        if root.kind in (RootKind.STACK, RootKind.RED_ZONE):
            return RootHolder(kind, root.lwp, None, "stack", None)
        if root.kind in (RootKind.MAPPING, RootKind.SHARED):
            mapping = self._held.target.space.mapping_at(root.start)
            if mapping and mapping.name != root.name:  # a runtime's, of many mappings
                return RootHolder(kind, None, None, root.name, None)
            start = mapping.start if mapping else root.start
            return RootHolder(kind, None, None, root.name or "anonymous memory", start)
        return RootHolder(kind, root.lwp, None, root.name or kind, None)

    def _take_variables(self, root: Root, first: int, last: int) -> None:
        """Take in a file's variables, each by its symbol, if it has one."""
        at, to, end = self._held.pointers.at, self._held.pointers.to, 0
        words = array("Q")
        for place in range(first, last):
            address = at[place]
            if address >= end:
                symbol = self._symbol(root, address)
                if symbol is None:
                    self._take_nameless(root, address, to[place])
                    continue
                begin = address - symbol.offset
                end = begin + symbol.size
                words = self._words_of(self._holder(root, symbol.name, begin))
            words.append(to[place])

    def _symbol(self, root: Root, address: int) -> Symbol | None:
        image = self._images[root.image or 0]
        if root.kind is RootKind.GLOBAL:
            return image.symbol_at(address)
        block = self._held.roots.block_at(address)
        return image.thread_local_at(address - block.start) if block else None

    def _holder(self, root: Root, name: str, begin: int) -> RootHolder:
        path = self._images[root.image or 0].path
        return RootHolder(PLACES[root.kind], root.lwp, path, name, begin)

    def _take_nameless(self, root: Root, address: int, word: int) -> None:
        near = address - self._last <= self._near and bool(self._nameless)
        if near:
            before = self._nameless[-1].holder
            near = (before.kind, before.lwp) == (PLACES[root.kind], root.lwp)
        where = where_is(self._held.target, self._held.roots, address)
        section = f" {where.name}" if where and where.name else ""
        offset = where.offset if where else address - root.start
        name = f"{module_name(self._images[root.image or 0].path)}{section}+{offset:#x}"
        holder = self._holder(root, name, address)
        self._nameless.append(Holding(holder, near, array("Q", [word])))
        self._last = address

    def _take_register(self, register: Register) -> None:
        """Take in a register: what a thread's functions have there is as what they have on the
        stack.
        """
        kind = PLACES[register.kind]
        holder = RootHolder(kind, None, None, f"{register.kind.value}: {register.name}", None)
        if register.kind is RootKind.REGISTER:
            holder = RootHolder(PLACES[RootKind.STACK], register.lwp, None, "stack", None)
        elif register.kind is RootKind.TLS:  # the address of its DTV
            holder = RootHolder(kind, register.lwp, None, STRUCT, None)
        leads = [word for word in register.words if self._held.index.at(word)]
        if leads:
            self._words_of(holder).extend(leads)

    def _words_of(self, holder: RootHolder) -> array[int]:
        return self._named.setdefault(holder, Holding(holder)).words

    def _add(self, holder: RootHolder, word: int) -> None:
        self._words_of(holder).append(word)
