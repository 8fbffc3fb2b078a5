"""The types of what a saved snapshot is made of: its classes by name, their fields as declared."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from hashlib import sha256
from typing import Any, ForwardRef, NamedTuple

from ..errors import Problem
from ..glibc.architecture import Architecture
from ..glibc.layout import Layout, Member, Struct
from ..glibc.systrim import Ending
from ..heap.bins import ArenaBins, Bin
from ..heap.census import Census
from ..heap.folds import LinkSums
from ..heap.left import LeftThread
from ..heap.library import Walker
from ..heap.mmapped import MmappedChunks
from ..heap.pingroups import PageFigures, PageGroup
from ..heap.pins import Group, Pin, PinKind
from ..heap.states import State
from ..heap.tcache import Tcache
from ..heap.tcaches import ThreadCache
from ..heap.trim import Trim
from ..heap.whatif import Returned, WhatIf
from ..locate.release import Found
from ..locate.stacks import Stack
from ..reach.brief import Brief
from ..records import made
from ..report.model import Note
from ..snapshots.figures import ArenaFigures, Check, HeapFigures
from ..snapshots.malloc import Malloc, MallocThread
from ..snapshots.regions import Owner, Region, Span
from ..snapshots.take import Snapshot
from ..target.amounts import Amounts
from ..target.facts import Facts, Parent, Thread
from ..target.mappings import Mapping, Usage
from .censuses import FiledCensus
from .filed import Filed, FiledCeiling, FiledRegion
from .standins import STAND_INS
from .taken import Taken
from .tcaches import FiledTcache

RECORDS: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(Taken, Filed, FiledRegion, FiledTcache, FiledCensus, FiledCeiling, Snapshot, Brief),
        *(Facts, Thread, Parent, Mapping, Usage, Region, Span, Stack, LeftThread, Walker),
        *(Malloc, MallocThread, Found, Check, Problem, Note, Layout, Struct, Member),
        *(ArenaFigures, HeapFigures, Ending, Amounts, ArenaBins, Bin, LinkSums, Census),
        *(Trim, WhatIf, Returned, Pin, Group, PageFigures, PageGroup),
        *(ThreadCache, Tcache, MmappedChunks),
    )
}
RECORDS.update((name, each.record) for name, each in STAND_INS.items())
ENUMS: dict[str, Any] = {each.__name__: each for each in (State, Owner, PinKind, Architecture)}
ALIASES = {
    "Release": "tuple[int, int]",
    "ByteOrder": "str",
    "Mappings": "tuple[Mapping, ...]",
    "Regions": "tuple[Region, ...]",
}
SCALARS = ("int", "str", "bool", "float", "Any")


class Form(NamedTuple):
    """The type of a value: `name` is one of SCALARS, RECORDS or ENUMS, or "mapping", "array",
    "tuple", or "rows" for a tuple of any length; `of` are the types in it.
    """

    name: str
    of: tuple[Form, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        inner = f"[{', '.join(map(str, self.of))}]" if self.of else ""
        return f"{self.name}{inner}{' or null' if self.optional else ''}"


class Slot(NamedTuple):
    """A field of a record; `default` makes what it is where a file doesn't say, None where a file
    must.
    """

    name: str
    type: Form
    default: Callable[[], Any] | None


@cache
def parsed(declared: str) -> Form:
    """Return the type that an annotation means; ValueError if it means none that is saved."""
    return _form(ast.parse(declared, mode="eval").body)


def _form(node: ast.expr) -> Form:
    if isinstance(node, ast.BinOp):  # of these there is only `| None`
        return _form(node.left)._replace(optional=True)
    if isinstance(node, ast.Name):
        if node.id in ALIASES:
            return parsed(ALIASES[node.id])
        if node.id in (*SCALARS, *RECORDS, *ENUMS):
            return Form(node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _generic(node.value.id, inner)
    raise ValueError(f"{ast.unparse(node)} can't be saved")


def _generic(name: str, inner: list[ast.expr]) -> Form:
    if name == "array":
        return Form("array", (Form("int"),))
    if name in ("Mapping", "Dict", "dict"):
        return Form("mapping", tuple(map(_form, inner)))
    if name != "tuple":
        raise ValueError(f"{name} can't be saved")
    if ast.unparse(inner[-1]) == "...":
        return Form("rows", (_form(inner[0]),))
    return Form("tuple", tuple(map(_form, inner)))


@cache
def slots_of(record: str) -> tuple[Slot, ...]:
    """Return the fields of a record, by its name, in their order."""
    found = RECORDS[record]
    return tuple(_slots(found) if is_dataclass(made(found)) else _members(found))


def _slots(found: Any) -> Iterator[Slot]:
    for field in fields(found):
        assert isinstance(field.type, str)
        default: Callable[[], Any] | None = None
        if field.default is not MISSING:
            default = _constant(field.default)
        elif field.default_factory is not MISSING:
            default = field.default_factory
        yield Slot(field.name, parsed(field.type), default)


def _members(found: Any) -> Iterator[Slot]:
    """Yield the fields of a NamedTuple."""
    for name in found._fields:
        declared = found.__annotations__[name]
        text = declared.__forward_arg__ if isinstance(declared, ForwardRef) else declared
        known = name in found._field_defaults
        yield Slot(name, parsed(text), _constant(found._field_defaults[name]) if known else None)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def schema(record: str) -> dict[str, list[str]]:
    """Return a record and all that it leads to, each by name, with a line for each field."""
    found: dict[str, list[str]] = {}
    waiting = [record]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if name in ENUMS:
            found[name] = [each.name for each in ENUMS[name]]
            continue
        found[name] = []
        for slot in slots_of(name):
            default = f" = {slot.default()!r}" if slot.default else ""
            found[name].append(f"{slot.name}: {slot.type}{default}")
            waiting += _named(slot.type)
    return found


def _named(type_: Form) -> Iterator[str]:
    if type_.name in RECORDS or type_.name in ENUMS:
        yield type_.name
    for inner in type_.of:
        yield from _named(inner)


def fingerprint() -> str:
    """Return what changes with any field, type, default or name that files have."""
    found = {**schema("Taken"), **schema("Filed")}
    lines = (f"{name}.{line}" for name, own in found.items() for line in own)
    return sha256("\n".join(lines).encode()).hexdigest()[:16]
