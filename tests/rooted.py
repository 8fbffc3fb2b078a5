"""What runs in gdb: the roots of its process or core, written to a file as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gdb_heapx.gdbside.session import _opened
from gdb_heapx.held.naming import where_is
from gdb_heapx.held.roots import find_roots
from gdb_heapx.snapshots.malloc import Scope


def write(path: str, shared: bool = False, addresses: Sequence[int] = ()) -> None:
    """Write the roots of the selected inferior, and what some addresses are called."""
    opened = _opened(Scope())
    roots, files = find_roots(opened, shared), [i.path for i in opened.target.objects]
    spans = [
        [r.kind.name, r.start, r.end, r.lwp, None if r.image is None else files[r.image], r.name]
        for r in roots.spans
    ]
    registers = [[r.lwp, r.name, r.words, r.kind.name] for r in roots.registers]
    missed = [[m.kind.name, m.why, m.bytes, m.taken_whole] for m in roots.missed]
    places = {address: where_is(opened.target, roots, address) for address in addresses}
    names = {address: place[1:] for address, place in places.items() if place}
    said = {"spans": spans, "registers": registers, "missed": missed, "names": names}
    Path(path).write_text(json.dumps(said))
