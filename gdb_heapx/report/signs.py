"""How memory is drawn: a sign for each stretch of it, by what fills that."""

from __future__ import annotations

from operator import add
from typing import NamedTuple

from .style import HEADING


class Fills(NamedTuple):
    """Bytes of a stretch by what fills it: in RAM, or absent from it; all are in RAM where that
    isn't known.
    """

    used: int = 0
    used_absent: int = 0
    cached: int = 0
    cached_absent: int = 0
    free: int = 0
    free_absent: int = 0
    top: int = 0
    top_absent: int = 0
    own: int = 0
    unknown: int = 0

    def plus(self, other: Fills) -> Fills:
        return Fills(*map(add, self, other))

    @property
    def in_use(self) -> int:
        return self.used + self.used_absent

    @property
    def free_in_ram(self) -> int:
        return self.cached + self.free + self.top

    @property
    def free_elsewhere(self) -> int:
        return self.cached_absent + self.free_absent + self.top_absent


NOTHING = Fills()


class Sign(NamedTuple):
    """How a cell is drawn: in ASCII, in Unicode, and by which token; and what that means, also
    where it isn't known what is in RAM.
    """

    plain: str
    block: str
    token: str
    meaning: str
    unknown: str


USED = Sign("@", "█", "Name.Builtin", "half in use, or more", "half in use, or more")
USED_ABSENT = Sign("u", "▄", "Comment", "half in use, or more, but not in RAM", "")
PARTLY = Sign("*", "▓", "Name.Builtin", "less than half in use", "less than half in use")
SPECK = Sign(
    ";", "▒", "Literal.String", "less than 1/16 in use, the rest in RAM", "less than 1/16 in use"
)
SPECK_ABSENT = Sign(",", "▖", "Literal.String", "less than 1/16 in use, the rest not in RAM", "")
CACHED = Sign("c", "c", "Name.Attribute", "in thread caches and fastbins", "cached or fast")
FREE = Sign(":", "░", "Generic.Deleted", "free, in RAM", "free")
FREE_ABSENT = Sign("_", "·", "Comment", "free, not in RAM", "")
TOP = Sign("=", "═", "Name.Class", "top, in RAM", "top")
TOP_ABSENT = Sign("-", "─", "Comment", "top, not in RAM", "")
OWN = Sign("h", "h", "Comment", "malloc's own", "malloc's own")
UNKNOWN = Sign("?", "?", "Generic.Error", "unknown", "unknown")
PIN = Sign("P", "◆", HEADING, "pin: keeps what is free before it", "")
PAGE_PIN = Sign("p", "◇", HEADING, "page that a pin keeps", "")
HERE = Sign("X", "▼", HEADING, "the address", "")
SIGNS = (  # in the order of the legend
    *(USED, USED_ABSENT, PARTLY, SPECK, SPECK_ABSENT, CACHED, FREE, FREE_ABSENT, TOP, TOP_ABSENT),
    *(OWN, UNKNOWN, PIN, PAGE_PIN, HERE),
)
LITTLE = 16  # a part of a cell


def sign_of(fills: Fills) -> Sign | None:
    """Return how a cell is drawn: by how much of it is in use, if anything is; else as what most of
    it is. None of a cell without anything.
    """
    whole, used = sum(fills), fills.in_use
    if not whole:
        return None
    if 2 * fills.unknown > whole:
        return UNKNOWN
    if 2 * used >= whole:
        return USED if fills.used >= fills.used_absent else USED_ABSENT
    if LITTLE * used >= whole:
        return PARTLY
    if used:
        return SPECK if fills.free_in_ram >= fills.free_elsewhere else SPECK_ABSENT
    signs = (CACHED, FREE, FREE_ABSENT, TOP, TOP_ABSENT, OWN, UNKNOWN)
    sizes = (fills.cached + fills.cached_absent, *fills[4:])
    return signs[sizes.index(max(sizes))]
