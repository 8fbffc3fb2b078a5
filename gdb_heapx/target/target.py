"""The seam: all that heapx needs of a process or a core, as plain values and small protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..glibc.layout import Struct
from ..records import dataclass
from .facts import Facts
from .granting import NOTHING_KNOWN, Granting
from .images import Image
from .space import Space


class Registers(NamedTuple):
    """What one thread has in registers: its stack pointer, None if unknown, and by their names what
    general and vector registers hold, as words.
    """

    stack_pointer: int | None
    words: Mapping[str, tuple[int, ...]]


class Local(NamedTuple):
    """What of a thread's stack an address is: the function whose frame has it, and the variable
    with how far into that it lies; None without debug info, or where no variable has it.
    """

    function: str | None
    variable: str | None = None
    offset: int = 0


class Probe(Protocol):
    """What only a debugger can answer of a stopped target; None where it can't.

    It unwinds stacks to tell who stands where, so that is asked only when something must be
    explained. What a debugger knows of one file is in its Image.
    """

    def inside_malloc(self) -> Mapping[int, str] | None:
        """Return the function by LWP of every thread that stands inside malloc or free."""

    def aborting(self) -> frozenset[int] | None:
        """Return the LWPs of the threads that stand inside abort."""

    def thread_pointers(self) -> Mapping[int, int] | None:
        """Return the thread pointers by LWP."""

    def registers(self) -> Mapping[int, Registers] | None:
        """Return what the registers of each thread hold, by LWP."""

    def kept_by_kernel(self) -> Mapping[str, tuple[int, ...] | None] | None:
        """Return the words that the kernel keeps for the process, by what they are for; None of
        what it doesn't tell.
        """

    def locals(self, addresses: Mapping[int, int]) -> Mapping[int, Local] | None:
        """Return what addresses on stacks are, which are given with the threads' LWPs."""

    def symbol(self, address: int) -> str | None:
        """Return the name of what lies at an address; None, too, if that has none."""

    def demangled(self, symbol: str) -> str | None:
        """Return what a symbol of C++ means, without a target, too; None if it isn't one."""


class NoProbe:
    """A target without a debugger: nothing is answered."""

    def inside_malloc(self) -> Mapping[int, str] | None:
        return None

    def aborting(self) -> frozenset[int] | None:
        return None

    def thread_pointers(self) -> Mapping[int, int] | None:
        return None

    def registers(self) -> Mapping[int, Registers] | None:
        return None

    def kept_by_kernel(self) -> Mapping[str, tuple[int, ...] | None] | None:
        return None

    def locals(self, addresses: Mapping[int, int]) -> Mapping[int, Local] | None:
        return None

    def symbol(self, address: int) -> str | None:
        return None

    def demangled(self, symbol: str) -> str | None:
        return None


NO_PROBE = NoProbe()


@dataclass(frozen=True)
class Target:
    """A stopped process or a core: its memory, the ELF files that it maps, and what a debugger
    says of it. `granting` tells what memory the kernel would refuse it.
    """

    space: Space
    objects: tuple[Image, ...]
    probe: Probe = NO_PROBE
    granting: Callable[[], Granting] = lambda: NOTHING_KNOWN

    @property
    def facts(self) -> Facts:
        return self.space.facts

    def struct(self, name: str, member: str) -> Struct | None:
        """Return a struct that has this member, by the debug info of any file, None without."""
        found = (image.struct(name) for image in self.objects)
        return next((struct for struct in found if struct and member in struct), None)
