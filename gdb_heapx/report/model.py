"""What a command answers: tables, findings, and sentences. Nothing here formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..records import dataclass
from .either import for_scripts
from .schema import Table

if TYPE_CHECKING:
    from ..errors import Problem


@dataclass(frozen=True)
class Worth:
    """What a remedy gives back, in bytes of RAM: `exact`, or at most so much.

    `likely` is an estimate of what is only bounded, None without any evidence.
    """

    bytes: int
    exact: bool = False
    likely: int | None = None

    @property
    def kind(self) -> str:
        return "exact" if self.exact else "at most"

    @property
    def expected(self) -> int:
        """The likely bytes, where there is an estimate."""
        return self.bytes if self.likely is None else self.likely


@dataclass(frozen=True)
class Finding:
    """Something learnt: a stable code, the bytes at stake, and what to do about it.

    `bytes` are bytes of RAM, None where they can't be told. `evidence` are addresses and figures.
    The first sentence of `statement` says it all, that of `remedy` is what to do; more explain.
    `worth` is what the remedy gives back, None where that can't be computed. A setting `in_force`
    makes it worse, and is removed by the remedy. `about` tells which bytes these are, how many of
    each kind, or may be; of findings about the same ones, one is told, and `reason_of` is its code
    in others. Of the bytes of one that leads so many at most are `told_before`, by others.
    """

    code: str
    bytes: int | None
    statement: str
    evidence: tuple[str, ...] = ()
    remedy: str | None = None
    worth: Worth | None = None
    in_force: bool = False
    about: Mapping[Any, int] = field(default_factory=dict)
    reason_of: str | None = None
    told_before: int = 0


@dataclass(frozen=True)
class Findings:
    """What was learnt; if `brief`, in a sentence each, without evidence.

    If `tabled`, they are the rows of the report's first table, and sorted and cut with it.
    """

    findings: tuple[Finding, ...]
    brief: bool = False
    tabled: bool = False


@dataclass(frozen=True)
class Bar:
    """A whole cut into parts: each has its letter, and its size."""

    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Dump:
    """Bytes of the target, for a hex dump; `offset` is how far into their chunk they begin."""

    address: int
    data: bytes
    offset: int = 0


@dataclass(frozen=True)
class Note:
    """Something that the reader must know: a stable code, and its values (notes.sentence)."""

    code: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Notes:
    """What the reader must know about the figures, or what `leads` to them."""

    notes: tuple[Note, ...]
    leads: bool = False


@dataclass(frozen=True)
class Steps:
    """What may be typed next, and what for."""

    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """The answer of a command: blocks of the types in blocks.BLOCKS, in the order of text.

    With a streamed table, `problems` may be a list that grows while its rows are read.
    """

    blocks: tuple[object, ...]
    problems: Sequence[Problem] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that scripts get."""
        return tuple(b for b in map(for_scripts, self.blocks) if isinstance(b, Table))


UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size: int) -> str:
    """Return a size for use in a sentence: `128 KiB`, `25.5 MiB`, `2.05 GiB`."""
    for unit, name in UNITS:
        if size >= unit:
            text = f"{size / unit:.{2 if unit >= 1 << 30 else 1}f}"
            return f"{text.rstrip('0').rstrip('.')} {name}"
    return f"{size} B"


def shortened(text: str, room: int) -> str:
    """Return text in so many characters: without its middle, if it has more; where it lacks some
    already, without more of that.
    """
    if len(text) <= room:
        return text
    _, cut, tail = text.partition("…")
    end = len(tail) if cut and len(tail) < room - 1 else room // 2
    return f"{text[: room - end - 1]}…{text[len(text) - end :]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 chunk`, `2,000 chunks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
