"""What isn't damage, since a thread was just changing it; and what glibc itself calls damage."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import ABORTED, NOT_READ, MemoryFault, Problem
from ..glibc import releases
from ..locate.libcs import Libc
from ..locate.loader import own_variable
from ..target.target import Target
from .arenas import BAD_HEAP, BAD_SYSTEM, BAD_TOP, HEAP_CHAIN, Arena
from .tcaches import Caches

IN_MOTION, MALLOC_ABORTED = "in_motion", "malloc_aborted"
LONGEST_MESSAGE = 1024
# What a thread was just changing, by what doesn't agree there; all else are lists.
CHANGED = {
    BAD_TOP: "top",
    BAD_SYSTEM: "its size",
    BAD_HEAP: "its heaps",
    HEAP_CHAIN: "its heaps",
    "bad_size": "its chunks",
    "unreadable": "its chunks",
    "walk_ended": "its chunks",
    "bad_prev_size": "its chunks",
    "tcache_count": "a tcache",
    "bad_tcache": "a tcache",
    "cached_misplaced": "a tcache",
    "tcache_stray": "a tcache",
}


class Motion(NamedTuple):
    """The threads that stand inside malloc and run on, each with its function; and the indexes of
    the arenas that they may be changing.
    """

    inside: Mapping[int, str]
    arenas: frozenset[int]


def abort_message(target: Target, libc: Libc) -> str | None:
    """Return what glibc said when it ended the process (__abort_msg), None if it didn't."""
    address = own_variable(target, libc.own, libc.inside, "__abort_msg")
    try:
        message = target.space.read_word(address) if address is not None else 0
        if not message:
            return None
        # struct abort_msg_s: an unsigned int, the size of its whole mapping, and then the text.
        size = target.space.read_int(message, 4)
        text = target.space.read_string(message + 4, min(size, LONGEST_MESSAGE))
    except MemoryFault:
        return None
    return " ".join(text.split()) or None


def aborted(target: Target, libc: Libc) -> list[Problem]:
    """Return the problem that glibc has ended the process; it is damage if malloc found some."""
    message = abort_message(target, libc)
    if message is None:
        return []
    code = MALLOC_ABORTED if releases.MALLOC_ABORTS.match(message) else ABORTED
    return [Problem(code, f'glibc has aborted the process: "{message}"')]


def mark_motion(
    target: Target,
    libc: Libc,
    arenas: Sequence[Arena],
    caches: Caches,
    problems: Sequence[Problem],
) -> tuple[Problem, ...]:
    """Return the problems; those where a thread was just changing things are made one an arena.

    That reading was stopped is nobody's doing. Asking who stands where takes gdb a while.
    """
    unread = [problem for problem in problems if problem.code in NOT_READ]
    problems = [problem for problem in problems if problem.code not in NOT_READ]
    if not problems:
        return tuple(unread)
    motion = _motion(target, libc, arenas, caches)
    indexes = {arena.address: arena.index for arena in arenas}
    still: list[Problem] = []
    moving: dict[int | None, list[Problem]] = defaultdict(list)
    for problem in problems:
        if problem.arena in motion.arenas:
            moving[problem.arena].append(problem)
        elif problem.thread in motion.inside:
            own = indexes.get(caches.thread_arena.get(problem.thread or 0, 0))
            moving[own].append(problem)
        else:
            still.append(problem)
    lines = (
        _line(motion, index, _threads(motion, indexes, caches, index), moving[index])
        for index in sorted(moving, key=lambda each: -1 if each is None else each)
    )
    return (*unread, *still, *lines)


def _motion(target: Target, libc: Libc, arenas: Sequence[Arena], caches: Caches) -> Motion:
    """Return who is changing what.

    An arena's mutex tells; but a process with one thread takes none, a tcache has none, and free
    may put chunks on fastbins without one. So threads that stand inside malloc count, too. One that
    glibc has aborted stands there by nature, may hold the lock, and changes nothing any more.
    """
    inside = target.probe.inside_malloc() or {}
    locked = frozenset(arena.index for arena in arenas if arena.locked)
    indexes = {arena.address: arena.index for arena in arenas}
    dead: frozenset[int] = frozenset()
    if abort_message(target, libc) is not None:
        dead, locked = target.probe.aborting() or frozenset(inside), frozenset()
        inside = {lwp: function for lwp, function in inside.items() if lwp not in dead}
    moving = set(locked)
    for lwp, function in inside.items():
        own = indexes.get(caches.thread_arena.get(lwp, 0))
        moving |= set(indexes.values()) if own is None or "free" in function else {own}
    deadly = {indexes.get(caches.thread_arena.get(lwp, 0)) for lwp in dead}
    return Motion(inside, frozenset(moving - deadly))


def _threads(
    motion: Motion, indexes: dict[int, int], caches: Caches, index: int | None
) -> list[int]:
    """Return the threads that may be changing an arena: its own, else those that free."""
    own = [t for t in motion.inside if indexes.get(caches.thread_arena.get(t, 0)) == index]
    return own or [t for t, function in motion.inside.items() if "free" in function]


def _line(
    motion: Motion, index: int | None, threads: list[int], problems: Iterable[Problem]
) -> Problem:
    """Return one problem for all that doesn't agree in an arena: who was changing what."""
    if len(threads) == 1:
        function = re.sub("^(__GI_|__libc_|__)+", "", motion.inside[threads[0]])
        who = f"thread {threads[0]} stands in {function} and"
    else:
        who = f"{len(threads)} threads stand in malloc and" if threads else "its lock's holder"
    what = dict.fromkeys(CHANGED.get(problem.code, "its lists") for problem in problems)
    *first, last = what
    changed = f"{', '.join(first)} and {last}" if first else last
    statement = (
        f"{who} was just changing {changed}. Its figures may be off by that, or unknown, and what "
        "malloc_trim would return is, too. Look again."
    )
    if len(threads) > 1:
        statement = statement.replace("was just", "were just")
    return Problem(IN_MOTION, statement, None, index, threads[0] if threads else None, True)
