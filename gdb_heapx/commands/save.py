"""heapx save: what is known of a process, in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import REGISTRY
from ..cli.everything import command_about_all
from ..errors import CutShortError, HeapxError, UsageError
from ..report.model import Note, Notes, Report
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema, Table
from . import load_command
from ._quoting import unquoted
from ._soon import pins_within

if TYPE_CHECKING:
    from ..cli.session import Session
    from ..fit.ceilings import Ceiling
    from ..held.held import Held
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

for asked_too in ("pins", "types"):
    load_command(asked_too)  # now, and not while the process stands still
MOST = 200  # rows of a table that are kept
PINS_QUICK = 0.2  # seconds that looking for pins may take in any case
SAVED = Schema(
    "save",
    (
        Column("file", Kind.TEXT, DATA_ONLY),
        Column("bytes", Kind.BYTES, DATA_ONLY),
        Column("version", Kind.INDEX, DATA_ONLY),
        Column("milliseconds", Kind.COUNT, DATA_ONLY),
    ),
)


class _Written(NamedTuple):
    """What was written, by which version of the format; how long the process stood still."""

    file: str
    bytes: int
    version: int
    milliseconds: int | None


class _Standing(NamedTuple):
    """What is looked at while the process stands still: what pins, or why that isn't known, None
    if it isn't wanted; and the chunks in use.
    """

    pins: Report | str | None
    held: Held | None


def _look(
    snapshot: Snapshot,
    session: Session,
    scope: Scope,
    file: str,
    no_types: bool,
    no_pins: bool,
    pins: bool,
    brief: bool,
) -> _Standing:
    """Return what a snapshot doesn't tell; of what can't be told nothing."""
    from ..held.costs import is_telling, time_to_walk

    if brief:
        return _Standing(None, None)
    if pins and no_pins:
        raise UsageError("heapx save --pins --no-pins: one of them")
    found = held = None
    if not no_pins:
        walk = time_to_walk(snapshot, snapshot.walker.name != "Python")
        found = pins_within(snapshot, session, scope, None if pins else max(walk, PINS_QUICK))
    if is_telling(snapshot) or not no_types:
        with suppress(HeapxError):
            held = session.hold(scope, shared=False, passes=False)
    return _Standing(found, held)


@command_about_all(
    "heapx save",
    Arg("FILE", "the file; .gz or .zst at its end says how it is packed", "file", required=True),
    Arg("--no-types", "leave out what is in use by type: the process stands still for less long"),
    Arg("--no-pins", "leave out the pins one by one: the same"),
    Arg("--pins", "keep the pins one by one, however long looking for them takes"),
    Arg("--brief", "figures only, as heapx compare needs them: as short as heapx arenas"),
    tables=(SAVED,),
    asks=_look,
)
def save(
    snapshot: Snapshot,
    asked: _Standing,
    ceilings: tuple[Ceiling, ...],
    stood_still: float | None,
    file: str,
    no_types: bool,
    no_pins: bool,
    pins: bool,
    brief: bool,
) -> Report:
    """Write what is known of the process to a file, to ask it later, and elsewhere.

    The file has all figures of arenas, heaps, bins, tcaches and mappings, what is in use by size
    and by type, what pins, malloc's settings, and its variables of the environment: names and
    addresses, but none of the program's data. It is JSON, and docs/saved.md says what is in it.

    From a shell heapx --snapshot FILE COMMAND answers from it, in gdb heapx load FILE: all commands
    but those about single chunks.

    Pins one by one are left out where looking for them would take longer than reading the heap,
    unless --pins is given. With --brief there are neither these nor types, nor what the heaps
    look like: it is for heapx compare, which needs no more, and what heapx watch keeps.

    Examples:

        heapx save now.json.gz                       packed by gzip
        heapx save now.json.gz --brief               the figures: quicker
    """
    from ..saved.saved import VERSION, write_saved  # what few commands need is imported by these
    from ..saved.taken import taken_of

    known = _known(snapshot, asked, no_types or brief)
    written = write_saved(
        file, replace(known, ceilings=ceilings, taken=taken_of(snapshot, stood_still, brief))
    )
    stopped = None if stood_still is None else round(1000 * stood_still)
    row = _Written(file, written, VERSION, stopped)
    name = snapshot.target.name
    said = [note("saved", target=name, file=file, bytes=written, milliseconds=stopped)]
    if isinstance(asked.pins, str):
        said.append(note("pins_left_out", why=asked.pins))
    return Report((Notes(tuple(said), leads=True), SAVED.of([row])), snapshot.problems)


def _known(snapshot: Snapshot, asked: _Standing, no_types: bool) -> Saved:
    """Return the snapshot with what other commands tell that need more."""
    from ..held.costs import is_telling
    from ..reach.brief import in_brief
    from ..saved.saved import Saved
    from ..saved.taken import taken_of

    tables: dict[str, Table] = {}
    notes: dict[str, tuple[Note, ...]] = {}
    pins = None if isinstance(asked.pins, str) else asked.pins
    reports = {"pins": pins, "types": None if no_types else _types(snapshot, asked.held)}
    for name, report in reports.items():
        if report is not None:
            tables.update((table.name, unquoted(table, MOST)) for table in report.tables)
            notes[name] = (*_notes(report.blocks), *_left_out(report.tables))
    brief = None
    if asked.held is not None and is_telling(snapshot):
        with suppress(HeapxError):
            brief = in_brief(asked.held)
    return Saved(taken_of(snapshot, None), snapshot, tables, notes, brief)


def _types(snapshot: Snapshot, held: Held | None) -> Report | None:
    """Return what is in use by type, those that are too many to be kept as one row; None where that
    isn't known.
    """
    if held is None:
        return None
    types = partial(REGISTRY["heapx types"].run, snapshot, held=held, arena=None, by=None)
    with suppress(CutShortError):
        report = types(min_bytes=None)
        sizes = [*report.tables[0].values("bytes")]
        return report if len(sizes) <= MOST else types(min_bytes=int(sizes[MOST - 1] or 0) + 1)
    return None


def _notes(blocks: Iterable[object]) -> Iterator[Note]:
    for block in blocks:
        if isinstance(block, Notes):
            yield from block.notes


def _left_out(tables: Iterable[Table]) -> Iterator[Note]:
    """Tell how many rows are not kept."""
    for table in tables:
        number = sum(1 for _ in table.rows)
        if number > MOST:
            yield note("no_more_rows", number=number - MOST, table=table.name)
