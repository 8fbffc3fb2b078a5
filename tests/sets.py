"""What test programs know of their chunks in use: the lines that they write to "known"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from oracle import Count, Oracle

DEGREES = ("reachable", "interior", "red_zone", "leaked", "indirect")


@dataclass
class Set:
    """Chunks of one size, which no other chunk has (inferiors/sets.h)."""

    name: str
    size: int = 0
    request: int = 0
    chunks: dict[str, int] = field(default_factory=dict)  # by degree
    address: int = 0  # of the first of them, as malloc returned it
    hidden: str = ""  # how it would be seen that what looks like a leak is none


def sets_of(oracle: Oracle) -> dict[str, Set]:
    """Return a program's sets by name."""
    found: dict[str, Set] = {}
    for what, name, *rest in oracle.known:
        one = found.setdefault(name, Set(name))
        if what == "set":
            size, request, degree, chunks = rest
            one.size, one.request = int(size), int(request)
            one.chunks[degree] = int(chunks)
        elif what == "at":
            one.address = int(rest[0], 16)
        else:
            one.hidden = rest[0]
    return found


class Kind(NamedTuple):
    """Objects of one type, and the chunks that they are in (inferiors/types.cc)."""

    instances: int
    chunks: int


def _named(oracle: Oracle, what: str, numbers: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of this kind: the name, which may have spaces, and the words before it."""
    for first, *words in oracle.known:
        if first == what:
            yield " ".join(words[numbers:]), words[:numbers]


def classes_of(oracle: Oracle, what: str = "class") -> dict[str, Kind]:
    """Return the classes with their live objects by name; with "dead", those with dead ones."""
    return {n: Kind(int(i), int(c)) for n, (i, c) in _named(oracle, what, 2)}


def objects_of(oracle: Oracle) -> list[tuple[str, str, int]]:
    """Return how many objects of which type a Python program has: "exact", or "least"."""
    return [(how, name, int(n)) for name, (how, n) in _named(oracle, "object", 2)]


@dataclass(frozen=True)
class Holder:
    """A variable, and what it holds alone and with others (inferiors/holders.cc)."""

    name: str
    kind: str  # global, tls or stack
    tid: int  # of the thread whose variable it is, 0 of a global one
    alone: Count
    shared: Count


def holders_of(oracle: Oracle) -> list[Holder]:
    """Return the variables that hold chunks."""
    return [
        Holder(name, kind, int(tid), Count(int(n), int(b)), Count(int(sn), int(sb)))
        for name, (kind, tid, n, b, sn, sb) in _named(oracle, "holder", 6)
    ]


def places_of(oracle: Oracle) -> dict[str, range]:
    """Return where the global variables among them lie, by name."""
    places = {name: (int(at, 16), int(size)) for name, (at, size) in _named(oracle, "variable", 2)}
    return {name: range(at, at + size) for name, (at, size) in places.items()}


@dataclass(frozen=True)
class Overlap:
    """A variable or a stack, and the bytes that it holds (inferiors/overlaps.c)."""

    name: str
    kind: str
    tid: int
    alone: int
    nearest: int
    shared: int


def overlaps_of(oracle: Oracle) -> list[Overlap]:
    """Return who leads to chunks to which others do, too."""
    found = _named(oracle, "holds", 5)
    return [Overlap(name, kind, *map(int, numbers)) for name, (kind, *numbers) in found]
