"""The types of all chunks in use: those of one name as one row, with what they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import NamedTuple

from ..records import dataclass
from .counted import Alike, KeySum, Kinds
from .kinds import Code, Key
from .names import type_of
from .surroundings import Surroundings

# Keys whose value leads to a file: a class, a function, a variable.
OF_FILES = (
    *(Code.OBJECT, Code.DEAD, Code.ARRAY, Code.CONTROL, Code.DEAD_CONTROL, Code.INSIDE),
    *(Code.PYTHON, Code.FRAME, Code.FUNCTION, Code.FUNCTOR, Code.SYMBOL),
)
TEXTS = (Code.TEXT, Code.BEGINS_WITH_TEXT)
MODULE, NO_MODULE, SMALLER = "module", "no module", "smaller types"


class Titled(NamedTuple):
    """What is said of chunks: their type, how it is known, where in them the first object lies;
    their libc's number, and their size, None where it doesn't matter.
    """

    name: str
    how: str | None
    offset: int | None
    libc: int
    size: int | None


@dataclass
class Typed:
    """The chunks that the same is said of, by the numbers of their groups, and their sum. Without
    numbers these are objects that lie inside chunks of another class. `encoding` is that of their
    text, 0 where they aren't text.
    """

    titled: Titled
    encoding: int = 0
    numbers: list[int] = field(default_factory=list)
    sum: KeySum = field(default_factory=KeySum)


def types_in(kinds: Kinds, around: Surroundings) -> list[Typed]:
    """Return the types of all chunks, those with most bytes first."""
    return _together(kinds, lambda alike: _titled(alike, around))


def modules_in(kinds: Kinds, around: Surroundings) -> list[Typed]:
    """Return the files whose classes, functions or variables tell what chunks are."""
    return _together(kinds, lambda alike: _module(alike, around))


def _together(kinds: Kinds, say: Callable[[Alike], Titled]) -> list[Typed]:
    found: dict[Titled, Typed] = {}
    for number, (alike, each) in enumerate(zip(kinds.groups, kinds.sums)):
        titled = say(alike)
        encoding = alike.key.value if alike.key.code in TEXTS else 0
        typed = found.setdefault(titled, Typed(titled, encoding))
        typed.numbers.append(number)
        typed.sum = typed.sum.plus(each)
    for (libc, vtable), objects in kinds.inside.items():
        titled = say(Alike(Key(Code.INSIDE, vtable), libc))
        typed = found.setdefault(titled, Typed(titled))
        typed.sum = typed.sum.plus(KeySum(instances=objects))
    return sorted(found.values(), key=_first_most)


def without_smaller(types: Sequence[Typed], least: int) -> list[Typed]:
    """Return the types; those of fewer than `least` bytes as one of each libc, which comes last."""
    small: dict[int, Typed] = {}
    for each in types:
        if each.sum.bytes < least:
            titled = Titled(SMALLER, None, None, each.titled.libc, None)
            typed = small.setdefault(titled.libc, Typed(titled))
            typed.sum = typed.sum.plus(each.sum)
    return [*(each for each in types if each.sum.bytes >= least), *small.values()]


def _first_most(typed: Typed) -> tuple[int, int, str]:
    return -typed.sum.bytes, -typed.sum.instances, typed.titled.name


def _titled(alike: Alike, around: Surroundings) -> Titled:
    return Titled(*type_of(alike.key, around), alike.libc, alike.size or None)


def _module(alike: Alike, around: Surroundings) -> Titled:
    key = alike.key
    part = around.parts.at(key.value) if key.code in OF_FILES else None
    if part is None:
        return Titled(NO_MODULE, None, None, alike.libc, alike.size or None)
    name = part.image.path.rpartition("/")[2]
    return Titled(name, MODULE, None, alike.libc, alike.size or None)
