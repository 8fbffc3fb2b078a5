"""What malloc_trim would give back to the kernel, to the page, without calling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..glibc.layout import Layout, align_up
from ..glibc.systrim import taken_off
from ..records import dataclass
from ..target.amounts import Amount
from .states import State

if TYPE_CHECKING:
    from .holes import Holes, Trimmer


class Trim(NamedTuple):
    """The free memory of one arena by what malloc_trim does with it.

    Together the parts are binned + fast + tcache + top. `returned_…` pages go; they are resident
    or swapped now. `already_returned` pages would go, too, but aren't there any more. `kept_top` is
    what systrim leaves of the main arena's top, and all of another arena's. `kept_small_bins` are
    chunks too small to hold a whole page, `kept_partial_page` what is around the whole pages of
    larger ones. `kept_locked` pages are locked in memory, `kept_foreign_brk` would go if the
    program break were still at the end of top. None is what depends on an unknown residency.
    """

    returned_below_top: Amount | None
    returned_top: Amount | None
    already_returned: Amount | None
    kept_top: Amount
    kept_tcache: Amount
    kept_partial_page: Amount
    kept_small_bins: Amount
    kept_locked: Amount
    kept_foreign_brk: Amount

    @property
    def returned(self) -> int | None:
        """Bytes of RAM that malloc_trim would give back; None where residency is unknown."""
        return None if self._returned is None else self._returned.resident

    @property
    def returned_private(self) -> int | None:
        """Bytes of it that no other process shares: only these leave RAM then."""
        return None if self._returned is None else self._returned.private

    @property
    def _returned(self) -> Amount | None:
        if self.returned_below_top is None or self.returned_top is None:
            return None
        return self.returned_below_top + self.returned_top


@dataclass(frozen=True)
class Top:
    """An arena's top, as systrim looks at it; `main` top can go only if it ends at the break."""

    address: int
    size: int
    main: bool
    at_break: bool


def trim_arena(
    trimmer: Trimmer,
    layout: Layout,
    amounts: Mapping[State, Amount],
    holes: Holes,
    top: Top,
    parameters: dict[str, int],
    pad: int,
) -> Trim:
    """Return what malloc_trim(pad) would do to one arena (malloc.c: mtrim, systrim)."""
    all_top, huge = amounts[State.TOP] + holes.into_top, parameters.get("thp_pagesize", 0)
    extra = taken_off(layout, trimmer.page, all_top.bytes, pad, huge) if top.main else 0
    extra, foreign = (extra, 0) if top.at_break else (0, extra)
    end = top.address + top.size
    aligned = align_up(end, trimmer.page)
    returned = trimmer.unmapped(aligned - extra, aligned)
    gone = Amount(extra - returned.bytes, 0, 0)
    kept = trimmer.amount(end - foreign, end)
    known = all_top.resident is not None
    return Trim(
        returned_below_top=holes.returned if known else None,
        returned_top=returned if known else None,
        already_returned=holes.gone + gone if known else None,
        kept_top=all_top - returned - gone - kept,
        kept_tcache=amounts[State.TCACHE],
        kept_partial_page=holes.partial,
        kept_small_bins=amounts[State.BINNED] + amounts[State.FAST] - holes.large - holes.into_top,
        kept_locked=holes.kept,
        kept_foreign_brk=kept,
    )
