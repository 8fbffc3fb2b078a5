"""A snapshot as a file has it: nothing twice, and what is known beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ..fit.ceilings import Ceiling
from ..reach.brief import Brief
from ..records import dataclass
from ..snapshots.malloc import Malloc
from ..snapshots.regions import Owner, Region, Regions, Span, of_mapping, unmapped
from ..snapshots.take import Snapshot
from ..target.amounts import Amount
from ..target.mappings import Mappings
from .censuses import FiledCensus, filed_censuses, with_censuses
from .tcaches import FiledTcache, filed_tcaches, with_tcaches, without_tcaches


class FiledRegion(NamedTuple):
    """A region: the number of its mapping, None where that is known by it alone; where it begins
    and ends, None as the mapping; its amount, None as the kernel says of the mapping.
    """

    mapping: int | None
    owner: Owner
    start: int | None = None
    end: int | None = None
    arena: int | None = None
    libc: str | None = None
    state: int | None = None
    name: str | None = None
    amount: Amount | None = None


class FiledCeiling(NamedTuple):
    """A ceiling, with the address of its arena."""

    arena: int
    free: int
    served: int
    largest: int
    at_top: bool
    until: int


@dataclass(frozen=True)
class Filed:
    """A snapshot without what a file has of it beside: its regions, and of each malloc the tcaches,
    and the census of each arena; and what was known beside it.
    """

    snapshot: Snapshot
    regions: tuple[FiledRegion, ...]
    tcaches: tuple[tuple[FiledTcache, ...], ...]
    censuses: tuple[tuple[FiledCensus | None, ...], ...]
    brief: Brief | None = None
    ceilings: tuple[FiledCeiling, ...] = ()


def filed(snapshot: Snapshot, brief: Brief | None, ceilings: tuple[Ceiling, ...]) -> Filed:
    """Return this for a file."""
    mallocs = snapshot.mallocs
    numbers = {mapping.start: at for at, mapping in enumerate(snapshot.target.mappings)}
    return Filed(
        replace(snapshot, regions=Regions.of(()), mallocs=tuple(map(_bare, mallocs))),
        tuple(_region(region, numbers.get(region.mapping.start)) for region in snapshot.regions),
        tuple(map(filed_tcaches, mallocs)),
        tuple(map(filed_censuses, mallocs)),
        brief,
        tuple(FiledCeiling(c.arena.address, *_figures(c)) for c in ceilings),
    )


def _bare(malloc: Malloc) -> Malloc:
    arenas = tuple(replace(arena, census=None) for arena in malloc.arenas)
    return replace(without_tcaches(malloc), arenas=arenas)


def _figures(ceiling: Ceiling) -> tuple[int, int, int, bool, int]:
    return ceiling.free, ceiling.served, ceiling.largest, ceiling.at_top, ceiling.until


def _region(region: Region, number: int | None) -> FiledRegion:
    span, mapping = region.span, region.mapping
    return FiledRegion(
        number,
        span.owner,
        None if number is not None and span.start == mapping.start else span.start,
        None if number is not None and span.end == mapping.end else span.end,
        *(span.arena, span.libc, span.state, span.name),
        None if region.amount == of_mapping(mapping, span) else region.amount,
    )


def restored(found: Filed) -> Snapshot:
    """Return the snapshot; ValueError where it names what isn't there."""
    mappings = found.snapshot.target.mappings
    return replace(
        found.snapshot,
        regions=Regions.of(_regions(found.regions, mappings)),
        mallocs=tuple(_mallocs(found)),
    )


def _mallocs(found: Filed) -> Iterator[Malloc]:
    mallocs, tcaches, censuses = found.snapshot.mallocs, found.tcaches, found.censuses
    if not len(mallocs) == len(tcaches) == len(censuses):
        raise ValueError(f"tcaches, or censuses, that aren't of {len(mallocs)} mallocs")
    for malloc, caches, counts in zip(mallocs, tcaches, censuses):
        yield with_censuses(with_tcaches(malloc, caches), counts)


def _regions(regions: tuple[FiledRegion, ...], mappings: Mappings) -> Iterator[Region]:
    for each in regions:
        if each.mapping is not None and not 0 <= each.mapping < len(mappings):
            raise ValueError(f"a region of mapping {each.mapping}, and there are {len(mappings)}")
        mapping = None if each.mapping is None else mappings[each.mapping]
        start, end = each.start, each.end
        if mapping is not None:
            start = mapping.start if start is None else start
            end = mapping.end if end is None else end
        if start is None or end is None:
            raise ValueError("a region that is nowhere")
        span = Span(start, end, each.owner, each.arena, each.libc, each.state, each.name)
        mapping = mapping or unmapped(span)
        amount = each.amount or of_mapping(mapping, span)
        if amount is None:
            raise ValueError(f"nothing tells how much of {start:#x} to {end:#x} is in memory")
        yield Region(span, mapping, amount)


def ceilings_of(found: Filed) -> tuple[Ceiling, ...]:
    """Return what arenas can serve; ValueError where there is no such arena."""
    arenas = {arena.address: arena for arena in found.snapshot.arenas()}
    lost = next((each for each in found.ceilings if each.arena not in arenas), None)
    if lost:
        raise ValueError(f"there is no arena {lost.arena:#x}")
    return tuple(Ceiling(arenas[each.arena], *each[1:]) for each in found.ceilings)
