"""The ways to look at a heap: heapx's commands, a bare gdb, and the other tools of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from .serving import GDB, QUIET, ROOT

HEAPX = str(ROOT / "scripts" / "heapx")
LIBC = ("/libc[-.0-9][^/]*$", "/libpthread[-.0-9][^/]*$", "/ld[-.0-9][^/]*$")
LIMIT = 600  # seconds that another tool may take
# Words that a command needs besides: where to write, which is looked at by nobody.
SOURCE = "source"  # in place of a command: what a gdb takes to source heapx
OUTPUTS = {"save": "{}/saved.json.gz", "report": "--output={}/page.html"}


@dataclass(frozen=True)
class Target:
    """What is looked at: a process, or its core."""

    pid: int
    exe: str
    core: Path | None = None

    def gdb_words(self) -> Sequence[str]:
        return (self.exe, str(self.core)) if self.core else ("-p", str(self.pid))

    def heapx_words(self) -> Sequence[str]:
        return ("--core", str(self.core)) if self.core else ("-p", str(self.pid))


@dataclass(frozen=True)
class Look:
    """A command, and the one whose cost is not the tool's own; none if all of it is."""

    name: str
    words: Sequence[str]
    bare: Sequence[str] = ()
    text: str = ""  # its input
    ours: bool = True


@dataclass(frozen=True)
class Peer:
    """Another tool: where it may be, and what it is asked, which is closest to `heapx arenas`.

    The variable names a program that takes gdb's arguments, or a file for gdb to source.
    """

    name: str
    variable: str
    program: str  # on PATH
    asks: Sequence[str]
    core_only: bool = False

    def place(self) -> str | None:
        """Return where it is, None if it isn't on this machine."""
        named = os.environ.get(self.variable)
        return (named if named and os.path.exists(named) else None) or shutil.which(self.program)


PEERS = (
    Peer("chap", "HEAPX_CHAP", "chap", ("describe arenas", "count used", "count free"), True),
    Peer("core_analyzer", "HEAPX_CORE_ANALYZER", "core_analyzer", ("heap",)),
    Peer("GEF", "HEAPX_GEF", "gef", ("heap arenas", "heap chunks --all --summary")),
    Peer("pwndbg", "HEAPX_PWNDBG", "pwndbg", ("arenas", "heap")),
)


def bare(target: Target) -> Sequence[str]:
    """Return the words of a gdb that attaches, or opens the core, and reads libc's symbols only, as
    heapx does.
    """
    opened = f"core-file {target.core}" if target.core else f"attach {target.pid}"
    exe = target.exe if target.core else f"/proc/{target.pid}/exe"
    lines = ("set auto-solib-add off", f"file {exe}", opened)
    lines += tuple(f"sharedlibrary {each}" for each in LIBC)
    return (GDB, *QUIET, *(word for line in lines for word in ("-ex", line)))


def looks(target: Target, commands: Iterable[str], off: bool) -> list[Look]:
    """Return a look for each of heapx's commands, with `off` also without the compiled walk."""
    found = []
    for command in commands:
        if command == SOURCE:
            found.append(sourced())
            continue
        name = f"heapx {'' if command == 'overview' else command}".strip()
        words = name.split()[1:]
        words += [OUTPUTS[word].format(gettempdir()) for word in words[:1] if word in OUTPUTS]
        for suffix, setting in (("", ()), (", compiled off", ("--set", "compiled=off"))):
            if setting and not off:
                continue
            said = (HEAPX, *target.heapx_words(), *setting, *words)
            found.append(Look(name + suffix, said, bare(target)))
    return found


def sourced() -> Look:
    """Return a look at nothing: a gdb that sources heapx, beside one that has begun its Python."""
    file = "gdb_heapx.py"
    begun = (GDB, *QUIET, "-ex", "python pass")
    return Look(f"{SOURCE} {file}", (GDB, *QUIET, "-ex", f"{SOURCE} {ROOT / file}"), begun)


def looks_of_peers(target: Target) -> list[Look]:
    """Return a look for each other tool that is here, and can look at this."""
    found = []
    for peer in PEERS:
        place = peer.place()
        if place is None or (peer.core_only and not target.core):
            continue
        if peer.core_only:
            text = "".join(f"{each}\n" for each in peer.asks)
            found.append(Look(peer.name, (place, str(target.core)), (), text, ours=False))
            continue
        script = place.endswith(".py")
        opening = (GDB if script else place, *QUIET, *target.gdb_words())
        sourced = ("-iex", f"source {place}") if script else ()
        asks = (word for each in peer.asks for word in ("-ex", each))
        found.append(Look(peer.name, (*opening, *sourced, *asks), opening, ours=False))
    return found


def absent() -> str:
    """Say in a line which tools aren't here; nothing if all are."""
    missing = [f"{peer.name} ({peer.variable})" for peer in PEERS if peer.place() is None]
    return f"not on this machine, nor where the variable says: {', '.join(missing)}" * bool(missing)
