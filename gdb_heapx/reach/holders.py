"""What each holder holds alone, and together with others; what several hold, and what nobody."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Union

from ..held.root import PLACES, RootKind
from ..records import dataclass
from .holding import Holding, RootHolder, holdings_of
from .labelled import CompiledLabels, labels_of
from .labels import NO_CHUNKS, Counted, Labels, Share
from .leads import Leads
from .nearest import NOWHERE, nearest_of
from .turns import TURNS, turn_of

if TYPE_CHECKING:
    from ..held.held import Held

TYPES = 3  # that are told of a holder
MOST_SUMS = 1 << 22  # sums of bytes by holder and kind
# How many chunks are looked through to tell what holders share: so many times those in use, or so
# many.
TIMES, LEAST = 4, 1 << 20

AnyLabels = Union[Labels, CompiledLabels]
KINDS = {name: kind for kind, name in PLACES.items() if kind is not RootKind.RED_ZONE}


class Hold(NamedTuple):
    """What a holder holds alone; what of that which several hold is `nearest` to it; and all that
    it holds together with others, with the bytes of that which are nearest to the holder that
    leads (None: that was too long to count).

    `kinds` are the largest ones of what it holds alone or is nearest to it, with their bytes; None
    where they were not added up.
    """

    holder: RootHolder
    alone: Share
    nearest: Share
    shared: Share | None
    of_lead: int | None
    kinds: tuple[tuple[int, int], ...] | None

    @property
    def bytes(self) -> int:
        """What it holds alone, and what is nearest to it."""
        return self.alone.bytes + self.nearest.bytes


@dataclass(frozen=True)
class Holders:
    """All that hold chunks, those with most first; what several of them hold, each chunk once, and
    what nobody does. What they hold alone, and these two, add up to all that is in use. What
    several hold is added up once more by the holder to which each chunk is nearest: from which the
    shortest way leads there.
    """

    holds: Sequence[Hold]
    several: Share
    unreachable: Share

    @property
    def alone(self) -> Share:
        parts = [hold.alone for hold in self.holds]
        return Share(sum(part.chunks for part in parts), sum(part.bytes for part in parts))


@dataclass
class _Group:
    """The labels that are one holder's, and what that leads to."""

    holder: RootHolder
    labels: range
    words: array[int]
    alone: Share = NO_CHUNKS
    nearest: Share = NO_CHUNKS
    touches: bool = False


def find_holders(
    held: Held, kinds: array[int], number: int, streams: Sequence[int] = ()
) -> Holders:
    """Return who holds what; `kinds` has the kind of each chunk by its rank, of so many kinds;
    `streams` are the ranks of streams' buffers. StoppedError where that is stopped.
    """
    holdings = holdings_of(held)
    held.space.pace.begin("following pointers")
    labels = labels_of(held, len(holdings))
    groups = _grouped(labels, holdings)
    for group in groups:
        group.touches = any(labels.touches[group.labels.start : group.labels.stop])
    labels.nearest = _nearest(held, groups, streams)
    totals = labels.totals(array("I"), kinds, 0)
    for group in groups:
        own = totals.parts[group.labels.start : group.labels.stop]
        group.alone = Share(sum(part.chunks for part in own), sum(part.bytes for part in own))
        group.nearest = totals.nearer[group.labels.start]
    groups.sort(key=lambda group: -group.alone.bytes - group.nearest.bytes)
    labels.lead = groups[0].labels.start if groups else labels.lead
    largest = _largest_kinds(labels, groups, kinds, number)
    counted = _shared(held, labels, groups)
    kinds_of = [*largest, *[None] * (len(groups) - len(largest))]
    holds = [_hold(*each) for each in zip(groups, counted, kinds_of)]
    return Holders(holds, totals.parts[-1], totals.parts[0])


def _hold(
    group: _Group, counted: Counted | None, kinds: tuple[tuple[int, int], ...] | None
) -> Hold:
    shared, of_lead = counted or (None, None)
    return Hold(group.holder, group.alone, group.nearest, shared, of_lead, kinds)


def _grouped(labels: AnyLabels, holdings: Sequence[Holding]) -> list[_Group]:
    """Follow all holders; return which labels belong together."""
    groups: list[_Group] = []
    for label, holding in enumerate(holdings, 1):
        before = groups[-1] if groups and holding.near else None
        first = before.labels.start if before else label
        met = labels.follow(label, first, holding.words)
        if before and met:
            before.labels = range(first, label + 1)
            before.words.extend(holding.words)
        else:
            groups.append(_Group(holding.holder, range(label, label + 1), holding.words))
        for address in holding.left:
            labels.left(label, address)
    return groups


def _nearest(held: Held, groups: Sequence[_Group], streams: Sequence[int]) -> memoryview | None:
    """Return of each chunk to which group it is nearest, by the first label of that, as
    Nearest.reached; None where no chunk is held by several.

    What a stream's buffer has was written or read some time ago: it leads on last of all.
    """
    touching = [group for group in groups if group.touches]
    if not touching:
        return None
    search, turns = nearest_of(held), [_turn(group.holder) for group in touching]
    known = (held.index.ranked(rank) for rank in streams)
    buffers = [buffer for buffer in known if buffer.region not in held.lots.large]
    for buffer in buffers:
        search.close(buffer)
    for turn in TURNS:
        for group in (group for group, own in zip(touching, turns) if own == turn):
            search.take(group.labels.start, group.words)
        search.follow()
    leads = Leads(held)
    for buffer in buffers:
        if search.origin(buffer.rank) != NOWHERE:
            words = array("Q", (word for _, word in leads.words(buffer)))
            search.take(search.origin(buffer.rank), words)
    search.follow()
    return search.reached


def _turn(holder: RootHolder) -> int:
    """Return in which turn ways begin at a holder; what ended threads left is as what they had."""
    return turn_of(KINDS[holder.kind], holder.module)


def _largest_kinds(
    labels: AnyLabels, groups: Sequence[_Group], kinds: array[int], number: int
) -> list[tuple[tuple[int, int], ...]]:
    """Return of the groups that come first which kinds are the largest."""
    with_any = [group for group in groups if group.alone.chunks or group.nearest.chunks]
    told = with_any[: max(1, MOST_SUMS // max(number, 1))]
    last = max((group.labels.stop for group in groups), default=1)
    rows = array("I", bytes(4 * (last + 1)))
    for row, group in enumerate(told, 1):
        for label in group.labels:
            rows[label] = row
    found = []
    for sums in labels.totals(rows, kinds, number).bytes_by_kind if told else ():
        largest = sorted(range(number), key=sums.__getitem__, reverse=True)[:TYPES]
        found.append(tuple((kind, sums[kind]) for kind in largest if sums[kind]))
    return found


def _shared(held: Held, labels: AnyLabels, groups: Sequence[_Group]) -> list[Counted | None]:
    """Return what each holds together with others, as far as that isn't too long to count."""
    left = max(TIMES * held.index.chunks, LEAST)
    found: list[Counted | None] = []
    for group in groups:
        if not group.touches:
            found.append(Counted(NO_CHUNKS, 0))
            continue
        both = labels.shared(group.words, left) if left else None
        found.append(both)
        left -= min(left, group.alone.chunks + (both.share.chunks if both else left))
    return found
