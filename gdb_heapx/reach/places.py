"""What refers to a chunk is called: a variable, what of a thread's stack, a register, a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from ..held.naming import Where, where_is
from ..held.root import PLACES, Register, RootKind
from ..report.model import size_text

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..target.target import Local

CHUNK, STACK = "chunk", PLACES[RootKind.STACK]


class Site(NamedTuple):
    """What a word lies in: where that begins (None: it is no memory), its kind, what it is called,
    how far into it the word lies, and the thread whose it is.
    """

    start: int | None
    kind: str
    where: str
    offset: int
    lwp: int | None = None


def module_name(path: str | None) -> str:
    """Return how a file is called in text."""
    return PurePath(path).name if path else "?"


def of_chunk(chunk: HeldChunk, address: int) -> Site:
    return Site(chunk.user, CHUNK, f"chunk of {size_text(chunk.bytes)}", address - chunk.user)


def of_register(register: Register) -> Site:
    kind = PLACES[register.kind]
    if register.kind is RootKind.KERNEL:
        return Site(None, kind, f"{register.kind.value}: {register.name}", 0)
    return Site(None, kind, register.name, 0, register.lwp)


def of_root(held: Held, address: int, known: Mapping[int, Local]) -> Site | None:
    """Return what of a root has an address, None where none has; `known` is what addresses on
    stacks are, by debug info.
    """
    where = where_is(held.target, held.roots, address)
    if where is None:
        return None
    if where.kind in (RootKind.STACK, RootKind.RED_ZONE):
        return _on_stack(where, address, known.get(address))
    name = where.name and (held.target.probe.demangled(where.name) or where.name)
    called = name or "memory without a name"
    if where.module and called.startswith("."):  # a section, for want of a symbol
        called = f"{module_name(where.module)} {called}"
    elif where.module and not _is_program(held, where.module):
        called = f"{called} in {module_name(where.module)}"
    return Site(address - where.offset, PLACES[where.kind], called, where.offset, where.lwp)


def _is_program(held: Held, path: str) -> bool:
    return path == held.target.facts.exe


def _on_stack(where: Where, address: int, local: Local | None) -> Site:
    if local is None or local.function is None:
        return Site(address - where.offset, STACK, "stack", where.offset, where.lwp)
    if local.variable is None:
        called = f"in {local.function}()"
        return Site(address - where.offset, STACK, called, where.offset, where.lwp)
    called = f"{local.variable} in {local.function}()"
    return Site(address - local.offset, STACK, called, local.offset, where.lwp)
