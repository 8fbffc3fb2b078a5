"""What a chunk can be recognised as: a key, the same for all that are alike, and its name."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Code(IntEnum):
    """What kind of thing a key is of; classify.c has the same numbers."""

    UNRECOGNISED = 0
    OBJECT = 1
    DEAD = 2
    ARRAY = 3
    CONTROL = 4
    DEAD_CONTROL = 5
    PYTHON = 6
    FRAME = 7
    FUNCTION = 8
    STRING = 9
    VECTOR = 10
    DEQUE_MAP = 11
    DEQUE_BLOCK = 12
    BUCKETS = 13
    HASH_NODE = 14
    TREE_NODE = 15
    LIST_NODE = 16
    TEXT = 17
    BEGINS_WITH_TEXT = 18
    ZEROS = 19
    POINTERS = 20
    SYMBOL = 21
    SIGNATURE = 22
    INSIDE = 23
    UNREAD = 24
    LIKELY_VECTOR = 25  # of a body only: no key has it
    STREAM = 26
    FUNCTOR = 27  # what std::function calls, by the function that does
    DICT_TABLE = 28


# What a chunk is whatever leads to it.
SURE = (
    *(Code.OBJECT, Code.DEAD, Code.ARRAY, Code.CONTROL, Code.DEAD_CONTROL, Code.PYTHON),
    *(Code.FRAME, Code.TREE_NODE, Code.LIST_NODE),
)


FUNCTORS = 64  # of a body: from here on the number of the function that calls it


def is_free(mark: int) -> bool:
    """Tell whether nothing is known of a body, or only that a std::function calls it."""
    return not mark or mark >= FUNCTORS


def gives_way(mark: int) -> bool:
    """Tell whether no more is known of a body than what three words say: more are proof."""
    return is_free(mark) or mark in (Code.VECTOR, Code.LIKELY_VECTOR)


class Meaning(IntEnum):
    """What a word means that leads into an ELF file's data, or to a type object; classify.c has the
    same numbers.
    """

    NOTHING = 0
    VTABLE = 1  # where the first word of an object leads
    SECOND = 2  # where the first word of its second base leads: no other object
    COUNTS_INT = 3  # of a control block, behind which an int counts the owners
    COUNTS_LONG = 4  # the same with a long, one less
    TYPE = 5  # a type object of CPython's
    TRACKED_TYPE = 6  # whose objects have a header of the collector's before them
    SYMBOL = 7  # a variable of the program or of a library


class Key(NamedTuple):
    """What chunks that are alike have in common: a vtable, a type object, an encoding; `offset` is
    where in the chunk's memory that is, in bytes.
    """

    code: Code
    value: int = 0
    offset: int = 0


class LedTo(NamedTuple):
    """What each chunk is for a container that leads to it, by rank: a Code, 0 for nothing, and from
    FUNCTORS on which of the `callers` calls it. Empty where nobody has looked for containers.
    """

    marks: Sequence[int] = ()
    callers: Sequence[int] = ()

    def key(self, rank: int) -> Key | None:
        """Return what the chunk of a rank is, None where nobody knows of a container."""
        mark = self.marks[rank] if self.marks else 0
        if mark >= FUNCTORS:
            return Key(Code.FUNCTOR, self.callers[mark - FUNCTORS])
        return Key(Code(mark)) if mark else None


class Recognised(NamedTuple):
    """A chunk's key, and how many objects of that class it has."""

    key: Key
    instances: int = 1


class Type(NamedTuple):
    """What a chunk is, how that is known (None: it isn't), and where in it the first object lies;
    None where it has none.
    """

    name: str
    how: str | None
    offset: int | None = None


UNRECOGNISED = Recognised(Key(Code.UNRECOGNISED), 0)
UNREAD = Recognised(Key(Code.UNREAD), 0)
