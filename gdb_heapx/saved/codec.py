"""Values to JSON and back, as their types say: strictly, and nothing else is made of a file.

Of a record's fields those are left out that are as their defaults. Many records of one kind, a
tuple of any length, are columns: {"rows": 2, "start": [4096, 8192], ...}; a record in each of them
is columns, too. Keys of mappings are text, enums are the names of their members.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from ..errors import valid
from .schema import ENUMS, RECORDS, Form, Slot, slots_of

ROWS = "rows"
MOST = 1 << 22  # rows of records
WORD = 1 << 64


class Coder(NamedTuple):
    """What makes JSON of a value, and a value of JSON: that raises ValueError where it can't be."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def encoded(record: str, value: Any) -> Any:
    """Return a record, of the class with this name, for JSON."""
    return coder(Form(record)).encode(value)


def decoded(record: str, data: Any) -> Any:
    """Return the record that JSON has; ValueError, with the place, where it isn't one."""
    return coder(Form(record)).decode(data)


@cache
def coder(kind: Form) -> Coder:
    """Return what codes values of a type."""
    if kind.optional:
        inner = coder(kind._replace(optional=False))
        return Coder(
            lambda value: None if value is None else inner.encode(value),
            lambda data: None if data is None else inner.decode(data),
        )
    if kind.name in RECORDS:
        return _record(kind.name)
    if kind.name in ENUMS:
        return Coder(lambda value: value.name, lambda data: _named(ENUMS[kind.name], data))
    return _MADE[kind.name](kind)


def _checked(*classes: type) -> Callable[[Any], Any]:
    def decode(data: Any) -> Any:
        if type(data) not in classes:
            wanted = " or ".join(each.__name__ for each in classes)
            raise ValueError(f"{_short(data)} instead of {wanted}")
        return data

    return decode


def _short(data: Any) -> str:
    return f"{data!r}"[:40]


def _plain(value: Any) -> Any:
    """Return a value of a note for JSON."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _named(enum: Any, data: Any) -> Any:
    name = _checked(str)(data)
    if name not in enum.__members__:
        raise ValueError(f"{_short(name)} is no {enum.__name__}")
    return enum[name]


def _list(data: Any) -> list[Any]:
    return _checked(list)(data)  # type: ignore[no-any-return]


def _array(kind: Form) -> Coder:
    def decode(data: Any) -> array[int]:
        if not all(type(each) is int and 0 <= each < WORD for each in _list(data)):
            raise ValueError("a list of words has something else")
        return array("Q", data)

    return Coder(list, decode)


def _tuple(kind: Form) -> Coder:
    inner = [coder(each) for each in kind.of]

    def decode(data: Any) -> tuple[Any, ...]:
        if len(_list(data)) != len(inner):
            raise ValueError(f"{len(data)} values instead of {len(inner)}")
        return tuple(each.decode(value) for each, value in zip(inner, data))

    return Coder(lambda value: [c.encode(each) for c, each in zip(inner, value)], decode)


def _mapping(kind: Form) -> Coder:
    key, value = kind.of
    keys, values = coder(key), coder(value)

    def encode(found: Any) -> dict[str, Any]:
        return {str(keys.encode(k)): values.encode(v) for k, v in found.items()}

    def decode(data: Any) -> dict[Any, Any]:
        every = _checked(dict)(data)
        made = int if key.name == "int" else keys.decode
        return {made(k): _at(k, values.decode, v) for k, v in every.items()}

    return Coder(encode, decode)


def _rows(kind: Form) -> Coder:
    inner = _column(kind.of[0])
    return Coder(inner.encode, lambda data: tuple(inner.decode(data)))


def _record(name: str) -> Coder:
    slots = [(slot, attrgetter(slot.name), coder(slot.type)) for slot in slots_of(name)]

    def encode(value: Any) -> dict[str, Any]:
        found = ((slot, get(value), code) for slot, get, code in slots)
        return {
            p.name: code.encode(v) for p, v, code in found if not (p.default and v == p.default())
        }

    def decode(data: Any) -> Any:
        every = _fields(data, name)
        given = {
            p.name: _at(p.name, c.decode, every[p.name]) for p, _, c in slots if p.name in every
        }
        return RECORDS[name](**given)

    return Coder(encode, decode)


def _column(kind: Form) -> Coder:
    """Return what codes values of one type as a list; of records, where none is None, as rows."""
    single = coder(kind)
    if kind.name not in RECORDS:
        return Coder(
            lambda values: [single.encode(each) for each in values],
            lambda data: [single.decode(each) for each in _list(data)],
        )
    slots = [(slot, attrgetter(slot.name)) for slot in slots_of(kind.name)]

    def encode(values: Sequence[Any]) -> Any:
        if any(each is None for each in values):
            return [single.encode(each) for each in values]
        columns: dict[str, Any] = {ROWS: len(values)}
        for slot, get in slots:
            found = [get(each) for each in values]
            if not slot.default or any(each != slot.default() for each in found):
                columns[slot.name] = _column(slot.type).encode(found)
        return columns

    def decode(data: Any) -> list[Any]:
        if type(data) is list:
            return [single.decode(each) for each in data]
        columns = dict(_checked(dict)(data))
        number = _checked(int)(columns.pop(ROWS, None))
        if not 0 <= number <= MOST:
            raise ValueError(f"{number} rows")
        _fields(columns, kind.name)
        found = [_at(p.name, _rows_of, p, columns.get(p.name), number) for p, _ in slots]
        names = [slot.name for slot, _ in slots]
        return [RECORDS[kind.name](**dict(zip(names, row))) for row in zip(*found)]

    return Coder(encode, decode)


def _rows_of(slot: Slot, column: Any, number: int) -> list[Any]:
    """Return the values of a column, or as many defaults."""
    if column is None and slot.default:
        return [slot.default() for _ in range(number)]
    values: list[Any] = _column(slot.type).decode(column)
    if len(values) != number:
        raise ValueError(f"{len(values)} values, and there are {number} rows")
    return values


def _fields(data: Any, name: str) -> dict[str, Any]:
    """Return what a record's fields are; ValueError where one is missing, or isn't one of its."""
    every: dict[str, Any] = _checked(dict)(data)
    slots = {slot.name: slot for slot in slots_of(name)}
    strange = next((key for key in every if key not in slots), None)
    if strange is not None:
        raise ValueError(f"{name} has no {_short(strange)}")
    lost = next((n for n, slot in slots.items() if n not in every and not slot.default), None)
    if lost is not None:
        raise ValueError(f"{name} lacks {lost}")
    return every


def _at(place: str, decode: Callable[..., Any], *data: Any) -> Any:
    """Return what is decoded; a ValueError tells the place."""
    try:
        return decode(*data)
    except ValueError as error:
        said, inner = str(error), ""
        if isinstance(error, _PlacedError):
            said, inner = error.args[0], error.place
        raise _PlacedError(said, f"{place}.{inner}" if inner else place) from None


class _PlacedError(ValueError):
    def __init__(self, said: str, place: str) -> None:
        super().__init__(said)
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.args[0]}"


_MADE: dict[str, Callable[[Form], Coder]] = {
    "int": lambda kind: Coder(int, _checked(int)),
    "str": lambda kind: Coder(valid, _checked(str)),
    "bool": lambda kind: Coder(bool, _checked(bool)),
    "float": lambda kind: Coder(float, _checked(float, int)),
    "Any": lambda kind: Coder(_plain, lambda data: data),
    "array": _array,
    "tuple": _tuple,
    "mapping": _mapping,
    "rows": _rows,
}
