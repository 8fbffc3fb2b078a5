"""What is each thread's alone: thread-local variables, struct pthread, the values of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..locate.tcbs import Tcbs, block_of, blocks_owned
from ..target.target import Target
from .root import LocalBlock, Register, Root, RootKind

STRUCT, KEYS = "struct pthread", "values of pthread keys"


def blocks(target: Target, found: Tcbs) -> Iterator[LocalBlock]:
    """Yield where the threads that run have each file's thread-local variables."""
    indexes: Mapping[int | None, int] = {i.base: n for n, i in enumerate(target.objects)}
    sizes = {module: _size(target, indexes.get(module.base)) for module in found.modules}
    for tcb in found.tcbs:
        for module in found.modules if tcb.lwp else ():
            start = block_of(target, tcb, module)
            if start is not None and sizes[module]:
                yield LocalBlock(start, start + sizes[module], tcb.lwp, indexes.get(module.base))


def _size(target: Target, index: int | None) -> int:
    return (target.objects[index].tls_size or 0) if index is not None else 0


def own_roots(found: Tcbs) -> Iterator[Root]:
    """Yield each struct pthread, but those of stacks that are kept; of a thread that has ended it
    has what a join returns.
    """
    for tcb in found.tcbs:
        if not tcb.kept:
            lwp = tcb.lwp or None
            yield Root(RootKind.TLS, tcb.pthread, tcb.pthread + tcb.size, lwp, None, STRUCT)


def dead_dtvs(target: Target, found: Tcbs) -> Iterator[tuple[int, int]]:
    """Yield where threads that have ended have the address of their DTV: nobody looks there."""
    for tcb in found.tcbs:
        if not tcb.lwp:
            yield tcb.dtv_at, tcb.dtv_at + target.space.word


def key_roots(found: Tcbs) -> Iterator[Root]:
    """Yield where each thread has the values of pthread keys; more of them may be in chunks."""
    for tcb in found.tcbs:
        if tcb.keys and not tcb.kept:
            yield Root(RootKind.KEY, *tcb.keys, tcb.lwp or None, None, KEYS)


def dtvs(target: Target, found: Tcbs) -> Iterator[Register]:
    """Yield the address of each DTV as ld.so allocated it: the pointer to it leads behind its first
    slot (elf/dl-tls.c, allocate_dtv).
    """
    slot = 2 * target.space.word
    for tcb in found.tcbs:
        if tcb.lwp and tcb.dtv > slot:
            yield Register(tcb.lwp, "dtv", (tcb.dtv - slot,), RootKind.TLS)


def left_behind(target: Target, found: Tcbs) -> Iterator[int]:
    """Yield the address of the DTV, and of each block of thread-local variables, that a thread left
    with its stack when it ended: the next thread on that stack gets both.
    """
    slot = 2 * target.space.word
    for tcb in found.tcbs:
        if not tcb.lwp and tcb.dtv > slot:
            yield tcb.dtv - slot
            yield from blocks_owned(target.space, tcb)
