"""Why memory stays: what the kernel was told of its pages, and swap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..heap.states import State
from ..report.model import Finding, Worth, counted, size_text
from ..snapshots.ledger import MALLOC
from ..snapshots.regions import Owner
from .order import SMALLEST, Part, spread
from .settings import asks_for_huge, each_mapping, in_huge_pages
from .sums import Case, anywhere, each_arena

if TYPE_CHECKING:
    from ..target.mappings import Mapping

NEARLY = 0.9  # all of it


def huge_pages(case: Case) -> Iterator[Finding]:
    if any(asks_for_huge(malloc, case.environment) for malloc in case.snapshot.mallocs):
        return  # a setting of the user's: settings.hugetlb
    huge = in_huge_pages(case)
    yield Finding(
        "huge_pages",
        sum(huge.values()),
        "malloc's memory in transparent huge pages: one byte in use keeps a whole one resident.",
        each_mapping(huge),
        "prctl(PR_SET_THP_DISABLE) when it starts. What nobody has touched goes, at most all of "
        "it. The price is TLB misses.",
        Worth(sum(huge.values())),
        about=anywhere(case, sum(huge.values())),
    )


def locked(case: Case) -> Iterator[Finding]:
    kept = [
        (arena.trim.kept_locked.resident or 0, arena)
        for arena in case.snapshot.arenas()
        if arena.trim is not None
    ]
    yield Finding(
        "locked",
        sum(amount for amount, _ in kept),
        "free pages are locked: malloc_trim can't return them. It says that it did (mlock, "
        "mlockall).",
        each_arena(case, kept, lambda amount, arena: size_text(amount)),
        "munlockall() before malloc_trim(0), or don't lock the heap.",
        Worth(sum(amount for amount, _ in kept), exact=True),
        about=spread(Part.LOCKED, kept),
    )


def locked_all(case: Case) -> Iterator[Finding]:
    """All memory is locked: with MCL_FUTURE the kernel also fills what is mapped."""
    mappings = case.snapshot.target.mappings
    if not any(kind.usage.locked for kind in mappings.kinds if kind.usage):
        return
    usable = [m for m in mappings if m.usage and m.permissions[:2] == "rw"]
    locked = [m for m in usable if m.usage and m.usage.locked]
    size, resident = sum(m.size for m in locked), sum(_resident(m) for m in locked)
    others = any(m.inode or m.name.startswith("[stack") for m in locked)  # than malloc's
    if NEARLY * sum(m.size for m in usable) > size or not others:
        return
    kept = [(a.trim.kept_locked.in_ram, a) for a in case.snapshot.arenas() if a.trim is not None]
    free, filled = sum(amount for amount, _ in kept), _is_filled(locked)
    regions = case.snapshot.regions.owned_by(Owner.HEAP, Owner.MMAPPED)
    places = {mapping.start for mapping in locked}
    of_malloc = sum(r.amount.in_ram for r in regions if r.mapping.start in places)
    all_of_it = anywhere(case, of_malloc, outside=max(resident - of_malloc, 0))
    yield Finding(
        "mlockall",
        resident if filled else free,
        "all memory is locked (mlockall): "
        + (
            "all that is mapped is resident. Stacks too, touched or not."
            if filled
            else "what was touched once stays, and malloc_trim returns nothing below top."
        ),
        (
            f"locked: {size_text(size)} in {counted(len(locked), 'mapping')}",
            f"thread stacks: {size_text(case.amount(Owner.STACKS))}",
            f"free pages in arenas: {size_text(free)}",
        ),
        _unlock(filled),
        None if filled else Worth(free, exact=True),
        in_force=True,
        about=all_of_it if filled else spread(Part.LOCKED, kept),
    )


def _is_filled(locked: list[Mapping]) -> bool:
    """Tell whether the kernel has filled these mappings, which it doesn't with MCL_ONFAULT: nobody
    touches a stack to its end.
    """
    stacks = [m for m in locked if m.name.startswith("[stack")]
    return all(
        sum(map(_resident, each)) >= NEARLY * sum(m.size for m in each) for each in (locked, stacks)
    )


def _unlock(filled: bool) -> str:
    if not filled:
        return "munlockall() before malloc_trim(0). The price is that pages may be swapped out."
    return (
        "mlockall with MCL_ONFAULT locks only what is touched. Or smaller stacks "
        "(pthread_attr_setstacksize, ulimit -s), or no mlockall. What that saves can't be computed."
    )


def _resident(mapping: Mapping) -> int:
    return mapping.usage.resident if mapping.usage else 0


def swapped(case: Case) -> Iterator[Finding]:
    free = case.swapped(State.FAST, State.BINNED, State.TOP)
    yield Finding(
        "swapped",
        case.swapped(*MALLOC, Owner.UNKNOWN),
        "malloc has this in swap: it isn't in RSS.",
        (
            f"in use: {size_text(case.swapped(State.IN_USE, Owner.MMAPPED))}",
            f"free: {size_text(free)}",
        ),
        _swap_remedy(free),
    )


def _swap_remedy(free: int) -> str:
    if free < SMALLEST:
        return "Nothing to be done: it comes back when it is used."
    return f"malloc_trim(0) frees {size_text(free)} of it at most. The rest comes back when used."
