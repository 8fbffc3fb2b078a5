"""The fastbins of an arena: by their lists, or by what a walk has proven."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from ..errors import Problem
from ..glibc.layout import Layout
from ..target.space import Space
from .arenas import Arena
from .bins import ArenaBins, Bin, FreeList, bin_of, bins_of, limit_of
from .fast import Looks
from .links import Links, Trail
from .lists import Ends, Followed, fast_list
from .places import Places
from .states import State

NONE_KNOWN: Mapping[int, Looks] = {}


def read_fast(
    space: Space,
    layout: Layout,
    arena: Arena,
    links: Links,
    places: Places,
    known: Mapping[int, Looks] = NONE_KNOWN,
) -> ArenaBins:
    """Return an arena's fastbins; of sizes that aren't `known` their lists are followed, and their
    chunks added to `places`.
    """

    def visit(chunk: int, size: int, absent: int, swapped: int, shared: int) -> None:
        places.add(chunk)

    bins: list[Bin] = []
    problems: list[Problem] = []
    for each in fast_lists(space, layout, arena, links):
        looks = known.get(each.bounds[0])
        followed = _as_followed(each, looks) if looks else each.follow(space.residency, visit)
        bins.append(bin_of(space, each, followed))
        problems += followed.problems
    return bins_of(arena, bins, problems)


def _as_followed(listed: FreeList, looks: Looks) -> Followed:
    """Return what a fastbin holds by what a walk has found."""
    size = looks.chunks * listed.bounds[0]
    lost = looks.absent, looks.swapped, looks.shared
    return Followed(looks.chunks, size, *lost, looks.addresses, ())


def fast_heads(space: Space, layout: Layout, arena: Arena) -> dict[int, int]:
    """Return where the lists of an arena's fastbins begin that hold chunks, by chunk size."""
    heads = arena.record.array("fastbinsY", space.word) if layout.has_fastbins else ()
    return {layout.fast_size(index): head for index, head in enumerate(heads) if head}


def fast_lists(space: Space, layout: Layout, arena: Arena, links: Links) -> Iterator[FreeList]:
    """Yield an arena's fastbins that hold chunks."""
    for size, head in fast_heads(space, layout, arena).items():
        index = layout.fast_index(size)
        name = f"fastbin {index}"
        field = arena.record.address_of("fastbinsY") + index * space.word
        trail = Trail(links, field, layout.header, layout.reveal)
        chunks = partial(fast_list, name, layout, links, head, size)
        limit = limit_of(layout, arena)
        yield FreeList(State.FAST, index, (size, size), name, limit, trail, chunks, Ends(head, 0))
