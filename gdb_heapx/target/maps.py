"""The mappings of a living process as /proc lists them, with what the kernel says of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, repeat
from operator import ge, ne, sub
from typing import Any, NamedTuple, Optional

from .mappings import Mapping, Mappings, Usage
from .pieces import pieces_of
from .procfs import text_of

# start-end permissions offset device inode name; the name may hold anything but a line's end.
_PLACE = rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) "
_REST = rb"([-r][-w][-x][ps]) ([0-9a-f]{1,16}) \S+ ([0-9]{1,20}) *(.*)"
_LINE, _TOLD = re.compile(_PLACE + _REST), re.compile(_REST)
_HEAD = re.compile(rb"[0-9a-f]{1,16}-[0-9a-f]{1,16} [-r][-w][-x][ps] ")
FLAGS = b"VmFlags:"  # begins the last line, since Linux 3.8
MOST = 1 << 12  # texts that are known again
_Figures = tuple[Optional[bytes], ...]


def read_maps(pid: int) -> Mappings:
    """Return the mappings of a living process; OSError if /proc doesn't tell.

    A kernel without smaps gives them without `usage`.
    """
    try:
        return _parsed(pieces_of(f"/proc/{pid}/smaps", _HEAD))
    except OSError:
        return Mappings.of(parse_maps(text_of(f"/proc/{pid}/maps")))


def parse_maps(text: str) -> tuple[Mapping, ...]:
    """Return the mappings that /proc/PID/maps lists; what is no line of it is left out."""
    found = map(_LINE.fullmatch, os.fsencode(text).split(b"\n"))
    mappings = (_mapping(match.groups(), None) for match in found if match)
    return tuple(mapping for mapping in mappings if mapping.start < mapping.end)


def parse_smaps(text: str) -> Mappings:
    """Return the mappings that /proc/PID/smaps lists, with what the kernel says of each."""
    return _parsed([os.fsencode(text)])


def _parsed(pieces: Iterable[bytes]) -> Mappings:
    """Return the mappings of a text in pieces, for it has a kilobyte of each."""
    found = _Found()
    for piece in pieces:
        text = piece if piece.endswith(b"\n") else piece + b"\n"
        if not found.add_alike(text):
            found.add_each(text)
    return Mappings(found.starts, found.ends, found.numbers, found.kinds)


def _mapping(groups: tuple[bytes, ...], usage: Usage | None) -> Mapping:
    start, end, *told = groups
    return _made(int(start, 16), int(end, 16), told, usage)


def _made(start: int, end: int, told: Iterable[bytes], usage: Usage | None) -> Mapping:
    permissions, offset, inode, name = told
    at = int(offset, 16)
    return Mapping(start, end, permissions.decode(), int(inode), os.fsdecode(name), at, usage)


class _Found:
    """The mappings that were found, as Mappings has them. Of most a text that was met before tells
    of which kind they are: all that the kernel says of one, but for where it lies.
    """

    def __init__(self) -> None:
        self.starts, self.ends, self.numbers = list[int](), list[int](), list[int]()
        self.kinds, self._sizes = list[Mapping](), list[int]()
        self._usages = _Usages()
        self._known: dict[tuple[Any, ...], int] = {}
        self._by_text: dict[bytes, int] = {}

    def add_alike(self, text: bytes) -> bool:
        """Add the mappings of a text if each one's lines are as long as the first one's, but for
        the first and the last: the kernel pads figures. Else False.
        """
        first = text.find(b"\n") + 1
        rows = _records(max(text.find(FLAGS, first), first) - first).findall(text)
        if not rows:
            return False
        low, high, told = zip(*rows)
        starts, ends = list(map(int, low, repeat(16))), list(map(int, high, repeat(16)))
        signs = 2 * len(rows)  # "-" and " "
        whole = sum(map(len, chain(low, high, told))) + signs == len(text)
        if not whole or any(map(ge, starts, ends)) or not self._know(starts, ends, told):
            return False
        numbers = list(map(self._by_text.__getitem__, told))
        if any(map(ne, map(sub, ends, starts), map(self._sizes.__getitem__, numbers))):
            return False
        self.starts += starts
        self.ends += ends
        self.numbers += numbers
        return True

    def _know(self, starts: list[int], ends: list[int], texts: tuple[bytes, ...]) -> bool:
        """Learn of which kind mappings are by their texts; False where one isn't of one mapping."""
        if len(self._by_text) > MOST:
            self._by_text.clear()
        if not set(texts).difference(self._by_text):
            return True
        for text, at in dict(zip(reversed(texts), reversed(range(len(texts))))).items():
            head = _TOLD.match(text)
            usage, end = self._usages.at(text, head.end() + 1) if head else (None, 0)
            if head is None or end != len(text):
                return False
            mapping = _made(starts[at], ends[at], head.groups(), usage)
            self._by_text[text] = self._number(mapping)
        return True

    def _number(self, mapping: Mapping) -> int:
        """Return the number of a mapping's kind."""
        number = self._known.setdefault((mapping.size, *mapping[2:]), len(self.kinds))
        if number == len(self.kinds):
            self.kinds.append(mapping)
            self._sizes.append(mapping.size)
        return number

    def add_each(self, text: bytes) -> None:
        """Add the mappings of a text; what is none is left out."""
        at = 0
        while at < len(text):
            head = _LINE.match(text, at)
            if head is None:
                at = text.index(b"\n", at) + 1
                continue
            usage, at = self._usages.at(text, head.end() + 1)
            mapping = _mapping(head.groups(), usage)
            if mapping.start < mapping.end:
                self.starts.append(mapping.start)
                self.ends.append(mapping.end)
                self.numbers.append(self._number(mapping))


@lru_cache(maxsize=16)
def _records(figures: int) -> re.Pattern[bytes]:
    """Return what matches mappings that have so many characters between first and last line."""
    pattern = rb"%s([-r][-w][-x][ps] [^\n]*\n(?s:.{%d})%s[^\n]*\n)"
    return re.compile(pattern % (_PLACE, figures, FLAGS))


class _Usages:
    """What the kernel says of mappings: of thousands many have the same figures, and nearly all the
    same fields.
    """

    def __init__(self) -> None:
        self._fields = _fields(())
        self._by_figures: dict[_Figures, Usage] = {}

    def at(self, text: bytes, start: int) -> tuple[Usage, int]:
        """Return what the lines from here on tell of one mapping, and where they end."""
        found = self._fields.pattern.match(text, start)
        if found is None:
            self._fields, self._by_figures = _fields(tuple(_labels(text, start))), {}
            found = self._fields.pattern.match(text, start)
            assert found is not None
        figures = found.groups()
        usage = self._by_figures.get(figures)
        if usage is None:
            usage = _usage(dict(zip(self._fields.names, figures)))
            self._by_figures[figures] = usage
        return usage, found.end()


class _Fields(NamedTuple):
    """The fields of a mapping in smaps: those that are looked at, and what matches all of them."""

    names: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


_SHARED = (b"Shared_Clean:", b"Shared_Dirty:", b"Shared_Hugetlb:")
_DIRTY = (b"Private_Dirty:", b"Shared_Dirty:")
_HUGETLB = (b"Shared_Hugetlb:", b"Private_Hugetlb:")
_SIZES = (b"Rss:", b"Pss:", b"Swap:", b"AnonHugePages:", *_SHARED, *_DIRTY, *_HUGETLB)
_LOOKED_AT = {
    **dict.fromkeys(_SIZES, rb"(?:[^\S\n]*([0-9]{1,18})\b)?"),
    FLAGS: rb"([^\n]*)",
}


@lru_cache(maxsize=16)
def _fields(labels: tuple[bytes, ...]) -> _Fields:
    """Return the fields of mappings whose lines begin with these labels."""
    last = {label: at for at, label in enumerate(labels) if label in _LOOKED_AT}
    lines = [
        re.escape(label) + (_LOOKED_AT[label] if last.get(label) == at else b"") + rb"[^\n]*\n"
        for at, label in enumerate(labels)
    ]
    names = tuple(sorted(last, key=lambda label: last[label]))
    return _Fields(names, re.compile(b"".join(lines) + rb"(?=[0-9a-f]{1,16}-|\Z)"))


def _labels(text: bytes, at: int) -> Iterator[bytes]:
    """Yield how each line begins from here on, up to the next mapping: its field's name."""
    while at < len(text) and not _LINE.match(text, at):
        end = text.index(b"\n", at)
        yield text[at : (text.find(b":", at, end) + 1) or end]
        at = end + 1


def _usage(fields: dict[bytes, bytes | None]) -> Usage:
    """Return one mapping's figures; a field that this kernel lacks counts as 0."""

    def size(*names: bytes) -> int:
        return sum(int(fields.get(name) or 0) << 10 for name in names)

    flags = (fields.get(FLAGS) or b"").split()
    # Documentation/filesystems/proc.rst: ht hugetlb, pf pure PFN range, io memory-mapped I/O.
    apart = "hugetlb" if b"ht" in flags else "device" if {b"pf", b"io"} & set(flags) else None
    return Usage(
        resident=size(b"Rss:"),
        proportional=size(b"Pss:"),
        swapped=size(b"Swap:"),
        shared=size(*_SHARED),
        huge=size(b"AnonHugePages:"),
        hugetlb=size(*_HUGETLB),
        locked=b"lo" in flags,
        apart=apart,
        dirty=size(*_DIRTY),
    )
