"""What lies where the program break has grown, and is in no heap of glibc malloc's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..glibc.layout import align_up
from ..locate.libcs import DEBUG_MALLOC
from ..locate.loader import OF_GLIBC
from ..target.images import base_name
from ..target.mappings import Mapping, merged, outside
from ..target.target import Target
from .regions import Owner, Span


def beside_heaps(
    target: Target, program_break: int | None, heaps: Iterable[tuple[int, int]], owner: Owner
) -> Iterator[Span]:
    """Yield what the break has been moved over, and neither malloc nor the program's bss has.

    The kernel names it [heap]. A core has no such names: there it is what lies without a gap below
    the break. Parts of a page are what the alignment of its ends leaves.
    """
    page = target.space.page
    end = None if program_break is None else align_up(program_break, page)
    files = [span for image in target.objects for span in image.spans()]
    for part in outside(_grown(target, end), [*heaps, *files]):
        if part.size >= page:
            yield Span(part.start, part.end, owner)


def _grown(target: Target, end: int | None) -> list[Mapping]:
    """Return the mappings of which the break is the end."""
    mappings = target.space.mappings
    named = [*mappings.where(lambda kind: kind.name.startswith("[heap"))]
    if named or target.facts.live or end is None:
        return named
    likely = [*mappings.where(lambda kind: kind.anonymous)]
    runs = merged((m.start, m.end) for m in likely)
    around = [(start, stop) for start, stop in runs if start < end <= stop]
    below = (m for m in likely for start, _ in around if start <= m.start < end)
    return [m._replace(end=min(m.end, end)) for m in below]


def sbrk_callers(target: Target) -> tuple[str, ...]:
    """Return the files, but glibc's, that use sbrk or brk of libc's."""
    others = (
        image
        for image in target.objects
        if not OF_GLIBC.match(base_name(image.path))
        and not base_name(image.path).startswith(DEBUG_MALLOC)
    )
    return tuple(i.path for i in others if any(i.imports(name) for name in ("sbrk", "brk")))
