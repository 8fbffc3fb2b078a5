"""What the changes mean, in a code: only what the figures prove."""

from __future__ import annotations

from typing import NamedTuple

from .parts import PERCENT, Equation, Moved

MOST = 95  # percent of a growth: then it is told as one thing
FEW = 5  # percent of it that are worth telling


class Conclusion(NamedTuple):
    """A code, and the shares in percent of what grew by parts, the largest first.

    still: nothing changed. in use, retention, outside, own: what grew is that. mixture: it is
    several. kept: what was freed stays in malloc. reused: what was free is in use. fell: RSS did.
    shifted: what one part lost another got. virtual: what is in RAM isn't known.
    """

    code: str
    shares: tuple[tuple[str, int], ...] = ()


OF_GROWTH = {
    "in use": "in use",
    "free": "retention",
    "outside malloc": "outside",
    "sbrk of others": "outside",
}


def conclude(changed: Equation, in_use: Moved | None) -> Conclusion:
    """Return what the changes mean; `in_use` are the bytes that the program holds, in RAM or not,
    None where they aren't known.
    """
    if changed.still(changed.whole) and all(map(changed.still, changed.parts)):
        return Conclusion("still")
    if not changed.known:
        return Conclusion("virtual")
    if changed.whole.change > 0 and not changed.still(changed.whole):
        return _growth(changed, in_use)
    live, free = changed.of("in use"), changed.of("free")
    if _fell(changed, live) and _grew(changed, free):
        return Conclusion("kept")
    if _grew(changed, live) and _fell(changed, free):
        return Conclusion("reused")
    return Conclusion("shifted" if changed.still(changed.whole) else "fell")


def _growth(changed: Equation, in_use: Moved | None) -> Conclusion:
    """Say what a growth of RSS consists of."""
    grown = sorted((p for p in changed.parts if p.change > 0), key=lambda part: -part.change)
    whole = sum(part.change for part in grown)
    shares = tuple((part.name, PERCENT * part.change // whole) for part in grown)
    told = tuple(share for share in shares if share[1] >= FEW)
    name, most = shares[0]
    code = OF_GROWTH.get(name, "own") if most >= MOST else "mixture"
    if code == "retention" and (in_use is None or _grew(changed, in_use)):
        code = "mixture"
    return Conclusion(code, told)


def _grew(changed: Equation, part: Moved) -> bool:
    return part.change > 0 and not changed.still(part)


def _fell(changed: Equation, part: Moved) -> bool:
    return part.change < 0 and not changed.still(part)
