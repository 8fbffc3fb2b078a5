"""What refers to a chunk is called: a variable, what of a thread's stack, a register, a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from ..held.held import Held
from ..held.index import HeldChunk
from ..held.naming import Where, where_is
from ..held.root import Register, RootKind
from ..report.model import size_text
from ..target.target import Local

CHUNK = "chunk"
KINDS = {
    RootKind.KEY: "key",
    RootKind.TLS: "tls",
    RootKind.RED_ZONE: "stack",  # as what is on it
    RootKind.STACK: "stack",
    RootKind.REGISTER: "register",
    RootKind.GLOBAL: "global",
    RootKind.MAPPING: "mapping",
    RootKind.SHARED: "shared",
    RootKind.KERNEL: "kernel",
}


class Site(NamedTuple):
    """What a word lies in: where that begins (None: it is no memory), its kind, what it is called,
    and how far into it the word lies.
    """

    start: int | None
    kind: str
    where: str
    offset: int


def module_name(path: str | None) -> str:
    """Return how a file is called in text."""
    return PurePath(path).name if path else "?"


def of_chunk(chunk: HeldChunk, address: int) -> Site:
    return Site(chunk.user, CHUNK, f"chunk of {size_text(chunk.bytes)}", address - chunk.user)


def of_register(register: Register) -> Site:
    if register.kind is RootKind.KERNEL:
        return Site(None, KINDS[register.kind], f"{register.kind.value}: {register.name}", 0)
    name = register.name if register.kind is RootKind.REGISTER else register.name.upper()
    return Site(None, KINDS[register.kind], f"{name}, thread {register.lwp}", 0)


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
    if where.module and not (name and _is_program(held, where.module)):
        called = f"{called} in {module_name(where.module)}"
    if where.lwp is not None:
        called = f"{called}, thread {where.lwp}"
    return Site(address - where.offset, KINDS[where.kind], called, where.offset)


def _is_program(held: Held, path: str) -> bool:
    return path == held.target.facts.exe


def _on_stack(where: Where, address: int, local: Local | None) -> Site:
    thread = f"thread {where.lwp}"
    if local is None or local.function is None:
        return Site(address - where.offset, "stack", f"stack of {thread}", where.offset)
    if local.variable is None:
        called = f"in {local.function}(), {thread}"
        return Site(address - where.offset, "stack", called, where.offset)
    called = f"{local.variable} in {local.function}(), {thread}"
    return Site(address - local.offset, "stack", called, local.offset)
