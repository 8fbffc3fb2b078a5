"""Which finding is said first, and which ones are about the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from ..report.model import size_text

if TYPE_CHECKING:
    from ..report.model import Finding
    from ..snapshots.figures import ArenaFigures

SMALLEST = 64 << 10  # bytes; what is less isn't worth a sentence
PERCENT = 100  # what is less than one hundredth of the whole is told last


class Part(Enum):
    """What bytes a finding is about; with an arena's address those of that arena."""

    LIVE = "held by the program"
    BELOW = "whole pages of free chunks"
    EDGES = "free bytes that share a page with a chunk in use"
    TOP = "top"
    TCACHE = "in tcaches"
    ROUNDING = "ends of pages of mmapped chunks"
    LOCKED = "free pages locked in memory"
    OUTSIDE = "not malloc's"


About = dict[tuple[Part, int], int]


def spread(part: Part, amounts: Iterable[tuple[int, ArenaFigures]]) -> About:
    """Return what these amounts are about: this part of each arena."""
    return {(part, arena.address): amount for amount, arena in amounts if amount}


class Rank(Enum):
    """What is told before what: by what is known of a remedy's worth."""

    ALONE = 0  # nothing else keeps nearly all of it
    SETTING = 1  # in force, and it makes it worse
    NEEDED = 2  # to understand all others
    PROVEN = 3
    BOUNDED = 4
    UNKNOWN = 5


def in_order(
    needed: Iterable[Finding], others: Iterable[Finding], whole: int, alone: Iterable[Finding] = ()
) -> tuple[Finding, ...]:
    """Return the findings, those that tell first: what `alone` keeps nearly all, settings that make
    it worse, what is `needed` to understand all others, and then by what the remedy is proven to
    give.

    What is only bounded never stands before what is proven, and then comes what can't be computed,
    by the bytes at stake. Of nearly as many bytes the first one goes first: causes are listed with
    what explains before what follows, and the special before the general. What is less than a
    hundredth of the `whole` comes behind the rest. Findings about the same bytes follow the first.
    """
    ranked = [(Rank.SETTING if each.in_force else Rank.NEEDED, each) for each in needed]
    ranked += [(_rank(each), each) for each in others]
    ranked += [(Rank.ALONE, each) for each in alone]
    found: list[Finding] = []
    for small in (False, True):
        for rank in Rank:
            some = [each for at, each in ranked if at is rank and is_small(each, whole) is small]
            found += some if rank is Rank.NEEDED else _most_first(some)
    return tuple(_grouped(found))


def _rank(finding: Finding) -> Rank:
    if finding.in_force:
        return Rank.SETTING
    if finding.worth is None:
        return Rank.UNKNOWN
    return Rank.PROVEN if finding.worth.exact else Rank.BOUNDED


def is_small(finding: Finding, whole: int) -> bool:
    """Tell whether a finding is about less than a hundredth of the whole. What is exact is about
    all of its bytes: of what malloc_trim takes from RSS only what is private leaves RAM.
    """
    worth, stake = finding.worth, finding.bytes or 0
    return PERCENT * (stake if worth and worth.exact else _weight(finding)) < whole


def _weight(finding: Finding) -> int:
    """Return the bytes that a finding counts by: what to expect of its remedy, if that is known,
    but no more than the bytes at stake, where it is only bounded.
    """
    worth, stake = finding.worth, finding.bytes or 0
    if worth is None:
        return stake
    return worth.bytes if worth.exact else min(worth.expected, stake)


def _most_first(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the findings with most bytes first, and of nearly as many the one that comes first."""
    left = list(findings)
    while left:
        most = max(map(_weight, left))
        following = next(each for each in left if 5 * _weight(each) >= 4 * most)
        left.remove(following)
        yield following


def _grouped(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield each finding with those behind it that are about the same bytes, as its reasons: what
    is only bounded comes last of these, for all others are proven.
    """
    groups: list[list[Finding]] = []
    for finding in findings:
        group = next((group for group in groups if _same(finding, group[0])), None)
        if group is None:
            groups.append([_after(finding, [leader for leader, *_ in groups])])
        else:
            group.append(replace(finding, reason_of=group[0].code))
    for leader, *reasons in groups:
        yield leader
        yield from sorted(reasons, key=lambda each: _rank(each) is Rank.BOUNDED)


def _same(finding: Finding, leader: Finding) -> bool:
    """Tell whether most of the bytes of a finding are certainly those of another, too."""
    certain = _shared(finding, leader) - _elsewhere(finding) - _elsewhere(leader)
    return 2 * certain > sum(finding.about.values()) - _elsewhere(finding)


def _shared(finding: Finding, other: Finding) -> int:
    """Return how many bytes two findings may both be about."""
    return sum(min(size, other.about.get(part, 0)) for part, size in finding.about.items())


def _elsewhere(finding: Finding) -> int:
    """Return by how much the places where a finding's bytes are have more than these."""
    places = sum(finding.about.values())
    return max(places - (places if finding.bytes is None else finding.bytes), 0)


def _after(finding: Finding, leaders: Iterable[Finding]) -> Finding:
    """Return a finding that leads, with how many of its bytes those before it may be about."""
    size = finding.bytes or 0
    before = sum(min(_shared(finding, each), each.bytes or 0, size) for each in leaders)
    told = min(before, size)
    if told < SMALLEST:
        return replace(finding, told_before=told)
    said = f"up to {size_text(told)} of it are told above"
    return replace(finding, told_before=told, evidence=(*finding.evidence, said))


def first_screen(findings: Sequence[Finding], whole: int, most: int = 3) -> tuple[Finding, ...]:
    """Return what matters most, `most` findings: those that lead, each with one of its reasons,
    first of all another remedy that is worth something, and with more where there is room; none
    about less than a hundredth of the whole.
    """
    large = [each for each in findings if not is_small(each, whole)]
    wanted: list[Finding] = []
    for leader in (each for each in large if each.reason_of is None):
        reasons = [each for each in large if each.reason_of == leader.code]
        reasons.sort(key=lambda each: each.worth is None)
        wanted += [leader, *reasons[:1]]
    shown = wanted[:most] + [each for each in large if each not in wanted]
    return tuple(sorted(shown[:most], key=large.index))
