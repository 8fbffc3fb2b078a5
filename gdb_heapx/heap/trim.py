"""What malloc_trim would give back to the kernel, to the page, without calling it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..glibc.layout import Layout, align_up
from ..glibc.systrim import taken_off
from .holes import Holes, Pages, Trimmer


class Part(NamedTuple):
    """Bytes of address space, and those of them in RAM; None where the target can't say."""

    bytes: int | None
    resident: int | None


@dataclass(frozen=True)
class Trim:
    """The free memory of one arena by what malloc_trim does with it.

    Together the parts are binned + fast + tcache + top. `returned_…` pages go; they are resident
    or swapped now. `already_returned` pages would go, too, but aren't there any more. `kept_top` is
    what systrim leaves of the main arena's top, and all of another arena's. `kept_small_bins` are
    chunks too small to hold a whole page, `kept_partial_page` what is around the whole pages of
    larger ones. `kept_locked` pages are locked in memory, `kept_foreign_brk` would go if the
    program break were still at the end of top.
    """

    returned_below_top: Part
    returned_top: Part
    already_returned: Part
    kept_top: Part
    kept_tcache: Part
    kept_partial_page: Part
    kept_small_bins: Part
    kept_locked: Part
    kept_foreign_brk: Part

    @property
    def returned(self) -> int | None:
        """Bytes of RAM that malloc_trim would give back; None where residency is unknown."""
        below, top = self.returned_below_top.resident, self.returned_top.resident
        return None if below is None or top is None else below + top


class Free(NamedTuple):
    """The free memory of an arena by state, each with what of it is resident."""

    binned: Part
    fast: Part
    tcache: Part
    top: Part


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
    free: Free,
    holes: Holes,
    top: Top,
    parameters: dict[str, int],
    pad: int,
) -> Trim:
    """Return what malloc_trim(pad) would do to one arena (malloc.c: mtrim, systrim)."""
    known = free.top.resident is not None
    into_top = Part(holes.into_top, holes.into_top - holes.into_top_absent)
    all_top = _plus(free.top, into_top)
    size = top.size + holes.into_top
    huge = parameters.get("thp_pagesize", 0)
    extra = taken_off(layout, trimmer.page, size, pad, huge) if top.main else 0
    end = top.address + top.size
    tail = Pages()
    if extra and top.at_break:
        aligned = align_up(end, trimmer.page)
        tail = trimmer.unmap(aligned - extra, aligned)
    foreign = extra if extra and not top.at_break else 0
    foreign_resident = trimmer.resident(end - foreign, end)
    gone = tail.returned + tail.gone
    pages = holes.pages
    partial = Part(holes.partial, holes.partial - holes.partial_absent)
    whole = pages.returned + pages.gone + pages.kept
    small = _minus(
        _plus(free.binned, free.fast),
        Part(whole, pages.returned_resident + pages.kept_resident),
        partial,
        into_top,
    )
    parts = Trim(
        returned_below_top=Part(pages.returned, pages.returned_resident),
        returned_top=Part(tail.returned, tail.returned_resident),
        already_returned=Part(pages.gone + tail.gone, 0),
        kept_top=_minus(
            all_top, Part(gone, tail.returned_resident), Part(foreign, foreign_resident)
        ),
        kept_tcache=free.tcache,
        kept_partial_page=partial,
        kept_small_bins=small,
        kept_locked=Part(pages.kept, pages.kept_resident),
        kept_foreign_brk=Part(foreign, foreign_resident),
    )
    return parts if known else _without_residency(parts)


def _without_residency(trim: Trim) -> Trim:
    """Forget what depends on which pages are resident."""
    parts = {name: Part(getattr(trim, name).bytes, None) for name in Trim.__dataclass_fields__}
    for name in ("returned_below_top", "returned_top", "already_returned"):
        parts[name] = Part(None, None)
    return Trim(**parts)


def _plus(*parts: Part) -> Part:
    residents = [part.resident for part in parts]
    known = [value for value in residents if value is not None]
    resident = sum(known) if len(known) == len(parts) else None
    return Part(sum(part.bytes or 0 for part in parts), resident)


def _minus(whole: Part, *parts: Part) -> Part:
    rest = _plus(*parts)
    unknown = whole.resident is None or rest.resident is None
    resident = None if unknown else (whole.resident or 0) - (rest.resident or 0)
    return Part((whole.bytes or 0) - (rest.bytes or 0), resident)
