"""What is wished for, and what was seen: plain values, which need no process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..records import dataclass
from .free import Free

DEEPEST = 64  # frames of a backtrace
MOST_KEPT = 10_000  # requests, if no other number is given
MAX_LOAD = 20  # percent


class Wishes(NamedTuple):
    """How long to watch, for how many requests at most, and how much of the time the process may
    stand still, in percent.
    """

    seconds: float
    stop_after: int
    max_load: int


class Tried(NamedTuple):
    """For how many seconds the process stands still while heapx looks at what is free: in the arena
    that is asked, at most, None where it isn't known what is asked for; and everywhere.
    """

    own: float | None
    everywhere: float


def announced(wishes: Wishes, pid: int, threads: int, tried: Tried, guarded: bool) -> str:
    """Return in lines what to say before it begins: what will be done, what it costs, and what can
    go wrong. `guarded`: somebody is there who takes the breakpoints out if gdb is killed.
    """
    ends = (
        "It ends where the process stands still for more than "
        f"{wishes.max_load} % of the time and of one second more."
    )
    lines = (
        f"heapx: will set breakpoints in malloc's code in process {pid} and let it run for "
        f"{wishes.seconds:g} s.",
        f"{_standing(threads)} {_looking(tried)}",
        *([ends] if wishes.max_load < 100 else []),
        *(GUARDED if guarded else UNGUARDED),
    )
    return "\n  ".join(lines)


def _standing(threads: int) -> str:
    if threads == 1:
        return "Each time malloc gets memory from the system it stands still."
    return (
        f"Each time malloc gets memory from the system all {threads:,} threads stand still: "
        "the more there are, the longer."
    )


def _looking(tried: Tried) -> str:
    everywhere = f"{tried.everywhere * 1000:.1f} ms"
    if tried.own is None:
        return f"At the first, heapx looks at what is free: that took {everywhere} just now."
    return (
        "Then heapx looks at what is free in the arena, which took up to "
        f"{tried.own * 1000:.1f} ms just now, and as far as --max-load leaves time everywhere, "
        f"which took {everywhere}."
    )


GUARDED = (
    "If gdb is killed, heapx takes the breakpoints out at once: only if a thread comes to one in "
    "that moment, about a millisecond and longer on a busy machine, the process ends by SIGTRAP.",
    "If heapx is killed with gdb, they stay, and it ends where it comes to one.",
)
UNGUARDED = (
    "If gdb is killed, the breakpoints stay, and the process ends by SIGTRAP where it comes to "
    "one. Run heapx from a shell: it takes them out then.",
)


# By what an arena grew, as heapx fit calls it; and by realloc of a chunk with its own mapping.
EXTEND, NEW_HEAP, NEW_ARENA, MMAP, MREMAP = "extend", "new_heap", "new_arena", "mmap", "mremap"


@dataclass(frozen=True)
class Growth:
    """One request that made malloc get memory from the system.

    `at` is how many seconds after the beginning. `arena` is an arena's address, None for a mapping
    of its own. `chunk_size` is that of the chunk that was needed, None where it isn't known, or the
    arena itself was. `bytes` is by how much malloc's memory grew, `free` what was free in the
    arena that was asked. `stack` has the addresses of the thread's frames, the innermost first.
    `unusable` is what was free anywhere, by the reason why it couldn't serve (as heapx fit calls
    it): None where that wasn't looked at, since it takes long.
    """

    at: float
    thread: int
    source: str
    arena: int | None
    chunk_size: int | None
    bytes: int
    free: Free | None
    stack: tuple[int, ...]
    unusable: Mapping[str, Free] | None = None


class SourceLine(NamedTuple):
    """What debug info says of an instruction: its function, which may be inlined, file and line."""

    function: str
    file: str
    line: int


@dataclass(frozen=True)
class Ended:
    """Why watching ended: a code of ENDS, with what there is to say of it."""

    code: str
    text: str = ""


TIME, COUNT, LOAD, ASKED = "time", "count", "load", "asked"
EXITED, EXEC, SIGNAL = "exited", "exec", "signal"
ENDS = (TIME, COUNT, LOAD, ASKED, EXITED, EXEC, SIGNAL)


@dataclass(frozen=True)
class Watched:
    """What was seen in these `seconds`: the requests in their order, and what it cost. `libc` is
    whose malloc that was.

    `stops` is how often a thread stood at a breakpoint, `stood` for how many seconds in all;
    `failed` how many requests got nothing from the system, `unfinished` those under way at the end.
    `by_request` tells whether sizes of requests are known. `arenas` has the indexes of arenas by
    address, `threads` the names of threads by LWP. `free` is what lay in each arena's lists at the
    first request, by its address. `code` is what debug info says of a frame, by where that stands:
    functions that were inlined come before the one that has them.
    """

    growths: tuple[Growth, ...]
    libc: str
    seconds: float
    ended: Ended
    stops: int
    stood: float
    failed: int
    unfinished: int
    by_request: bool
    arenas: Mapping[int, int]
    threads: Mapping[int, str | None]
    free: Mapping[int, Free]
    code: Mapping[int, tuple[SourceLine, ...]]
