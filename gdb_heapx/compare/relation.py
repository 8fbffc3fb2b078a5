"""Whether two looks are at one process: only then do addresses mean the same in both."""

from __future__ import annotations

from enum import Enum

from ..target.mappings import DELETED
from .look import Look


class Relation(Enum):
    """What two looks have in common."""

    SAME = "the same process"
    LIKELY = "the same process, as far as can be told"
    EXECUTED = "the same process, which has started a program since"
    OTHER = "two processes"


def relation(old: Look, new: Look) -> Relation:
    """Return what two looks have in common.

    A process id comes again, when a process began does not (Facts.born). A core doesn't tell that:
    there the place of the main arena, which is another in each run, has to do.
    """
    before, after = old.snapshot.target, new.snapshot.target
    programs = {(facts.exe or "").removesuffix(DELETED) for facts in (before, after)}
    placed = old.main == new.main and len(programs) == 1
    if before.born is not None and after.born is not None:
        if (before.born, before.pid) != (after.born, after.pid):
            return Relation.OTHER
        return Relation.SAME if placed else Relation.EXECUTED
    hosts = {old.host, new.host} - {None}
    if before.pid != after.pid or not placed or old.main is None or len(hosts) > 1:
        return Relation.OTHER
    return Relation.LIKELY


def by_address(related: Relation) -> bool:
    """Tell whether arenas and heaps are matched by their addresses, not by their indexes."""
    return related in (Relation.SAME, Relation.LIKELY)
