"""Which release of glibc a file is, and what its structs are like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from ..errors import LAYOUT_DIFFERS, MemoryFault, Problem
from ..glibc import releases
from ..glibc.layout import Layout, Release, Struct
from ..records import dataclass
from ..target.facts import Facts
from ..target.images import Image
from ..target.space import Space

BANNER = rb"GNU C Library [^\n]*version (\d{1,3}\.\d{1,3})"  # csu/version.c


@dataclass(frozen=True)
class Given:
    """What the user says of glibc malloc, where it can't be found; None where nothing."""

    main_arena: int | None = None
    mp: int | None = None
    release: Release | None = None


NOTHING_GIVEN = Given()


class Found(NamedTuple):
    """One thing that was located: what, its value as text, and how it was found."""

    what: str
    value: str
    how: str


def find_release(
    space: Space, image: Image, given: Given = NOTHING_GIVEN
) -> tuple[Release, Found] | None:
    """Return a libc's release and how it is known, None if nothing tells."""
    if given.release is not None:
        return given.release, Found("release", "{}.{}".format(*given.release), "set by hand")
    version = image.address("__libc_version")
    named = re.search(r"libc-(\d{1,3}\.\d{1,3})\.so", image.path)
    for text, how in (
        (_string(space, version), "__libc_version"),
        (image.text(BANNER), f"the banner in {image.how}"),
        (named and named[1], "the file's name"),
    ):
        match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})", text or "")
        if text and match:
            return (int(match[1]), int(match[2])), Found("release", text, how)
    return None


def _string(space: Space, address: int | None) -> str | None:
    with suppress(MemoryFault):
        return None if address is None else space.read_string(address, 32)
    return None


def possible_releases(facts: Facts) -> Iterator[tuple[Release, Found]]:
    """Yield the newest release of every layout that heapx knows."""
    spans: list[tuple[Release, Release]] = []  # oldest and newest of one layout
    for release in releases.releases():
        if spans and releases.same_layout(facts.word, facts.machine, release, spans[-1][1]):
            spans[-1] = spans[-1][0], release
        else:
            spans.append((release, release))
    for oldest, newest in reversed(spans):
        text = "{}.{}".format(*oldest)
        if oldest != newest:
            text += " to {}.{}".format(*newest)
        yield newest, Found("release", text, "structure: the newest whose chunks add up")


def layout_of(
    facts: Facts, image: Image, release: Release, debugs: bool
) -> tuple[Layout, str, list[Problem]]:
    """Return the layout from debug info, compared with the annotated structs of this release."""
    ours = releases.annotated_layout(facts.word, facts.machine, release)
    ours = releases.without_tcache(ours) if debugs else ours
    state, par = image.struct("malloc_state"), image.struct("malloc_par")
    heap_info = image.struct("_heap_info")
    if state is None or par is None or heap_info is None:
        return ours, "glibc's source", []
    tcache = image.struct("tcache_perthread_struct")
    theirs = replace(ours, state=state, par=par, heap_info=heap_info, tcache=tcache)
    pairs = [(ours.state, state), (ours.par, par), (ours.heap_info, heap_info)]
    if ours.tcache and tcache:
        pairs.append((ours.tcache, tcache))
    problems = [problem for pair in pairs for problem in _differences(*pair, release)]
    return theirs, "debug info, compared with glibc's source", problems


def _differences(ours: Struct, theirs: Struct, release: Release) -> list[Problem]:
    """Say where debug info and the annotated struct disagree; debug info wins."""
    differ = [n for n, m in ours.members.items() if n not in theirs or theirs[n] != m]
    differ += [n for n in theirs.members if n not in ours and n != "pad"]
    if not differ and ours.size == theirs.size:
        return []
    statement = (
        f"struct {ours.name} differs from glibc {release[0]}.{release[1]}'s source "
        f"({', '.join(differ) or 'size'}): debug info is used"
    )
    return [Problem(LAYOUT_DIFFERS, statement)]
