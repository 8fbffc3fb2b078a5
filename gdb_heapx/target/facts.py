"""What a target is, as plain frozen values: nothing of it is read twice."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dict
from typing import Literal

from ..glibc.architecture import Architecture
from ..records import dataclass
from .mappings import Mapping, Mappings, Usage

ByteOrder = Literal["little", "big"]


@dataclass(frozen=True)
class Thread:
    """One thread: its LWP (kernel thread id), and its name where known.

    `inner` is its LWP in its own pid namespace, which is all that the process knows.
    """

    lwp: int
    name: str | None
    inner: int | None = None


@dataclass(frozen=True)
class Parent:
    """The process that another was forked from, and what it has mapped now; `forked` tells whether
    it was forked itself, so that what it has may be from further back.
    """

    pid: int
    mappings: tuple[Mapping, ...]
    forked: bool = False

    @property
    def name(self) -> str:
        """Where threads stayed, for a sentence."""
        further = ", or a process that it was forked from" if self.forked else ""
        return f"process {self.pid}, the parent{further}"

    def has(self, address: int) -> bool:
        """Tell whether it has memory of the kind that malloc and nptl map there."""
        return any(address in mapping for mapping in self.mappings if mapping.anonymous)


@dataclass(frozen=True)
class Facts:
    """What is looked at; `live` is False for a core.

    `architecture` is what a debugger calls the machine, None where none does. `exe_how` tells how
    the program is known. `environment` are the variables that malloc reads when the program starts,
    None if unknown. `mappings` are empty where the address space isn't known. `no_residency` says
    why it isn't known which pages are in memory, None where it is; `cut` how much of a core is
    there, None where all is; `by_debugger` is of a core that a debugger wrote, not the kernel.
    `parent` is who forked it, None where it shares nothing with that, or
    nobody can tell. `cpus` is how many its machine has, None where that isn't known for certain.
    `born` tells the process from any other that had or gets its id (procfs.born), None if unknown.
    """

    pid: int | None
    exe: str | None
    word: int
    byteorder: ByteOrder
    machine: Architecture
    architecture: str | None
    page: int
    live: bool
    mappings: Mappings
    threads: tuple[Thread, ...]
    exe_how: str = ""
    environment: Dict[str, str] | None = None
    no_residency: str | None = None
    cut: str | None = None
    by_debugger: bool = False
    parent: Parent | None = None
    cpus: int | None = None
    born: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mappings", Mappings.of(self.mappings))  # of a file it has a tuple

    @property
    def name(self) -> str:
        """What was looked at, for a sentence."""
        return f"process {self.pid}" if self.live else "core"

    @property
    def mapped(self) -> bool:
        """Whether the address space is known."""
        return len(self.mappings) > 0

    @property
    def rss(self) -> int | None:
        """The kernel's sum of all mappings in bytes, None if unknown."""
        return self._sum(lambda usage: usage.resident)

    @property
    def pss(self) -> int | None:
        """The same with each page divided by the processes that have it mapped."""
        return self._sum(lambda usage: usage.proportional)

    def _sum(self, of: Callable[[Usage], int]) -> int | None:
        """Return what the kernel says of all mappings; None where it says nothing."""
        if not any(kind.usage for kind in self.mappings.kinds):
            return None
        return self.mappings.sum(lambda kind: of(kind.usage) if kind.usage else 0)
