"""The mappings of a living process as /proc lists them, with what the kernel says of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Optional

from .mappings import Mapping, Usage
from .procfs import pieces_of, text_of

# start-end permissions offset device inode name; the name may hold anything but a line's end.
_LINE = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([-r][-w][-x][ps]) ([0-9a-f]{1,16}) \S+ ([0-9]{1,20}) *(.*)"
)
_HEAD = re.compile(rb"^[0-9a-f]{1,16}-[0-9a-f]{1,16} [-r][-w][-x][ps] ", re.M)
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
        text, at = piece if piece.endswith("\n") else f"{piece}\n", 0
        while at < len(text):
            head = _LINE.match(text, at)
            if head is None:
                at = text.index("\n", at) + 1
                continue
            usage, at = usages.at(text, head.end() + 1)
            mappings.append(_mapping(head, usage))
    return tuple(mapping for mapping in mappings if mapping.start < mapping.end)


class _Usages:
    """What the kernel says of mappings: of thousands many have the same lines, or the same figures
    in lines that differ, and nearly all the same fields.
    """

    LAST = "\nVmFlags:"  # begins the last line, since Linux 3.8
    CAPACITY = 1000  # texts of a mapping's lines
    NEAR = 4  # of them: those of the mappings before, which are tried first

    def __init__(self) -> None:
        self._fields = _fields(())
        self._by_lines: dict[str, Usage] = {}
        self._near: list[tuple[str, Usage]] = []
        self._by_figures: dict[_Figures, Usage] = {}

    def at(self, text: str, start: int) -> tuple[Usage, int]:
        """Return what the lines from here on tell of one mapping, and where they end."""
        for lines, near in self._near:
            if text.startswith(lines, start):
                return near, start + len(lines)
        last = text.find(self.LAST, start)
        end = text.index("\n", last + 1) + 1 if last > 0 else start
        lines = text[start:end]
        known = self._by_lines.get(lines)
        if known is not None:
            self._near = [(lines, known), *self._near[: self.NEAR - 1]]
            return known, end
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
        if found.end() == end > start and len(self._by_lines) < self.CAPACITY:
            self._by_lines[lines] = usage
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
    "VmFlags:": r"([^\n]*)",
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

    flags = (fields.get("VmFlags:") or "").split()
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
