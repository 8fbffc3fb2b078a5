"""In which order ways from roots to chunks begin: first where what the program uses begins."""

from __future__ import annotations

from ..held.root import RootKind
from ..locate.loader import OF_GLIBC
from ..target.images import base_name

# A way begins in a later turn only where none does in one before. What glibc's own variables keep
# of a program's is mostly a copy: what signals did (system), a name (openlog).
OF_PROGRAM, OF_THREADS, OTHER, OF_GLIBCS, ON_STACKS, IN_REGISTERS, BELOW_STACKS = TURNS = range(7)
_TURNS = {
    RootKind.GLOBAL: OF_PROGRAM,
    RootKind.TLS: OF_THREADS,
    RootKind.KEY: OF_THREADS,
    RootKind.MAPPING: OTHER,
    RootKind.SHARED: OTHER,
    RootKind.KERNEL: OTHER,
    RootKind.STACK: ON_STACKS,
    RootKind.REGISTER: IN_REGISTERS,
    RootKind.RED_ZONE: BELOW_STACKS,
}


def turn_of(kind: RootKind, path: str | None) -> int:
    """Return the turn of a root, or of what lies in one; `path` is the file's whose it is."""
    turn = _TURNS[kind]
    of_glibc = turn == OF_PROGRAM and path and OF_GLIBC.match(base_name(path))
    return OF_GLIBCS if of_glibc else turn
