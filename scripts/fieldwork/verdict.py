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

    `kind` is exact, at most, likely, nothing, or "in malloc": no remedy, and so much is malloc's.
    """

    kind: str
    bytes: int = 0


def said_of(finding: Mapping[str, Any]) -> Said:
    """Return what a finding says that its remedy gives."""
    if finding["code"] == "returnable":
        return Said("exact", finding["bytes"])
    if "at most" in (finding["remedy"] or ""):
        return Said("at most", finding["bytes"])
    return Said("nothing")


def judge(said: Said, before: int, after: int, noise: int | None = None) -> str:
    """Tell whether RSS fell from `before` to `after` as it was said.

    `noise` is by how much two runs differ, None where it is one run. Beside that slack:

    - exact: it falls by what was said, to 2 %.
    - at most: by no more; then it is right if by half of it or more, else within the bound.
    - likely: by half of it to twice.
    - nothing was said: right if it falls, undecided if it stays, wrong if it rises.
    - in malloc: by no more than malloc has, with all of its settings and malloc_trim.
    """
    fall = before - after
    slack = SLACK if noise is None else max(SLACK, int(RESTARTED * before), noise)
    if said.kind == "nothing":
        return RIGHT if fall > slack else UNDECIDED if fall >= -slack else WRONG
    if said.kind == "exact":
        return RIGHT if abs(fall - said.bytes) <= slack + said.bytes // 50 else WRONG
    if said.kind == "likely":
        return RIGHT if said.bytes // 2 - slack <= fall <= 2 * said.bytes + slack else WRONG
    if fall > said.bytes + slack:
        return WRONG
    return WITHIN if said.kind == "at most" and 2 * (fall + slack) < said.bytes else RIGHT
