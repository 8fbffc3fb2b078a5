"""Single values to JSON and back: numbers, text, members of enums, and tuples of these."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from ..errors import valid
from .schema import ENUMS, Form
from .strictly import a_list, checked, short


class Coder(NamedTuple):
    """What makes JSON of a value, and a value of JSON: that raises ValueError where it can't be."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


@cache
def scalar(kind: Form) -> Coder:
    """Return what codes values of a type that is no record, and has no length."""
    if kind.optional:
        inner = scalar(kind._replace(optional=False))
        return Coder(
            lambda value: None if value is None else inner.encode(value),
            lambda data: None if data is None else inner.decode(data),
        )
    if kind.name in ENUMS:
        return Coder(lambda value: value.name, lambda data: _named(ENUMS[kind.name], data))
    return _tuple(kind) if kind.name == "tuple" else _SCALARS[kind.name]


def _named(enum: Any, data: Any) -> Any:
    name = checked(str)(data)
    if name not in enum.__members__:
        raise ValueError(f"{short(name)} is no {enum.__name__}")
    return enum[name]


def _tuple(kind: Form) -> Coder:
    inner = [scalar(each) for each in kind.of]

    def decode(data: Any) -> tuple[Any, ...]:
        if len(a_list(data)) != len(inner):
            raise ValueError(f"{len(data)} values instead of {len(inner)}")
        return tuple(each.decode(value) for each, value in zip(inner, data))

    return Coder(lambda value: [c.encode(each) for c, each in zip(inner, value)], decode)


def _plain(value: Any) -> Any:
    """Return a value of a note for JSON."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


_SCALARS = {
    "int": Coder(int, checked(int)),
    "str": Coder(valid, checked(str)),
    "bool": Coder(bool, checked(bool)),
    "float": Coder(float, checked(float, int)),
    "Any": Coder(_plain, lambda data: data),
}
