"""The mappings of a living process as /proc lists them, with what the kernel says of each."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, repeat
from operator import ge, ne, sub
from typing import Any, NamedTuple, Optional

from .mappings import Mapping, Mappings, Usage
from .pages import tells_zero_pages
from .pieces import pieces_of, whole
from .procfs import status_of, text_of

# start-end permissions offset device inode name; the name may hold anything but a line's end.
_PLACE = rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) "
_REST = rb"([-r][-w][-x][ps]) ([0-9a-f]{1,16}) \S+ ([0-9]{1,20}) *(.*)"
_LINE, _TOLD = re.compile(_PLACE + _REST), re.compile(_REST)
_PLACES = re.compile(_PLACE + rb"([-r][-w][-x][ps] .*)")  # of a line that the kernel has written
_HEAD = re.compile(rb"[0-9a-f]{1,16}-[0-9a-f]{1,16} [-r][-w][-x][ps] ")
FLAGS = b"VmFlags:"  # begins the last line, since Linux 3.8
MOST = 1 << 12  # texts that are known again
MANY = 1 << 12  # mappings: for what the kernel says of so many it takes long
NOTHING = "0 kB"  # in a status
_Figures = tuple[Optional[bytes], ...]


def read_maps(pid: int) -> Mappings:
    """Return the mappings of a living process; OSError if /proc doesn't tell.

    A kernel without smaps gives them without `usage`.
    """
    try:
        return _parsed(pieces_of(f"/proc/{pid}/smaps", _HEAD))
    except OSError:
        return Mappings.of(parse_maps(text_of(f"/proc/{pid}/maps")))


def read_places(pid: int) -> Mappings | None:
    """Return the same without `usage`; None where they aren't many, or where something follows from
    it for the states of pages, or what may be given back: where any is in swap, in the pool of huge
    pages, or locked. A device's pages then look as if they were resident; no heap lies there.
    """
    status, found = status_of(pid), _Found()
    if any(status.get(name) != NOTHING for name in ("VmSwap", "HugetlbPages", "VmLck")):
        return None
    text = whole(f"/proc/{pid}/maps")
    many = text.count(b"\n") > MANY and tells_zero_pages() and _is_unswapped(pid)
    return found.mappings if many and found.add_places(text) else None


def _is_unswapped(pid: int) -> bool:
    """Tell whether nothing is in swap: VmSwap may be 0 where few pages are (Linux 6.2 to 6.15)."""
    try:
        return re.search(r"^Swap: +0 kB$", text_of(f"/proc/{pid}/smaps_rollup"), re.M) is not None
    except OSError:  # before Linux 4.14
        return False


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
    return found.mappings


def _mapping(groups: tuple[bytes, ...], usage: Usage | None) -> Mapping:
    start, end, *told = groups
    return _made(int(start, 16), int(end, 16), told, usage)


def _of_line(start: int, end: int, told: bytes) -> Mapping | None:
    head = _TOLD.fullmatch(told)
    return _made(start, end, head.groups(), None) if head else None


def _made(start: int, end: int, told: Iterable[bytes], usage: Usage | None) -> Mapping:
    permissions, offset, inode, name = told
    at = int(offset, 16)
    return Mapping(start, end, permissions.decode(), int(inode), os.fsdecode(name), at, usage)


class _Found:
    """The mappings that were found, as Mappings has them. Of most what was met before tells of
    which kind they are: all that the kernel says of one, but for where it lies.
    """

    def __init__(self) -> None:
        self.starts, self.ends, self.numbers = list[int](), list[int](), list[int]()
        self.kinds, self._sizes = list[Mapping](), list[int]()
        self._usages = _Usages()
        self._known: dict[tuple[Any, ...], int] = {}
        self._met: dict[Hashable, int] = {}

    @property
    def mappings(self) -> Mappings:
        return Mappings(self.starts, self.ends, self.numbers, self.kinds)

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
        if sum(map(len, chain(low, high, told))) + signs != len(text) or any(map(ge, starts, ends)):
            return False
        numbers = self._numbers(told, lambda at: self._told(starts[at], ends[at], told[at]))
        sizes = map(self._sizes.__getitem__, numbers)
        if not numbers or any(map(ne, map(sub, ends, starts), sizes)):
            return False
        self._add(starts, ends, numbers)
        return True

    def add_places(self, text: bytes) -> bool:
        """Add mappings of which each has a line about where it lies; False where a line isn't."""
        rows = _PLACES.findall(text)
        if not rows or len(rows) != text.count(b"\n"):
            return False
        low, high, told = zip(*rows)
        starts, ends = list(map(int, low, repeat(16))), list(map(int, high, repeat(16)))
        keys = tuple(zip(told, map(sub, ends, starts)))
        numbers = self._numbers(keys, lambda at: _of_line(starts[at], ends[at], told[at]))
        self._add(starts, ends, numbers)
        return bool(numbers)

    def _add(self, starts: list[int], ends: list[int], numbers: list[int]) -> None:
        self.starts += starts
        self.ends += ends
        self.numbers += numbers

    def _numbers(
        self, keys: tuple[Hashable, ...], made: Callable[[int], Mapping | None]
    ) -> list[int]:
        """Return the numbers of the kinds of mappings by what is told of each: where that wasn't
        met before, of what is `made` of it; [] where one is none.
        """
        if len(self._met) > MOST:
            self._met.clear()
        if set(keys).difference(self._met):
            for key, at in dict(zip(reversed(keys), reversed(range(len(keys))))).items():
                if key in self._met:
                    continue
                mapping = made(at)
                if mapping is None:
                    return []
                self._met[key] = self._number(mapping)
        return list(map(self._met.__getitem__, keys))

    def _told(self, start: int, end: int, text: bytes) -> Mapping | None:
        """Return the mapping that a text is about; None where that isn't one."""
        head = _TOLD.match(text)
        usage, behind = self._usages.at(text, head.end() + 1) if head else (None, 0)
        return _made(start, end, head.groups(), usage) if head and behind == len(text) else None

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
