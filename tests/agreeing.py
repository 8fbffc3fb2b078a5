"""What runs in gdb: what each command says that chunks are, written to a file as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gdb

from gdb_heapx.gdbside.session import GdbSession
from gdb_heapx.gdbside.standing import forget
from gdb_heapx.inventory.looks import looks
from gdb_heapx.snapshots.malloc import Scope

MANY = "--limit 100000 --format json"
HEADER = 16


def rows(line: str, name: str | None = None) -> list[dict[str, Any]]:
    tables = json.loads(gdb.execute(f"heapx {line} {MANY}", to_string=True))["tables"]
    return next(each["rows"] for each in tables if name in (None, each["name"]))


def samples(types: list[dict[str, Any]]) -> Iterator[int]:
    for row in types:
        more = filter(None, row["samples"].split(", "))
        yield from (int(each, 16) for each in filter(None, (row["sample"], *more)))


def write(path: str) -> None:
    """Write which chunks are of which type, by `chunks --type`; and what others say of some."""
    types = rows("types")
    names = {row["type"] for row in types if row["chunks"]}
    of_type = {name: rows(f"chunks --type {shlex.quote(name)}") for name in names}
    some = [*samples(types)]
    said: dict[str, Any] = {
        "types": types,
        "chunks --type": {n: [int(r["address"], 16) for r in of] for n, of in of_type.items()},
        "refs": [row for at in some for row in _refs(at)],
        "leaks": rows("leaks", "leaks"),
        "holders": rows("holders"),
    }
    forget()  # chunk holds for itself
    said["chunk"] = {at: rows(f"chunk {at:#x}")[0] for at in some}
    forget()
    catalogue = GdbSession().catalogue(Scope())
    said["looks"] = {at: looks(catalogue, at - HEADER) for at in some}
    Path(path).write_text(json.dumps(said))


def _refs(at: int) -> list[dict[str, Any]]:
    return rows(f"refs {at:#x}") + rows(f"refs {at:#x} --from")
