"""heapx report: a page of what the other commands say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cli.arg import Arg
from ..cli.command import Command, Needs, Session, command, find, parse
from ..errors import HeapxError, escape
from ..heap.states import Search
from ..held.costs import is_telling, time_to_look
from ..report.model import Notes, Report, Table
from ..report.notes import note
from ..report.page import Chapter, Page
from . import load_for
from ._quoting import unquoted

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..held.held import Held
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

ROWS = 250  # of a table
LOOK = 2  # seconds that the page may take to know what is in use
# The chapters, in their order: of what, and the command line that answers it.
CHAPTERS = (
    ("Where the memory is", "heapx"),
    ("Why it stays", "heapx why"),
    ("The heaps, drawn", "heapx map"),
    ("Sizes of chunks", "heapx sizes --group"),
    ("Each size", "heapx sizes --each"),
    ("In use, by type", "heapx types"),
    ("What keeps free memory", "heapx pins"),
    ("Arenas", "heapx arenas"),
    ("Heaps", "heapx heaps"),
    ("Bins", "heapx bins"),
    ("Threads", "heapx threads"),
    ("Parameters", "heapx params"),
    ("Outside malloc", "heapx ledger --outside"),
    ("Checks and problems", "heapx check --all"),
)
LISTS_PROBLEMS = "heapx check --all"  # the chapter with those of all
OMITTED = ("cells",)  # tables that a picture shows


class _Asked(NamedTuple):
    """What was asked while the target stood still: about the pins, and the chunks in use, with
    why these are not known.
    """

    pins: Report
    held: Held | None
    unheld: str
    time: str


def _ask(snapshot: Snapshot, session: Session, scope: Scope, types: bool) -> _Asked:
    """Return what needs the target: single chunks, and those in use, if that is quick or wanted."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    try:
        pins = _answered("heapx pins", snapshot, catalogue=session.catalogue(scope))
    except HeapxError as error:
        pins = _left_out(error.statement)
    seconds = time_to_look(snapshot, snapshot.walker.name != "Python")
    if seconds > LOOK and not types:
        why = f"it takes about {seconds:.0f} seconds: heapx report --types, or heapx types"
        return _Asked(pins, None, why, now)
    try:
        return _Asked(pins, session.hold(scope, shared=False, passes=False), "", now)
    except HeapxError as error:
        return _Asked(pins, None, error.statement, now)


@command(
    "heapx report",
    Arg("--types", "say what is in use by type, though that takes long"),
    needs=Needs.ASKED,
    whole=True,
    limit=ROWS,
    tables=(),
    search=Search.HEADERS,
    stale=True,
    apart=True,
    census=True,
    outcomes=True,
    strips=True,
    ceilings=True,
    asks=_ask,
)
def report(
    snapshot: Snapshot,
    asked: _Asked,
    ceilings: tuple[Ceiling, ...],
    stood_still: float | None,
    types: bool,
) -> Report:
    """Write a page of all that heapx says: one HTML file.

    It needs --output FILE.html, and to be read a browser: no network, no other file. On it are the
    diagnosis, what RSS consists of, the sizes, what is in use by type, pins, arenas, heaps, bins,
    threads, parameters, what isn't malloc's, checks and problems. Its tables can be sorted and
    searched, and each chapter names the command that says the same. Of a table it has the first 250
    rows, or --limit. What the process has in memory is not quoted.

    What is in use by type is left out where that would take more than 2 seconds, unless --types is
    given. It needs the library Jinja2.

    Examples:

        heapx report --output report.html             a page of the process
        heapx report --types --output report.html     all types, however long
    """
    program = os.path.basename(snapshot.target.exe or "") or snapshot.target.name
    chapters = tuple(_chapters(snapshot, asked, ceilings))
    facts = tuple(_facts(snapshot, asked, stood_still))
    page = Page(escape(program), facts, chapters, snapshot.libcs)
    return Report((page,), snapshot.problems)


def _facts(snapshot: Snapshot, asked: _Asked, stood_still: float | None) -> Iterator[str]:
    """Yield what the page's header says of the target, and when it was looked at."""
    target = snapshot.target
    if target.exe:
        yield escape(target.exe)
    yield target.name
    yield from sorted({f"glibc {malloc.release}" for malloc in snapshot.mallocs})
    yield asked.time
    if stood_still is not None:
        yield f"stood still for {stood_still:.1f} s"


def _chapters(
    snapshot: Snapshot, asked: _Asked, ceilings: tuple[Ceiling, ...]
) -> Iterator[Chapter]:
    """Yield the chapters that have an answer: without a glibc malloc, few have."""
    elsewhere = snapshot.unused and bool(snapshot.allocators)
    brief = asked.held if is_telling(snapshot) else None
    for title, line in CHAPTERS:
        declared, _ = _understood(line)
        if elsewhere and not declared.whole:
            continue
        if declared.needs is Needs.BOTH:
            answer = asked.pins
        elif declared.needs is Needs.HELD and asked.held is None:
            answer = _left_out(asked.unheld)
        else:
            held = brief if declared.needs is Needs.LIVE else asked.held
            answer = _answered(line, snapshot, held=held, ceilings=ceilings)
        problems = snapshot.problems if line == LISTS_PROBLEMS else ()
        yield Chapter(title, line, replace(_handed_on(answer), problems=problems))


def _understood(line: str) -> tuple[Command, Mapping[str, Any]]:
    """Return the command that a line names, and its own arguments."""
    words = line.split()[1:]
    load_for(words)
    declared, rest = find(words)
    options = parse(declared, rest)
    return declared, {arg.key: options[arg.key] for arg in declared.own_args}


def _answered(line: str, snapshot: Snapshot, **known: Any) -> Report:
    """Return what a command line answers, given what it needs of what is known."""
    declared, own = _understood(line)
    needed = {Needs.BOTH: ["catalogue"], Needs.HELD: ["held"], Needs.LIVE: ["held"]}
    names = needed.get(declared.needs, []) + (["ceilings"] if declared.ceilings else [])
    return declared.run(snapshot, **own, **{name: known[name] for name in names})


def _left_out(why: str) -> Report:
    return Report((Notes((note("left_out", why=why),)),))


def _handed_on(report: Report) -> Report:
    """Return a report as a page has it: without what memory holds, and without single cells."""
    blocks = (unquoted(b) if isinstance(b, Table) else b for b in report.blocks)
    kept = (b for b in blocks if not (isinstance(b, Table) and b.name in OMITTED))
    return replace(report, blocks=tuple(kept))
