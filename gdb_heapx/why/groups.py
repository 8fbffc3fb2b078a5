"""The chunks that a program's code is to be searched for: the group that holds most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..report.model import counted, size_text
from .sums import Case, arena_name


class Leading(NamedTuple):
    """What a group of chunks of one size holds, in bytes of RAM, and the words that say so."""

    held: int
    told: str


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
    several = len(case.snapshot.libcs) > 1
    for arena in case.snapshot.arenas():
        group = arena.whatif.alike if arena.whatif else None
        if group and group.short:
            held = group.held.in_ram
            told = f"{counted(group.chunks, 'chunk')} of {group.size:,} bytes at the end of "
            told += f"{arena_name(arena, several)} {'holds' if group.chunks == 1 else 'hold'} "
            yield Leading(held, told + size_text(held))


def _in_pages(case: Case) -> Iterator[Leading]:
    several = len(case.snapshot.libcs) > 1
    for arena in case.snapshot.arenas():
        least = "" if arena.pages is None or arena.pages.all else "at least "
        for group in arena.pages.groups if arena.pages else ():
            held = group.held.in_ram
            if held and not group.cached:
                told = f"{least}{counted(group.chunks, 'chunk')} of {group.size:,} bytes in "
                told += f"{arena_name(arena, several)} {'keeps' if group.chunks == 1 else 'keep'} "
                yield Leading(held, f"{told}{least}{size_text(held)} of pages that are mostly free")
