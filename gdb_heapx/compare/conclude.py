"""What the changes mean, in a code: only what the figures prove."""

from __future__ import annotations

from typing import NamedTuple

from .parts import PERCENT, TWENTIETH, Equation, Moved

MOST = 95  # percent of a growth: then it is told as one thing
FEW = 5  # percent of it that are worth telling


class Conclusion(NamedTuple):
    """A code; the shares in percent of what RSS grew by, by parts, the largest first; and whether
    besides that what the program freed stays in malloc.

    still: nothing changed. in use, retention, outside, own: what grew is that. touched: what is in
    use didn't grow, but more of it is in RAM. mixture: it is several. kept: what was freed stays in
    malloc. reused: what was free is in use. fell: RSS did. shifted: what one part lost another got.
    virtual: what is in RAM isn't known.
    """

    code: str
    shares: tuple[tuple[str, int], ...] = ()
    kept: bool = False


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
    """Say what a growth of RSS consists of: neither what was freed and stays in malloc is one, nor
    what is in use where something was free before.
    """
    live, free = changed.of("in use").change, changed.of("free").change
    passed = min(abs(live), abs(free)) if live * free < 0 else 0
    sizes = {part.name: part.change for part in changed.parts if part.change > 0}
    sizes = {name: _without(name, size, passed) for name, size in sizes.items()}
    grown = sorted(sizes.items(), key=lambda named: -named[1])
    whole = sum(sizes.values())
    shares = tuple((name, PERCENT * size // whole) for name, size in grown)
    code = OF_GROWTH.get(shares[0][0], "own") if shares[0][1] >= MOST else "mixture"
    if code == "retention" and (in_use is None or _grew(changed, in_use)):
        code = "mixture"
    if code == "in use" and in_use is not None and not _grew(changed, in_use):
        code = "touched"
    kept = code != "retention" and free > 0 and TWENTIETH * passed >= changed.turned_over
    return Conclusion(code, tuple(share for share in shares if share[1] >= FEW), kept)


def _without(name: str, size: int, passed: int) -> int:
    """Return a growth without what passed between the program and malloc."""
    return size - passed if name in ("in use", "free") else size


def _grew(changed: Equation, part: Moved) -> bool:
    return part.change > 0 and not changed.still(part)


def _fell(changed: Equation, part: Moved) -> bool:
    return part.change < 0 and not changed.still(part)
