"""Who owns what malloc doesn't: threads' stacks, runtimes, and what a core doesn't have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..glibc.layout import align_up
from ..locate.runtimes import claims
from ..target.amounts import amount_of
from ..target.headers import PF_W
from ..target.mappings import Mapping, merged, outside
from ..target.target import Target
from .malloc import Malloc
from .opened import Opened
from .regions import VARIABLES, Owner, Span, owner_of

SMALLEST = 1 << 20  # bytes of memory with no owner; for less no file is searched for allocators
FIFTIETH = 50


class Rest(NamedTuple):
    """The spans that no malloc owns, and the runtimes that map memory of their own."""

    spans: tuple[Span, ...]
    runtimes: tuple[str, ...]


def rest_of(opened: Opened, mallocs: Iterable[Malloc], own: Sequence[Span]) -> Rest:
    """Return who owns the memory around malloc's own spans, where it is sure."""
    target = opened.target
    spans = [Span(stack.start, stack.end, Owner.STACKS) for stack in opened.stacks]
    uncertain = [s for m in mallocs if not m.mmapped_certain for s in m.mmapped.spans]
    taken = [*((span.start, span.end) for span in (*own, *spans)), *uncertain]
    spans += _variables(target, taken)
    taken += ((span.start, span.end) for span in spans)
    claimed = claims(target, opened.runtimes, list(_free(target, taken))) if opened.runtimes else []
    spans += (Span(c.start, c.end, Owner.RUNTIME, name=c.memory) for c in claimed)
    taken += ((claim.start, claim.end) for claim in claimed)
    loaded = opened.loaded if _is_much(target, taken) else ()
    if not target.facts.live:
        spans = list(_without_zeros(opened, spans, own))
    names = (present.runtime.name for present in opened.runtimes)
    return Rest(tuple(spans), (*names, *loaded))


def _free(target: Target, taken: Iterable[tuple[int, int]]) -> Iterator[Mapping]:
    """Yield the private memory without a file that nobody has taken."""
    return outside(target.space.mappings.where(_is_nobodys), taken)


def _is_nobodys(mapping: Mapping) -> bool:
    return owner_of(mapping) is Owner.ANONYMOUS and not mapping.name.startswith("[heap")


def _variables(target: Target, taken: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """Yield the zero-initialised variables of programs and libraries: behind their last mapping."""
    images = [(image, image.mappings[-1].end) for image in target.objects if image.mappings]
    ends = {behind for _, behind in images}
    following = (target.space.mapping_at(behind) for behind in sorted(ends))
    nobodys = (mapping for mapping in following if mapping and _is_nobodys(mapping))
    starts = {part.start: part for part in outside(nobodys, taken)}
    for image, behind in images:
        if behind in starts:
            over = [end for start, end in image.spans(PF_W) if start <= behind < end]
            end = align_up(max(over, default=behind), target.space.page)
            if behind < end:
                end = min(end, starts[behind].end)
                yield Span(behind, end, Owner.ANONYMOUS, name=VARIABLES)


def _is_much(target: Target, taken: Sequence[tuple[int, int]]) -> bool:
    """Tell whether memory with no sign of its owner is worth a search for one."""
    residency, much = target.space.residency, max(SMALLEST, (target.facts.rss or 0) // FIFTIETH)
    said = target.space.mappings.sum(_resident_of_nobody)
    if said - sum(end - start for start, end in merged(taken)) >= much:
        return True  # though all that is taken be of it
    left = _free(target, taken)
    amounts = (amount_of(residency, part.start, part.end).in_ram for part in left)
    return any(total >= much for total in accumulate(amounts))


def _resident_of_nobody(kind: Mapping) -> int:
    return kind.usage.resident if kind.usage and _is_nobodys(kind) else 0


def _without_zeros(opened: Opened, spans: Iterable[Span], own: Sequence[Span]) -> Iterator[Span]:
    """Yield the spans of a core without what is zeros in it, and that as spans of its own."""
    empty = opened.zeros(tuple((span.start, span.end) for span in own))
    for span in spans:
        whole = Mapping(span.start, span.end, "rw-p", 0, "")
        for part in outside([whole], empty):
            yield span._replace(start=part.start, end=part.end)
    yield from (Span(start, end, Owner.ABSENT) for start, end in merged(empty))
