"""The chunks that a program's code is to be searched for: the group that holds most."""

from __future__ import annotations

from ..report.model import counted, size_text
from .sums import Case


def last_alike(case: Case) -> str:
    """Name the chunks of one size, the last ones in an arena, that hold most below a top; "" if
    there are none.
    """
    arenas = [(a.whatif.alike, a) for a in case.snapshot.arenas() if a.whatif and a.whatif.alike]
    groups = [
        (group.held.in_ram, group)
        for group, _ in arenas
        if group and group.size * group.chunks <= group.held.bytes
    ]
    if not groups:
        return ""
    held, most = max(groups, key=lambda pair: pair[0])
    chunks = counted(most.chunks, "chunk")
    verb = "holds" if most.chunks == 1 else "hold"
    return f"{chunks} of {most.size:,} bytes at the end of arena {most.arena} {verb} " + (
        size_text(held)
    )


def of_pages(case: Case) -> str:
    """Name the chunks in use of one size that keep most in pages which are mostly free; "" if there
    are none.
    """
    found = [
        (group.held.in_ram, group, arena)
        for arena in case.snapshot.arenas()
        if arena.pages
        for group in arena.pages.groups
        if not group.cached and group.held.in_ram
    ]
    if not found:
        return ""
    held, most, arena = max(found, key=lambda each: each[0])
    least = "" if arena.pages is None or arena.pages.all else "at least "
    verb = "keeps" if most.chunks == 1 else "keep"
    return (
        f"{least}{counted(most.chunks, 'chunk')} of {most.size:,} bytes in arena {arena.index} "
        f"{verb} {least}{size_text(held)} of pages that are mostly free"
    )
