"""The chunks that a program's code is to be searched for: the group that holds most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..heap.pingroups import PageGroup
from ..heap.pins import Group
from ..report.model import counted, size_text
from ..snapshots.figures import ArenaFigures

if TYPE_CHECKING:
    from .sums import Case


class Leading(NamedTuple):
    """What a group of chunks of one size holds, in bytes of RAM: the words that say so, and where
    there is little room.
    """

    held: int
    told: str
    brief: str = ""


NONE = Leading(0, "")
WORTH_NAMING = 20  # one part in so many of a finding: chunks that keep less don't lead it
Found = list[tuple[ArenaFigures, Group]]
FoundInPages = list[tuple[ArenaFigures, PageGroup]]


def last_alike(case: Case) -> Leading:
    """Return the chunks of one size, the last ones in their arenas, that hold most below tops."""
    return max(_below_tops(case), default=NONE)


def of_pages(case: Case) -> Leading:
    """Return the chunks in use of one size that keep most in pages which are mostly free."""
    return max(_in_pages(case), default=NONE)


def in_pages_of(case: Case, size: int) -> Leading:
    """Return them if they keep a part of a finding's bytes that is worth naming."""
    most = of_pages(case)
    return most if WORTH_NAMING * most.held >= size else NONE


def leading(case: Case) -> Leading:
    """Return the group of those that holds most."""
    return max(last_alike(case), of_pages(case))


def gained(arena: ArenaFigures) -> int | None:
    """Return what free() would return if tcaches held nothing of an arena; None if unknown."""
    it = arena.whatif
    return None if it is None else it.tcaches.by_free.in_ram - it.now.by_free.in_ram


def _below_tops(case: Case) -> Iterator[Leading]:
    """Yield what the last chunks of each size hold, but where most of it is what tcaches hold."""
    sizes: dict[int, Found] = defaultdict(list)
    for arena in case.snapshot.arenas():
        group = arena.whatif.alike if arena.whatif else None
        if group and group.short and 2 * (gained(arena) or 0) < group.held.in_ram:
            sizes[group.size].append((arena, group))
    for size, found in sizes.items():
        held = sum(group.held.in_ram for _, group in found)
        which = _which(sum(group.chunks for _, group in found), size)
        arenas, cached = [arena for arena, _ in found], any(group.cached for _, group in found)
        those, tcaches = (" and those in tcaches", " and tcaches") if cached else ("", "")
        holds = f"{'holds' if _is_one(found) and not cached else 'hold'} {size_text(held)}"
        ends = "the end" if len(found) == 1 else "the ends"
        told = f"{which}{those} at {ends} of {_where(case, arenas)} {holds}"
        yield Leading(held, told, f"{which}{tcaches} in {_where(case, arenas, True)} {holds}")


def _in_pages(case: Case) -> Iterator[Leading]:
    sizes: dict[int, FoundInPages] = defaultdict(list)
    for arena in case.snapshot.arenas():
        for group in arena.pages.groups if arena.pages else ():
            if group.held.in_ram and not group.cached:
                sizes[group.size].append((arena, group))
    for size, found in sizes.items():
        arenas, held = [arena for arena, _ in found], sum(g.held.in_ram for _, g in found)
        least = "" if all(a.pages is None or a.pages.all for a in arenas) else "at least "
        which = f"{least}{_which(sum(group.chunks for _, group in found), size)}"
        keeps = f"{'keeps' if _is_one(found) else 'keep'} {least}{size_text(held)}"
        told = f"{which} in {_where(case, arenas)} {keeps} of pages that are mostly free"
        yield Leading(held, told, f"{which} in {_where(case, arenas, True)} {keeps}")


def _is_one(found: Found | FoundInPages) -> bool:
    return sum(group.chunks for _, group in found) == 1


def _which(chunks: int, size: int) -> str:
    return f"{counted(chunks, 'chunk')} of {size:,} bytes"


def _where(case: Case, arenas: list[ArenaFigures], brief: bool = False) -> str:
    """Name an arena, or count several; if brief without its libc, where no other holds anything."""
    if len(arenas) > 1:
        return counted(len(arenas), "arena")
    alone = sum(bool(malloc.held) for malloc in case.snapshot.mallocs) == 1
    return f"arena {arenas[0].index}" if brief and alone else case.named(arenas[0])
