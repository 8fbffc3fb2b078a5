"""What is asked most of a saved snapshot, as flat figures: for engines that read many files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import valid
from ..heap.states import State
from ..report.schema import Value
from ..why.causes import find_causes
from ..why.sums import Case

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..reach.brief import Brief
    from ..report.model import Finding
    from ..snapshots.take import Snapshot

# Settings of malloc, as malloc_par has them, None where a release has no such member.
SETTINGS = (
    *("trim_threshold", "top_pad", "mmap_threshold", "arena_max", "n_mmaps_max"),
    *("tcache_count", "thp_pagesize", "hp_pagesize"),
)
STATES = {
    "tcache": State.TCACHE,
    "fast": State.FAST,
    "binned": State.BINNED,
    "top": State.TOP,
    "overhead": State.OVERHEAD,
}


def process_of(snapshot: Snapshot) -> dict[str, Value]:
    """Return which process it is, or of which a core."""
    target = snapshot.target
    return {
        "pid": target.pid,
        "program": None if target.exe is None else valid(target.exe),
        "live": target.live,
        "architecture": target.architecture,
        "word": target.word,
        "page": target.page,
        "cpus": target.cpus,
        "threads": len(target.threads),
    }


def summary_of(snapshot: Snapshot) -> dict[str, Value]:
    """Return flat figures, in bytes but for numbers of things; None where one is unknown."""
    arenas, first = snapshot.arenas(), snapshot.mallocs[:1]
    settings = first[0].parameters if first else {}
    case = Case(snapshot)
    return {
        "release": snapshot.identity.release,
        "libc": snapshot.identity.libc,
        "build_id": snapshot.identity.build_id,
        "rss": snapshot.target.rss,
        "pss": snapshot.target.pss,
        "swapped": case.ledger.whole.swapped,
        "in_use": snapshot.in_use,
        "free": snapshot.free,
        "returnable": snapshot.returnable,
        "in_use_resident": case.live if case.resident_known else None,
        "free_resident": case.retained if case.resident_known else None,
        "outside_resident": case.outside if case.resident_known else None,
        "held": sum(malloc.held for malloc in snapshot.mallocs),
        **{f"{n}": _sum(a.amounts[s].bytes for a in arenas) for n, s in STATES.items()},
        "mmapped": _sum(malloc.mmapped_bytes for malloc in snapshot.mallocs),
        "mmapped_chunks": sum(m.parameters["n_mmaps"] for m in snapshot.mallocs),
        "arenas": len(arenas),
        "heaps": sum(len(arena.heaps) for arena in arenas),
        "idle_arenas": _sum(None if a.threads is None else a.threads == 0 for a in arenas),
        **{name: settings.get(name) for name in SETTINGS},
        "problems": len(snapshot.problems),
        "damaged": any(problem.damage for problem in snapshot.problems),
    }


def _sum(amounts: Iterable[int | None]) -> int | None:
    found = list(amounts)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def findings_of(
    snapshot: Snapshot, brief: Brief | None, ceilings: tuple[Ceiling, ...]
) -> list[dict[str, Value]]:
    """Return what heapx why finds, without its sentences."""
    return [_finding(each) for each in find_causes(snapshot, brief, ceilings)]


def _finding(found: Finding) -> dict[str, Value]:
    worth = found.worth
    return {
        "code": found.code,
        "bytes": found.bytes,
        "worth": None if worth is None else worth.bytes,
        "worth_is": None if worth is None else worth.kind,
        "likely": None if worth is None else worth.likely,
        "in_force": found.in_force,
    }
