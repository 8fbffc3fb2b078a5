"""What a chunk is, or a byte of a heap: the one vocabulary of bins, chunks, figures and ledger."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """The state of a chunk, or of a byte of a heap; a byte holds it.

    BINNED chunks are free by their tags; in which kind of regular bin they are, UNSORTED, SMALL or
    LARGE, only the lists tell. OVERHEAD is malloc's own: headers, fenceposts, the tcaches.
    """

    IN_USE = 0
    TCACHE = 1
    FAST = 2
    BINNED = 3
    TOP = 4
    OVERHEAD = 5
    UNSORTED = 6
    SMALL = 7
    LARGE = 8


NAMES: dict[int, str] = {
    State.IN_USE: "in use",
    State.TCACHE: "tcache",
    State.FAST: "fast",
    State.BINNED: "binned",
    State.TOP: "top",
    State.OVERHEAD: "overhead",
    State.UNSORTED: "unsorted",
    State.SMALL: "small",
    State.LARGE: "large",
}
# Of the bytes of an arena's heaps: what they add up to.
STATES = (State.IN_USE, State.TCACHE, State.FAST, State.BINNED, State.TOP, State.OVERHEAD)
UNWALKED = len(STATES)  # what fills memory where no walk came to
REGULAR = (State.UNSORTED, State.SMALL, State.LARGE)  # in the order in which malloc looks at them
ALL_REGULAR = (State.BINNED, *REGULAR)  # what a bin of free chunks may be called
HELD_FREE = (State.TCACHE, State.FAST, State.BINNED, State.TOP)  # what malloc can give out again


class Search(IntEnum):
    """How far mmapped chunks are looked for: not at all, since glibc counts them; where their
    mappings are; and where in these each header is, which aligned chunks have somewhere inside.
    """

    NONE, MAPPINGS, HEADERS = range(3)
