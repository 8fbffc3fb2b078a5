"""What values of a file must be: else a ValueError says what they are, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .schema import slots_of


def checked(*classes: type) -> Callable[[Any], Any]:
    """Return what lets values of these classes pass."""

    def decode(data: Any) -> Any:
        if type(data) not in classes:
            wanted = " or ".join(each.__name__ for each in classes)
            raise ValueError(f"{short(data)} instead of {wanted}")
        return data

    return decode


def short(data: Any) -> str:
    """Return a value as an error quotes it."""
    return f"{data!r}"[:40]


def a_list(data: Any) -> list[Any]:
    """Return what is a list."""
    return checked(list)(data)  # type: ignore[no-any-return]


def members(data: Any, *names: str) -> list[Any]:
    """Return what an object has by these names, and it has no others."""
    if set(checked(dict)(data)) != set(names):
        raise ValueError(f"{short([*data])} instead of {', '.join(names)}")
    return [data[name] for name in names]


def fields_of(data: Any, name: str) -> dict[str, Any]:
    """Return what a record's fields are; none is missing, and all are of it."""
    every: dict[str, Any] = checked(dict)(data)
    slots = {slot.name: slot for slot in slots_of(name)}
    strange = next((key for key in every if key not in slots), None)
    if strange is not None:
        raise ValueError(f"{name} has no {short(strange)}")
    lost = next((n for n, slot in slots.items() if n not in every and not slot.default), None)
    if lost is not None:
        raise ValueError(f"{name} lacks {lost}")
    return every


def at(place: str, decode: Callable[..., Any], *data: Any) -> Any:
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
