"""Judge what heapx says by what the kernel says: the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLACK = 256 << 10  # bytes: what a process touches beside that
RESTARTED = 0.03  # two runs of a load differ by this part of RSS, or by what was seen
RIGHT, WITHIN, WRONG, UNDECIDED = "right", "within the bound", "wrong", "undecided"


@dataclass(frozen=True)
class Said:
    """What heapx says that a remedy gives.

    `kind` is exact, at most, nothing, or "in malloc": no remedy, and so much is malloc's. `likely`
    is an estimate below a bound.
    """

    kind: str
    bytes: int = 0
    likely: int | None = None


def said_of(finding: Mapping[str, Any]) -> Said:
    """Return what a finding says that its remedy gives."""
    if finding.get("worth") is not None:
        return Said(finding["worth_is"], finding["worth"], finding["likely"])
    if "worth" in finding:
        return Said("nothing")
    if finding["code"] == "returnable":
        return Said("exact", finding["bytes"])
    if "at most" in (finding["remedy"] or ""):
        return Said("at most", finding["bytes"])
    return Said("nothing")


def judge(said: Said, before: int, after: int, noise: int | None = None) -> str:
    """Tell whether RSS fell from `before` to `after` as it was said.

    `noise` is by how much two runs differ, None where it is one run. Beside that slack:

    - exact: it falls by what was said, to 2 %.
    - at most: by no more, and by half of it or more; by less is within the bound.
    - at most, with what is likely: by no more than the one, and by half to twice of the other.
    - nothing was said: right if it falls, undecided if it stays, wrong if it rises.
    - in malloc: by no more than malloc has, with all of its settings and malloc_trim.
    """
    fall = before - after
    slack = SLACK if noise is None else max(SLACK, int(RESTARTED * before), noise)
    if said.kind == "nothing":
        return RIGHT if fall > slack else UNDECIDED if fall >= -slack else WRONG
    if said.kind == "exact":
        return RIGHT if abs(fall - said.bytes) <= slack + said.bytes // 50 else WRONG
    if fall > said.bytes + slack:
        return WRONG
    if said.kind == "in malloc":
        return RIGHT
    expected = said.bytes if said.likely is None else said.likely
    return RIGHT if expected // 2 - slack <= fall <= 2 * expected + slack else WITHIN
