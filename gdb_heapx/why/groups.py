"""The chunks that a program's code is to be searched for: the group that holds most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..heap.pingroups import PageGroup
from ..heap.pins import Group
from ..report.model import counted, size_text
from ..snapshots.figures import ArenaFigures
from .sums import Case


class Leading(NamedTuple):
    """What a group of chunks of one size holds, in bytes of RAM: the words that say so, and where
    there is little room.
    """

    held: int
    told: str
    brief: str = ""


NONE = Leading(0, "")


def last_alike(case: Case) -> Leading:
    """Return the chunks of one size, the last ones in an arena, that hold most below a top."""
    return max(_below_tops(case), default=NONE)


def of_pages(case: Case) -> Leading:
    """Return the chunks in use of one size that keep most in pages which are mostly free."""
    return max(_in_pages(case), default=NONE)


def leading(case: Case) -> Leading:
    """Return the group of those that holds most."""
    return max(last_alike(case), of_pages(case))


def _below_tops(case: Case) -> Iterator[Leading]:
    for arena in case.snapshot.arenas():
        group = arena.whatif.alike if arena.whatif else None
        if group and group.short:
            held = group.held.in_ram
            which, where = _named(case, arena, group)
            holds = f"{'holds' if group.chunks == 1 else 'hold'} {size_text(held)}"
            told = f"{which} at the end of {where} {holds}"
            yield Leading(held, told, f"{which} in {where} {holds}")


def _in_pages(case: Case) -> Iterator[Leading]:
    for arena in case.snapshot.arenas():
        least = "" if arena.pages is None or arena.pages.all else "at least "
        for group in arena.pages.groups if arena.pages else ():
            held = group.held.in_ram
            if held and not group.cached:
                which, where = _named(case, arena, group)
                keeps = f"{'keeps' if group.chunks == 1 else 'keep'} {least}{size_text(held)}"
                brief = f"{least}{which} in {where} {keeps}"
                yield Leading(held, f"{brief} of pages that are mostly free", brief)


def _named(case: Case, arena: ArenaFigures, group: Group | PageGroup) -> tuple[str, str]:
    """Return which chunks, and where."""
    return f"{counted(group.chunks, 'chunk')} of {group.size:,} bytes", case.named(arena)
