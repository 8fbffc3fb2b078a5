"""Lists of plain values in JSON, each in the shortest of its forms.

Numbers that follow one another are steps, {"steps": [4096, 16, 16]} for [4096, 4112, 4128]; of few
different values each is there once, {"distinct": ["a", "b"], "at": [0, 0, 1]}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import sub
from typing import Any

from .strictly import a_list, members, short

STEPS, DISTINCT, AT = "steps", "distinct", "at"


def numbers_for(values: Sequence[int]) -> Any:
    """Return numbers for JSON: as they are, or from each to the next where that is shorter."""
    steps = [*values[:1], *map(sub, values[1:], values)]
    return {STEPS: steps} if len(repr(steps)) < len(repr(values)) else [*values]


def numbers_from(data: Any) -> list[int]:
    """Return the numbers that JSON has; ValueError where it has something else."""
    stepped = type(data) is dict
    values = a_list(members(data, STEPS)[0] if stepped else data)
    wrong = next((each for each in values if type(each) is not int), None)
    if wrong is not None or None in values:
        raise ValueError(f"{short(wrong)} instead of int")
    return [*accumulate(values)] if stepped else values


def names_for(values: Sequence[Any]) -> Any:
    """Return values for JSON: as they are, or each once where most are there again."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    if 2 * len(numbers) > len(values):
        return [*values]
    return {DISTINCT: [*numbers], AT: numbers_for([numbers[value] for value in values])}


def names_from(data: Any, decode: Callable[[Any], Any]) -> list[Any]:
    """Return the values that JSON has, each decoded once; ValueError where it has others."""
    if type(data) is not dict:
        return [decode(each) for each in a_list(data)]
    distinct, numbers = members(data, DISTINCT, AT)
    found = [decode(each) for each in a_list(distinct)]
    where = numbers_from(numbers)
    if not all(0 <= number < len(found) for number in where):
        raise ValueError(f"a value that is none of {len(found)}")
    return [found[number] for number in where]


def parted(lengths: Any, values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Return one part of the values after the other, each of its length; ValueError unless that is
    all of them.
    """
    every = numbers_from(lengths)
    if min(every, default=0) < 0 or sum(every) != len(values):
        raise ValueError(f"{len(values)} values, and their lengths are others")
    ends = [*accumulate(every)]
    return (values[end - length : end] for length, end in zip(every, ends))
