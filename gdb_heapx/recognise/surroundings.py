"""What a recogniser may ask about what lies around a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from ..target.target import Target
from .classes import Classes, Demangle
from .kinds import Key, LedTo, Meaning
from .parts import Parts
from .pythons import TYPE_PLACES, TypeObject, type_object


class Heaps(Protocol):
    """The heaps of all mallocs, and what else was kept of a target.

    `bodies` is what each chunk is for a container that leads to it.
    """

    @property
    def bodies(self) -> LedTo: ...

    def has(self, address: int) -> bool:
        """Tell whether an address is of a heap, or of a chunk with a mapping of its own."""

    def word_at(self, address: int) -> int | None:
        """Return the word at an address, None where that isn't at hand."""

    def body(self, address: int) -> Key | None:
        """Return what the memory that begins there is for a container that leads to it; None where
        nobody knows of one.
        """


class Surroundings:
    """The files of a target and its heaps, with what words that lead there mean."""

    def __init__(self, target: Target, heaps: Heaps, demangle: Demangle | None = None) -> None:
        demangle = demangle or target.probe.demangled
        self.space, self.heaps, self.demangle = target.space, heaps, demangle
        self.word = target.space.word
        self.little = target.space.byteorder == "little"
        self.parts = Parts(target.space, target.objects)
        self.heap_types: set[int] = set()  # type objects that are chunks
        self._meanings: dict[int, Meaning] = {}
        self.known: dict[int, Meaning] | None = None  # None: whatever is asked for
        self._types: dict[int, TypeObject | None] = {}

    @cached_property
    def classes(self) -> Classes:
        return Classes(self.parts, self.word, self.demangle)

    def meaning(self, value: int) -> Meaning:
        """Return what a word means that leads to data of a file, or to a type object."""
        if self.known is not None:
            return self.known.get(value, Meaning.NOTHING)
        if value in self.heap_types:
            return self._of_type(value)
        found = self._meanings.get(value)
        if found is None:
            found = self._meanings[value] = self._meaning(value)
        return found

    def _meaning(self, value: int) -> Meaning:
        part = self.parts.at(value)
        if part is None or part.code or value % self.word:
            return Meaning.NOTHING
        found = self.classes.meaning(value)
        return self._of_type(value) if found is Meaning.NOTHING else found

    def _of_type(self, address: int) -> Meaning:
        known = self.type_object(address)
        return known.meaning if known else Meaning.NOTHING

    def named(self, value: int) -> Meaning:
        """Return what a chunk's first word means: where it means nothing else, maybe a symbol."""
        found = self.meaning(value)
        if found is not Meaning.NOTHING or self.known is not None:
            return found
        part = self.parts.at(value)
        if part is None or part.code or value % self.word:
            return found
        symbol = self.parts.symbol(value)
        return Meaning.SYMBOL if symbol is not None and symbol.offset == 0 else found

    def know(self, words: Mapping[int, bool]) -> None:
        """Let no word mean anything but these, which were found in chunks: of each is told whether
        a chunk begins with it.
        """
        found = ((w, self.named(w) if first else self.meaning(w)) for w, first in words.items())
        self.known = {word: meaning for word, meaning in found if meaning is not Meaning.NOTHING}

    def add_types(self, addresses: Iterable[int]) -> bool:
        """Take chunks for type objects, as far as they are; return whether there are new ones."""
        before = len(self.heap_types)
        new = [each for each in addresses if self._of_type(each) is not Meaning.NOTHING]
        self.heap_types.update(new)
        if self.known is not None:
            self.known.update((each, self._of_type(each)) for each in new)
        return len(self.heap_types) > before

    def type_object(self, address: int) -> TypeObject | None:
        """Return the type object of CPython's at an address, None without one."""
        if address not in self._types:
            self._types[address] = type_object(self, address)
        return self._types[address]

    def learn(self, words: Sequence[int]) -> None:
        """Take the type object of an object that begins with these words for one, if it is a chunk
        itself: a class that the program has made.
        """
        places = (words[at] for at in TYPE_PLACES if at < len(words))
        self.add_types(word for word in places if self.heaps.has(word))

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Return words of a file's part, of a heap, or of what else was kept; () else."""
        if self.parts.at(address) is not None:
            return self.parts.words(address, count)
        found = (self.heaps.word_at(address + at * self.word) for at in range(count))
        words = tuple(word for word in found if word is not None)
        return words if len(words) == count else ()

    def text(self, address: int) -> bytes | None:
        """Return a C string, None where none is at hand."""
        if self.parts.at(address) is not None:
            return self.parts.text(address)
        data, at = b"", address - address % self.word
        while b"\0" not in data[address - at :] and len(data) < 512:
            word = self.heaps.word_at(at + len(data))
            if word is None:
                return None
            data += word.to_bytes(self.word, "little" if self.little else "big")
        return data[address - at :].partition(b"\0")[0]

    def low_half(self, value: int) -> int:
        """Return the int that a word begins with."""
        return value & 0xFFFFFFFF if self.word == 4 or self.little else value >> 32
