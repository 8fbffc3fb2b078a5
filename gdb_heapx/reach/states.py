"""How a chunk in use is reached: a byte for each chunk, by its rank."""

from __future__ import annotations

from enum import IntEnum

DEGREE = 0x0F  # the bits that hold a Degree
INSIDE = 0x40  # a pointer leads to its inside, and none that was followed to its beginning
PENDING = 0x80  # it must still be looked through


class Degree(IntEnum):
    """How a chunk is reached.

    UNREACHED by anything: where all roots were followed, each such chunk is a HEAD or HANGS from
    one. Heads are found by way of STARTs, and of what is REACHED from these. EXPLAINED are such as
    pointers lead to that aren't words as they stand (explain.py).
    """

    UNREACHED = 0
    REACHABLE = 1
    INTERIOR = 2  # only by pointers to the inside of a chunk
    RED_ZONE = 3  # only from below a stack pointer, where a leaf function keeps variables
    HANGS = 5
    HEAD = 6
    START = 7
    REACHED = 8
    EXPLAINED = 9


DEGREES = 16  # that fit into DEGREE
# What is told of chunks: that they are reached, by degree, or that they aren't.
REACHED = (Degree.REACHABLE, Degree.INTERIOR, Degree.RED_ZONE)
LOST = (Degree.HEAD, Degree.HANGS)
TOLD = (*REACHED, *LOST)
