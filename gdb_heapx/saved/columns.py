"""Many values of one type, as columns in JSON.

Records are {"rows": 2, "start": [4096, 8192], ...}, a record in each of them being columns, too. A
column of numbers may be the name of another one before it, which is the same. What has a length of
its own in each is joined: {"lengths": [1, 2], "joined": ...}, mappings {"lengths": [1, 2], "keys":
..., "values": ...}. Where some are missing, it is {"nulls": [0], "others": ...}. Numbers, text and
members of enums are as in `lists`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from operator import attrgetter
from typing import Any

from .lists import names_for, names_from, numbers_for, numbers_from, parted
from .scalars import Coder, scalar
from .schema import ENUMS, RECORDS, Form, Slot, slots_of
from .standins import NONE, STAND_INS
from .strictly import a_list, at, checked, fields_of, members, short

ROWS = "rows"
LENGTHS, JOINED, KEYS, VALUES = "lengths", "joined", "keys", "values"
NULLS, OTHERS = "nulls", "others"
NAMED = {"str", "bool", *ENUMS}  # what is there again and again
MOST = 1 << 22  # rows of records
WORD = 1 << 64


@cache
def column(kind: Form) -> Coder:
    """Return what codes any number of values of one type."""
    if kind.name in NAMED:
        single = scalar(kind)
        return Coder(
            lambda values: names_for([*map(single.encode, values)]),
            lambda data: names_from(data, single.decode),
        )
    if kind.optional:
        return _with_nulls(column(kind._replace(optional=False)))
    if kind.name in RECORDS:
        return _records(kind.name)
    return _COLUMNS.get(kind.name, _scalars)(kind)


def _scalars(kind: Form) -> Coder:
    single = scalar(kind)
    return Coder(
        lambda values: [*map(single.encode, values)],
        lambda data: [*map(single.decode, a_list(data))],
    )


def _with_nulls(inner: Coder) -> Coder:
    def encode(values: Sequence[Any]) -> Any:
        nulls = [number for number, each in enumerate(values) if each is None]
        if not nulls:
            return inner.encode(values)
        others = [each for each in values if each is not None]
        return {NULLS: numbers_for(nulls), OTHERS: inner.encode(others)}

    def decode(data: Any) -> Iterable[Any]:
        if type(data) is not dict or NULLS not in data:
            return inner.decode(data)  # type: ignore[no-any-return]
        numbers, joined = members(data, NULLS, OTHERS)
        nulls, others = set(numbers_from(numbers)), inner.decode(joined)
        every = range(len(nulls) + len(others))
        if not nulls.issubset(every):
            raise ValueError(f"{short(numbers)} aren't of {len(every)}")
        rest = iter(others)
        return [None if number in nulls else next(rest) for number in every]

    return Coder(encode, decode)


def _records(name: str) -> Coder:
    slots = [(slot, attrgetter(slot.name)) for slot in slots_of(name)]
    names = [slot.name for slot, _ in slots]
    made, stand_in = RECORDS[name], STAND_INS.get(name, NONE)

    def encode(values: Sequence[Any]) -> Any:
        filed, numbers = [*map(stand_in.filed, values)], dict[str, list[Any]]()
        columns: dict[str, Any] = {ROWS: len(values)}
        for slot, get in slots:
            found = [*map(get, filed)]
            if not slot.default or any(each != slot.default() for each in found):
                same = _alike(slot, found, numbers)
                columns[slot.name] = same or column(slot.type).encode(found)
        return columns

    def decode(data: Any) -> list[Any]:
        columns = dict(checked(dict)(data))
        many = checked(int)(columns.pop(ROWS, None))
        if not 0 <= many <= MOST:
            raise ValueError(f"{many} rows")
        fields_of(columns, name)
        numbers, found = dict[str, Sequence[Any]](), list[Sequence[Any]]()
        for slot, _ in slots:
            found.append(at(slot.name, _rows_of, slot, columns.get(slot.name), many, numbers))
            if slot.type.name == "int":
                numbers[slot.name] = found[-1]
        rows = zip(*found)
        return [stand_in.restored(made(**dict(zip(names, row)))) for row in rows]

    return Coder(encode, decode)


def _alike(slot: Slot, values: list[Any], numbers: dict[str, list[Any]]) -> str | None:
    """Return which column of numbers before it is the same, if its name is shorter; a column of
    numbers becomes one of them.
    """
    if slot.type.name != "int":
        return None
    same = next((name for name, other in numbers.items() if other == values), None)
    numbers[slot.name] = values
    return same if same and len(same) < len(values) else None


def _rows_of(slot: Slot, data: Any, many: int, numbers: dict[str, Sequence[Any]]) -> Sequence[Any]:
    """Return the values of a column; if there is none, as many defaults."""
    if data is None and slot.default:
        return [slot.default() for _ in range(many)]
    if type(data) is str and slot.type.name == "int":
        return _same(slot, data, numbers)
    values: Sequence[Any] = column(slot.type).decode(data)
    if len(values) != many:
        raise ValueError(f"{len(values)} values, and there are {many} rows")
    return values


def _same(slot: Slot, name: str, numbers: dict[str, Sequence[Any]]) -> Sequence[Any]:
    """Return the column of numbers with a name; ValueError where it can't be this one, too."""
    values = numbers.get(name)
    if values is None or (None in values and not slot.type.optional):
        raise ValueError(f"{short(name)} is no such column before it")
    return values


def _lists(inner: Coder, made: Callable[[Any], Any]) -> Coder:
    """Return what codes lists: how long each is, and all of them as one."""

    def encode(values: Sequence[Any]) -> Any:
        lengths = numbers_for([*map(len, values)])
        return {LENGTHS: lengths, JOINED: inner.encode([*chain.from_iterable(values)])}

    def decode(data: Any) -> list[Any]:
        lengths, joined = members(data, LENGTHS, JOINED)
        return [*map(made, parted(lengths, inner.decode(joined)))]

    return Coder(encode, decode)


def words() -> Coder:
    """Return what codes an array of words."""

    def decode(data: Any) -> array[int]:
        numbers = numbers_from(data)
        if min(numbers, default=0) < 0 or max(numbers, default=0) >= WORD:
            raise ValueError("a list of words has something else")
        return array("Q", numbers)

    return Coder(numbers_for, decode)


def _mappings(kind: Form) -> Coder:
    """Return what codes mappings: how many keys each has, and all keys and values."""
    keys, values = map(column, kind.of)

    def encode(found: Sequence[Mapping[Any, Any]]) -> Any:
        items = [each.items() for each in found]
        return {
            LENGTHS: numbers_for([*map(len, items)]),
            KEYS: keys.encode([key for each in items for key, _ in each]),
            VALUES: values.encode([value for each in items for _, value in each]),
        }

    def decode(data: Any) -> list[dict[Any, Any]]:
        lengths, known, held = members(data, LENGTHS, KEYS, VALUES)
        parts = zip(parted(lengths, keys.decode(known)), parted(lengths, values.decode(held)))
        return [dict(zip(*part)) for part in parts]

    return Coder(encode, decode)


_COLUMNS: dict[str, Callable[[Form], Coder]] = {
    "int": lambda kind: Coder(numbers_for, numbers_from),
    "array": lambda kind: _lists(words(), partial(array, "Q")),
    "rows": lambda kind: _lists(column(kind.of[0]), tuple),
    "mapping": _mappings,
}
