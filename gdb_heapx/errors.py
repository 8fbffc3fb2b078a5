"""What can go wrong: an error the user can act on, and damage found in the heap."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from .records import dataclass

# Codes of problems that are no damage.
SWAPPED_OUT, LAYOUT_DIFFERS, ABORTED = "swapped_out", "layout_differs", "aborted"
LOST_IN_SWAP = "lost_in_swap"  # arenas, or heaps of one
CORE_CUT = "core_cut"
UNREAD = "unread"  # where reading was stopped: all of these are told as one (target/pace.py)
NOT_REACHED = "not_reached"  # arenas, or heaps of one, when reading was stopped
INTERRUPTED, TIME_IS_UP = "interrupted", "time_is_up"
STOPPED = (INTERRUPTED, TIME_IS_UP)
NOT_READ = (UNREAD, NOT_REACHED, *STOPPED)
NO_DAMAGE = (
    *(SWAPPED_OUT, LOST_IN_SWAP, LAYOUT_DIFFERS, ABORTED, CORE_CUT),
    *NOT_READ,
)


def valid(text: str) -> str:
    """Return text that can be encoded: bytes that are no UTF-8, as names have them, as \\xNN."""
    return text if text.isascii() else _BYTES.sub(_decoded, text)


_BYTES = re.compile(r"[\udc80-\udcff]+")  # as Python decodes them (surrogateescape)


def _decoded(match: re.Match[str]) -> str:
    return match[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def escape(text: str) -> str:
    """Return text without control characters, whatever the target put into it."""
    if text.isprintable():
        return text
    printable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in valid(text))
    return "".join(printable)


_UNITS = re.compile(r"(?<=\d) (?=(?:B|[KMGT]iB|bytes|ms|s|%)(?!\w))")
_HELD = "\xa0"  # a space that no line ends at; text that is escaped has none of its own


def unbroken(text: str) -> str:
    """Return text whose numbers stay beside their units where it is broken into lines."""
    return _UNITS.sub(_HELD, text)


def spaced(text: str) -> str:
    """Return the same with spaces again, once it is broken."""
    return text.replace(_HELD, " ")


FURTHER_IN = 4  # columns by which a line that goes on begins
UNSHOWN = 79  # columns of what is long, where no terminal shows it


def wrapped(text: str, width: int | None) -> str:
    """Return text whose lines are broken at words where they are wider than a terminal; None is as
    wide as they are. A line that goes on is further in than it began.
    """
    if width is None:
        return text
    import textwrap  # takes a while, and only an error needs it

    def broken(line: str) -> str:
        indent = line[: len(line) - len(line.lstrip(" "))]
        filled = textwrap.fill(
            unbroken(line.lstrip(" ")),
            width,
            initial_indent=indent,
            subsequent_indent=indent + " " * FURTHER_IN,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return spaced(filled)

    lines = text.split("\n")
    return "\n".join(broken(line) if len(line) > width else line for line in lines)


class HeapxError(Exception):
    """Something the user can act on: one statement, then what to do about it."""

    status = 3

    def __init__(self, statement: str, *remedies: str) -> None:
        super().__init__(statement, *remedies)
        self.statement = statement
        self.remedies = remedies

    def __str__(self) -> str:
        lines = "\n".join((self.statement, *(f"  {remedy}" for remedy in self.remedies)))
        return "\n".join(map(escape, lines.split("\n")))


class CutShortError(HeapxError):
    """Reading was stopped before there was anything to tell. `work` is what was being done, and
    after how many seconds that is done at the rate until then; None where nobody knows.
    """

    def __init__(self, problem: Problem, work: tuple[str, float] | None = None) -> None:
        self.problem, self.work = problem, work
        more = ("--max-pause SECONDS: give it more.",) if problem.code == TIME_IS_UP else ()
        super().__init__(problem.statement, *more)
        self.interrupted = problem.code == INTERRUPTED


class UsageError(HeapxError):
    """The command line is wrong."""

    status = 2


class MemoryFault(HeapxError):  # noqa: N818
    """Memory of the target that can't be read; carries the address."""

    def __init__(self, address: int, size: int = 0) -> None:
        super().__init__(f"cannot read {size or 1} bytes at {address:#x}")
        self.address = address


class UnreadError(MemoryFault, ABC):
    """Memory that may be sound, but isn't read; what it holds is unknown. `why` ends a sentence."""

    why: str

    @abstractmethod
    def problem(self, what: str) -> Problem:
        """Return the problem that reading `what` ends there; it is no damage."""

    @abstractmethod
    def lost(self, what: str, arena: int | None = None) -> Problem:
        """Return the problem that arenas, or the heaps of one, lie behind that."""


class SwappedOutError(UnreadError):
    """Memory that is swapped out, where bringing more of it back isn't allowed."""

    why = "is in swap"

    def __init__(self, address: int) -> None:
        super().__init__(address)
        self.statement = f"memory that is needed, at {address:#x}, is swapped out"
        self.remedies = ("--swap-in BYTES allows to bring so much of it back.",)

    def problem(self, what: str) -> Problem:
        return swapped_out(what, self.address)

    def lost(self, what: str, arena: int | None = None) -> Problem:
        return replace(self.problem(what), code=LOST_IN_SWAP, arena=arena)


class StoppedError(UnreadError):
    """Memory that would have been read, had reading not been stopped."""

    why = "was not read, because reading was stopped"

    def problem(self, what: str) -> Problem:
        return Problem(UNREAD, f"{what} was not read from {self.address:#x} on", self.address)

    def lost(self, what: str, arena: int | None = None) -> Problem:
        return Problem(NOT_REACHED, f"{what} was not reached", self.address, arena)


@dataclass(frozen=True)
class Problem:
    """Something in the heap that isn't as glibc leaves it.

    `arena` is an index in ring order and `thread` an LWP, None where none is concerned. `in_motion`
    means that a thread was changing this very place, so it isn't damage.
    """

    code: str
    statement: str
    address: int | None = None
    arena: int | None = None
    thread: int | None = None
    in_motion: bool = False

    @property
    def damage(self) -> bool:
        """Whether the heap is damaged: neither in motion nor merely hard to read."""
        return not self.in_motion and self.code not in NO_DAMAGE


def swapped_out(what: str, address: int) -> Problem:
    """Return the problem that reading ends where memory is swapped out; it is no damage."""
    statement = f"{what} is swapped out at {address:#x}: --swap-in BYTES brings more of it back"
    return Problem(SWAPPED_OUT, statement, address)


def gathered(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, with those of swapped memory, which may be many, made one."""
    swapped = [problem for problem in problems if problem.code == SWAPPED_OUT]
    others = [problem for problem in problems if problem.code != SWAPPED_OUT]
    if len(swapped) < 2:
        return list(problems)
    statement = (
        f"{len(swapped)} lists and heaps are swapped out, the first one at "
        f"{swapped[0].address or 0:#x}: what they hold is unknown. --swap-in BYTES brings more back"
    )
    return [Problem(SWAPPED_OUT, statement, swapped[0].address), *others]
