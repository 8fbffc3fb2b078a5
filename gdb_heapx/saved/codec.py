"""Values to JSON and back, as their types say: strictly, and nothing else is made of a file.

Of a record's fields those are left out that are as their defaults. Keys of mappings are text. A
tuple of any length is as in `columns`, a single value as in `scalars`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

from .columns import column, words
from .scalars import Coder, scalar
from .schema import RECORDS, Form, slots_of
from .standins import NONE, STAND_INS
from .strictly import at, checked, fields_of


def encoded(record: str, value: Any) -> Any:
    """Return a record, of the class with this name, for JSON."""
    return _coder(Form(record)).encode(value)


def decoded(record: str, data: Any) -> Any:
    """Return the record that JSON has; ValueError, with the place, where it isn't one."""
    return _coder(Form(record)).decode(data)


@cache
def _coder(kind: Form) -> Coder:
    """Return what codes values of a type."""
    made = _record if kind.name in RECORDS else _CODERS.get(kind.name)
    if made is None:
        return scalar(kind)
    inner = made(kind)
    if not kind.optional:
        return inner
    return Coder(
        lambda value: None if value is None else inner.encode(value),
        lambda data: None if data is None else inner.decode(data),
    )


def _record(kind: Form) -> Coder:
    name = kind.name
    slots = [(slot, attrgetter(slot.name), _coder(slot.type)) for slot in slots_of(name)]
    made, stand_in = RECORDS[name], STAND_INS.get(name, NONE)

    def encode(value: Any) -> dict[str, Any]:
        filed = stand_in.filed(value)
        found = ((slot, get(filed), code) for slot, get, code in slots)
        return {
            p.name: code.encode(v) for p, v, code in found if not (p.default and v == p.default())
        }

    def decode(data: Any) -> Any:
        every = fields_of(data, name)
        given = {
            p.name: at(p.name, c.decode, every[p.name]) for p, _, c in slots if p.name in every
        }
        return stand_in.restored(made(**given))

    return Coder(encode, decode)


def _mapping(kind: Form) -> Coder:
    key, value = kind.of
    keys, values = scalar(key), _coder(value)

    def encode(found: Any) -> dict[str, Any]:
        return {str(keys.encode(k)): values.encode(v) for k, v in found.items()}

    def decode(data: Any) -> dict[Any, Any]:
        every = checked(dict)(data)
        made = int if key.name == "int" else keys.decode
        return {made(k): at(k, values.decode, v) for k, v in every.items()}

    return Coder(encode, decode)


def _rows(kind: Form) -> Coder:
    inner = column(kind.of[0])
    return Coder(inner.encode, lambda data: tuple(inner.decode(data)))


_CODERS: dict[str, Callable[[Form], Coder]] = {
    "array": lambda kind: words(),
    "mapping": _mapping,
    "rows": _rows,
}
