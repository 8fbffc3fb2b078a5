"""A snapshot in a file: what is written, and what is read of it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..errors import HeapxError
from ..records import dataclass
from ..report.files import write_whole
from ..report.model import Note
from ..report.schema import Table
from .codec import decoded, encoded
from .filed import Filed, ceilings_of, filed, restored
from .foreign import FIRST, FORMAT, check_beginning, is_damaged, is_no_json, is_other, read_file
from .packing import MOST, packed, unpacked
from .sound import check_sound, wrong_notes
from .summary import findings_of, process_of, summary_of
from .tables import columns_for, rows_for, table_from
from .taken import Taken

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..reach.brief import Brief
    from ..snapshots.take import Snapshot

VERSION = 1


@dataclass(frozen=True)
class Saved:
    """A snapshot, and what needs more than a snapshot: tables of commands by their names, what is
    in use in brief, and what arenas can serve from what is free.

    `notes` are what these commands tell beside their tables, by the command.
    """

    taken: Taken
    snapshot: Snapshot
    tables: Mapping[str, Table] = field(default_factory=dict)
    notes: Mapping[str, tuple[Note, ...]] = field(default_factory=dict)
    brief: Brief | None = None
    ceilings: tuple[Ceiling, ...] = ()


def write_saved(path: str, saved: Saved) -> int:
    """Write a file, whole or not at all, packed as its name ends (.gz, .zst); return its bytes."""
    line = json.dumps(_document(saved), separators=(",", ":")) + "\n"  # so that files can be joined
    data = packed(path, line.encode())
    write_whole(path, [data])
    return len(data)


def _document(saved: Saved) -> dict[str, Any]:
    """Return the object that a file is: first what is asked most."""
    snapshot, tables = saved.snapshot, saved.tables
    whole = filed(snapshot, saved.brief, saved.ceilings)
    return {
        "format": FORMAT,
        "version": VERSION,
        "taken": encoded("Taken", saved.taken),
        "process": process_of(snapshot),
        "summary": summary_of(snapshot),
        "findings": findings_of(saved.snapshot, saved.brief, saved.ceilings),
        **{name: rows_for(table) for name, table in tables.items()},
        "columns": {name: columns_for(table) for name, table in tables.items()},
        "notes": {name: _notes(own) for name, own in saved.notes.items()},
        "snapshot": encoded("Filed", whole),
    }


def _notes(notes: tuple[Note, ...]) -> list[Any]:
    return [encoded("Note", each) for each in notes]


def read_saved(path: str) -> Saved:
    """Return what a file has; HeapxError where it isn't there, is damaged, isn't a snapshot, or is
    of a later heapx.
    """
    data = unpacked(path, read_file(path, MOST))
    check_beginning(path, data[:FIRST])
    try:
        document = json.loads(data, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise is_no_json(path, data) from None
    if document.get("format") != FORMAT:
        raise is_other(path)
    try:
        return _saved(path, document)
    except (ValueError, RecursionError) as error:
        raise is_damaged(path, str(error)) from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _saved(path: str, document: dict[str, Any]) -> Saved:
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version}")
    if version > VERSION:
        raise HeapxError(
            f"{path} has version {version} of the format, and this heapx reads up to {VERSION}",
            "Use the heapx that wrote it, or a later one.",
        )
    found: Filed = decoded("Filed", document.get("snapshot"))
    columns, notes = document.get("columns", {}), document.get("notes", {})
    if type(columns) is not dict or type(notes) is not dict:
        raise ValueError("columns or notes")
    saved = Saved(
        decoded("Taken", document.get("taken")),
        restored(found),
        {name: table_from(name, columns[name], document.get(name)) for name in columns},
        {name: _notes_from(own) for name, own in notes.items()},
        found.brief,
        ceilings_of(found),
    )
    check_sound(saved.snapshot)
    return saved


def _notes_from(notes: Any) -> tuple[Note, ...]:
    if type(notes) is not list:
        raise ValueError("notes")
    found = tuple(decoded("Note", each) for each in notes)
    wrong = next(wrong_notes(found), None)
    if wrong is not None:
        raise ValueError(wrong)
    return found
