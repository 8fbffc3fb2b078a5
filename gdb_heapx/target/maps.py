"""The mappings of a living process as /proc lists them, with what the kernel says of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from operator import ge
from sys import intern
from typing import NamedTuple, Optional

from .mappings import Mapping, Usage
from .pieces import pieces_of
from .procfs import text_of

# start-end permissions offset device inode name; the name may hold anything but a line's end.
_LINE = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([-r][-w][-x][ps]) ([0-9a-f]{1,16}) \S+ ([0-9]{1,20}) *(.*)"
)
_HEAD = re.compile(rb"[0-9a-f]{1,16}-[0-9a-f]{1,16} [-r][-w][-x][ps] ")
FLAGS = "VmFlags:"  # begins the last line, since Linux 3.8
_Figures = tuple[Optional[str], ...]


def read_maps(pid: int) -> tuple[Mapping, ...]:
    """Return the mappings of a living process; OSError if /proc doesn't tell.

    A kernel without smaps gives them without `usage`.
    """
    try:
        return _parsed(pieces_of(f"/proc/{pid}/smaps", _HEAD))
    except OSError:
        return parse_maps(text_of(f"/proc/{pid}/maps"))


def parse_maps(text: str) -> tuple[Mapping, ...]:
    """Return the mappings that /proc/PID/maps lists; what is no line of it is left out."""
    found = (_mapping(match) for match in map(_LINE.fullmatch, text.split("\n")) if match)
    return tuple(mapping for mapping in found if mapping.start < mapping.end)


def _mapping(match: re.Match[str], usage: Usage | None = None) -> Mapping:
    start, end, permissions, offset, inode, name = match.groups()
    low, high, at = int(start, 16), int(end, 16), int(offset, 16)
    return Mapping(low, high, permissions, int(inode), name, at, usage)


def parse_smaps(text: str) -> tuple[Mapping, ...]:
    """Return the mappings that /proc/PID/smaps lists, with what the kernel says of each."""
    return _parsed([text])


def _parsed(pieces: Iterable[str]) -> tuple[Mapping, ...]:
    """Return the mappings of a text in pieces, for it has a kilobyte of each."""
    mappings: list[Mapping] = []
    usages = _Usages()
    for piece in pieces:
        text = piece if piece.endswith("\n") else f"{piece}\n"
        mappings += _alike(text, usages) or _one_by_one(text, usages)
    return tuple(mappings)


def _alike(text: str, usages: _Usages) -> list[Mapping]:
    """Return the mappings of a text if each one's lines are as long as the first one's, but for the
    flags at their end: the kernel pads figures. Else [].
    """
    first = text.find("\n") + 1
    rows = _records(max(text.find(FLAGS, first), first) - first).findall(text)
    if not rows:
        return []
    heads, low, high, permissions, at, inodes, names, lines = zip(*rows)
    starts, ends = list(map(int, low, repeat(16))), list(map(int, high, repeat(16)))
    known = {each: usages.of(each) for each in set(lines)}
    whole = sum(map(len, heads)) + len(rows) + sum(map(len, lines)) == len(text)
    if None in known.values() or not whole or any(map(ge, starts, ends)):
        return []
    told = map(int, inodes), map(intern, names), map(int, at, repeat(16)), map(known.get, lines)
    return list(map(Mapping, starts, ends, map(intern, permissions), *told))


@lru_cache(maxsize=16)
def _records(figures: int) -> re.Pattern[str]:
    """Return what matches mappings that have so many characters between head and flags."""
    return re.compile(rf"({_LINE.pattern})\n((?s:.{{{figures}}}){FLAGS}[^\n]*\n)")


def _one_by_one(text: str, usages: _Usages) -> list[Mapping]:
    mappings, at = list[Mapping](), 0
    while at < len(text):
        head = _LINE.match(text, at)
        if head is None:
            at = text.index("\n", at) + 1
            continue
        usage, at = usages.at(text, head.end() + 1)
        mappings.append(_mapping(head, usage))
    return [mapping for mapping in mappings if mapping.start < mapping.end]


class _Usages:
    """What the kernel says of mappings: of thousands many have the same figures, and nearly all the
    same fields.
    """

    def __init__(self) -> None:
        self._fields = _fields(())
        self._by_figures: dict[_Figures, Usage] = {}

    def of(self, lines: str) -> Usage | None:
        """Return what lines tell of one mapping; None where they are of more than one."""
        usage, end = self.at(lines, 0)
        return usage if end == len(lines) else None

    def at(self, text: str, start: int) -> tuple[Usage, int]:
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

    names: tuple[str, ...]
    pattern: re.Pattern[str]


_SHARED = ("Shared_Clean:", "Shared_Dirty:", "Shared_Hugetlb:")
_DIRTY = ("Private_Dirty:", "Shared_Dirty:")
_HUGETLB = ("Shared_Hugetlb:", "Private_Hugetlb:")
_SIZES = ("Rss:", "Pss:", "Swap:", "AnonHugePages:", *_SHARED, *_DIRTY, *_HUGETLB)
_LOOKED_AT = {
    **dict.fromkeys(_SIZES, r"(?:[^\S\n]*([0-9]{1,18})\b)?"),
    FLAGS: r"([^\n]*)",
}


@lru_cache(maxsize=16)
def _fields(labels: tuple[str, ...]) -> _Fields:
    """Return the fields of mappings whose lines begin with these labels."""
    last = {label: at for at, label in enumerate(labels) if label in _LOOKED_AT}
    lines = [
        re.escape(label) + (_LOOKED_AT[label] if last.get(label) == at else "") + r"[^\n]*\n"
        for at, label in enumerate(labels)
    ]
    names = tuple(sorted(last, key=lambda label: last[label]))
    return _Fields(names, re.compile("".join(lines) + r"(?=[0-9a-f]{1,16}-|\Z)"))


def _labels(text: str, at: int) -> Iterator[str]:
    """Yield how each line begins from here on, up to the next mapping: its field's name."""
    while at < len(text) and not _LINE.match(text, at):
        end = text.index("\n", at)
        yield text[at : (text.find(":", at, end) + 1) or end]
        at = end + 1


def _usage(fields: dict[str, str | None]) -> Usage:
    """Return one mapping's figures; a field that this kernel lacks counts as 0."""

    def size(*names: str) -> int:
        return sum(int(fields.get(name) or 0) << 10 for name in names)

    flags = (fields.get(FLAGS) or "").split()
    # Documentation/filesystems/proc.rst: ht hugetlb, pf pure PFN range, io memory-mapped I/O.
    apart = "hugetlb" if "ht" in flags else "device" if {"pf", "io"} & set(flags) else None
    return Usage(
        resident=size("Rss:"),
        proportional=size("Pss:"),
        swapped=size("Swap:"),
        shared=size(*_SHARED),
        huge=size("AnonHugePages:"),
        hugetlb=size(*_HUGETLB),
        locked="lo" in flags,
        apart=apart,
        dirty=size(*_DIRTY),
    )
