"""heapx report: a page of what the other commands say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cli.arg import Arg
from ..cli.command import Command, Needs, find, parse
from ..cli.everything import command_about_all
from ..errors import HeapxError, escape
from ..report.model import Notes, Report
from ..report.notes import note
from ..report.schema import Table
from . import load_for
from ._quoting import unquoted
from ._soon import pins_within

if TYPE_CHECKING:
    from ..cli.session import Session
    from ..fit.ceilings import Ceiling
    from ..held.held import Held
    from ..reach.brief import Brief
    from ..report.page import Chapter
    from ..saved.saved import Saved
    from ..saved.taken import Taken
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

ROWS = 250  # of a table
LOOK = 2  # seconds that the page may take to know what is in use, and to find pins
PINS, TYPES, CHECKS = "heapx pins", "heapx types", "heapx check --all"
# The chapters, in their order: of what, and the command line that answers it.
CHAPTERS = (
    ("Where the memory is", "heapx"),
    ("Why it stays", "heapx why"),
    ("The heaps, drawn", "heapx map"),
    ("Sizes of chunks", "heapx sizes --group"),
    ("Each size", "heapx sizes --each"),
    ("In use, by type", TYPES),
    ("What keeps free memory", PINS),
    ("Arenas", "heapx arenas"),
    ("Heaps", "heapx heaps"),
    ("Bins", "heapx bins"),
    ("Threads", "heapx threads"),
    ("Parameters", "heapx params"),
    ("Outside malloc", "heapx ledger --outside"),
    ("Checks and problems", CHECKS),
)
OMITTED = ("cells",)  # tables that a picture shows


class _Asked(NamedTuple):
    """What was asked while the target stood still: about the pins, and the chunks in use; None with
    the reason where they aren't known.
    """

    pins: Report
    held: Held | None
    unheld: str = ""


class _Known(NamedTuple):
    """What a page tells besides a snapshot: when that was taken, and what some commands answer."""

    taken: Taken
    brief: Brief | None
    ceilings: tuple[Ceiling, ...]
    answers: Mapping[str, Report]


def _ask(snapshot: Snapshot, session: Session, scope: Scope, types: bool, pins: bool) -> _Asked:
    """Return what needs the target: single chunks, and those in use, if that is quick or wanted."""
    from ..held.costs import time_to_look

    load_for(PINS.split()[1:])
    found = pins_within(snapshot, session, scope, None if pins else LOOK)
    pinned = (
        _left_out(f"{found}: heapx report --pins, or heapx pins")
        if isinstance(found, str)
        else found
    )
    seconds = time_to_look(snapshot, snapshot.walker.name != "Python")
    if seconds > LOOK and not types:
        why = f"it takes about {seconds:.0f} seconds: heapx report --types, or heapx types"
        return _Asked(pinned, None, why)
    try:
        return _Asked(pinned, session.hold(scope, shared=False, passes=False))
    except HeapxError as error:
        return _Asked(pinned, None, error.statement)


def _page_of_file(snapshot: Snapshot, saved: Saved) -> Report:
    """Return the page of a saved snapshot."""
    answers = {}
    for line in (PINS, TYPES):
        declared, _ = _understood(line)
        assert declared.filed is not None
        try:
            answers[line] = declared.filed(snapshot, saved)
        except HeapxError as error:
            answers[line] = _left_out(error.statement)
    return _page(snapshot, _Known(saved.taken, saved.brief, saved.ceilings, answers))


@command_about_all(
    "heapx report",
    Arg("--types", "say what is in use by type, though that takes long"),
    Arg("--pins", "list the pins, though that takes long"),
    limit=ROWS,
    tables=(),
    asks=_ask,
    filed=_page_of_file,
)
def report(
    snapshot: Snapshot,
    asked: _Asked,
    ceilings: tuple[Ceiling, ...],
    stood_still: float | None,
    types: bool,
    pins: bool,
) -> Report:
    """Write a page of all that heapx says: one HTML file.

    It needs --output FILE.html, and to be read a browser: no network, no other file. On it are the
    diagnosis, what RSS consists of, the heaps, drawn, the sizes, what is in use by type, pins,
    arenas, bins, threads, parameters, what isn't malloc's, checks and problems. Its tables can be
    sorted and searched, and each chapter names the command that says the same. Of a table it has
    the first 250 rows, or --limit. It quotes nothing that the process has in memory.

    What is in use by type is left out where that would take more than 2 seconds, unless --types is
    given, and so are the pins, unless --pins is. It needs the library Jinja2.

    Examples:

        heapx report --output report.html          a page of the process
        heapx report --types --output report.html  with all types, however long
    """
    from ..held.costs import is_telling  # what few commands need is imported by these
    from ..reach.brief import in_brief
    from ..saved.taken import taken_of

    answer, brief = _left_out(asked.unheld), None
    if asked.held is not None:
        with suppress(HeapxError):
            brief = in_brief(asked.held) if is_telling(snapshot) else None
        try:
            answer = _answered(TYPES, snapshot, held=asked.held)
        except HeapxError as error:
            answer = _left_out(error.statement)
    answers = {PINS: asked.pins, TYPES: answer}
    taken = taken_of(snapshot, stood_still)
    return _page(snapshot, _Known(taken, brief, ceilings, answers))


def _page(snapshot: Snapshot, known: _Known) -> Report:
    from ..report.page import Page

    program = os.path.basename(snapshot.target.exe or "") or snapshot.target.name
    facts, chapters = tuple(_facts(snapshot, known.taken)), tuple(_chapters(snapshot, known))
    page = Page(escape(program), facts, chapters, snapshot.libcs)
    return Report((page,), snapshot.problems)


def _facts(snapshot: Snapshot, taken: Taken) -> Iterator[str]:
    """Yield what the page's header says of the target, and when it was looked at."""
    target = snapshot.target
    if target.exe:
        yield escape(target.exe)
    yield f"{target.name} on {escape(taken.host)}" if taken.host else target.name
    yield from sorted({f"glibc {malloc.release}" for malloc in snapshot.mallocs})
    yield taken.time.replace("T", " ").replace("Z", " UTC")
    if taken.stood_still is not None:
        yield f"stood still for {taken.stood_still:.1f} s"


def _chapters(snapshot: Snapshot, known: _Known) -> Iterator[Chapter]:
    """Yield the chapters that have an answer: without a glibc malloc, few have."""
    from ..report.page import Chapter

    elsewhere = snapshot.unused and bool(snapshot.allocators)
    for title, line in CHAPTERS:
        if elsewhere and not _understood(line)[0].whole:
            continue
        answer = known.answers.get(line)
        if answer is None:
            answer = _answered(line, snapshot, brief=known.brief, ceilings=known.ceilings)
        problems = snapshot.problems if line == CHECKS else ()
        yield Chapter(title, line, replace(_to_hand_on(answer), problems=problems))


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
    needed = {Needs.BOTH: ["catalogue"], Needs.HELD: ["held"], Needs.LIVE: ["brief"]}
    names = needed.get(declared.needs, []) + (["ceilings"] if declared.ceilings else [])
    return declared.run(snapshot, **own, **{name: known[name] for name in names})


def _left_out(why: str) -> Report:
    return Report((Notes((note("left_out", why=why),)),))


def _to_hand_on(report: Report) -> Report:
    """Return a report as a page has it: without what memory holds, and without single cells."""
    blocks = (unquoted(b) if isinstance(b, Table) else b for b in report.blocks)
    kept = (b for b in blocks if not (isinstance(b, Table) and b.name in OMITTED))
    return replace(report, blocks=tuple(kept))
