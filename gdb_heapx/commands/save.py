"""heapx save: what is known of a process, in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import REGISTRY, Needs, command
from ..errors import CutShortError, HeapxError
from ..heap.states import Search
from ..report.model import Note, Notes, Report
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema, Table
from ..saved.taken import taken_of
from . import load_command
from ._quoting import unquoted

if TYPE_CHECKING:
    from ..cli.command import Session
    from ..fit.ceilings import Ceiling
    from ..held.held import Held
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

for asked_too in ("pins", "types"):
    load_command(asked_too)  # now, and not while the process stands still
MOST = 200  # rows of a table that are kept
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
    """What is looked at while the process stands still: what pins, and the chunks in use."""

    pins: Report | None
    held: Held | None


def _look(
    snapshot: Snapshot, session: Session, scope: Scope, file: str, no_types: bool, no_pins: bool
) -> _Standing:
    """Return what a snapshot doesn't tell; of what can't be told nothing."""
    from ..held.costs import is_telling

    pins = held = None
    if not no_pins:
        with suppress(HeapxError):
            catalogue = session.catalogue(scope)
            pins = REGISTRY["heapx pins"].run(snapshot, catalogue=catalogue, arena=None, group=None)
    if is_telling(snapshot) or not no_types:
        with suppress(HeapxError):
            held = session.hold(scope, shared=False, passes=False)
    return _Standing(pins, held)


@command(
    "heapx save",
    Arg("FILE", "the file; .gz or .zst at its end says how it is packed", "file", required=True),
    Arg("--no-types", "leave out what is in use by type: the process stands still for less long"),
    Arg("--no-pins", "leave out the pins one by one: the same"),
    needs=Needs.ASKED,
    whole=True,
    tables=(SAVED,),
    search=Search.HEADERS,
    stale=True,
    apart=True,
    census=True,
    outcomes=True,
    strips=True,
    ceilings=True,
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
) -> Report:
    """Write what is known of the process to a file, to ask it later, and elsewhere.

    The file has all figures of arenas, heaps, bins, tcaches and mappings, what is in use by size
    and by type, what pins, malloc's settings, and its variables of the environment: names and
    addresses, but none of the program's data. It is JSON, and docs/saved.md says what is in it.

    From a shell heapx --snapshot FILE COMMAND answers from it, in gdb heapx load FILE: all commands
    but those about single chunks.

    Examples:

        heapx save now.json.gz                       packed by gzip
        heapx save now.json.gz --no-types --no-pins  the figures: quicker
    """
    from ..saved.saved import VERSION, write_saved  # what few commands need is imported by these

    known = _known(snapshot, asked, no_types)
    written = write_saved(
        file, replace(known, ceilings=ceilings, taken=taken_of(snapshot, stood_still))
    )
    stopped = None if stood_still is None else round(1000 * stood_still)
    row = _Written(file, written, VERSION, stopped)
    name = snapshot.target.name
    said = note("saved", target=name, file=file, bytes=written, milliseconds=stopped)
    return Report((Notes((said,), leads=True), SAVED.of([row])), snapshot.problems)


def _known(snapshot: Snapshot, asked: _Standing, no_types: bool) -> Saved:
    """Return the snapshot with what other commands tell that need more."""
    from ..held.costs import is_telling
    from ..reach.brief import in_brief
    from ..saved.saved import Saved

    tables: dict[str, Table] = {}
    notes: dict[str, tuple[Note, ...]] = {}
    reports = {"pins": asked.pins, "types": None if no_types else _types(snapshot, asked.held)}
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
