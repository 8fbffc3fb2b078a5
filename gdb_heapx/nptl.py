"""Every thread's block of libc's thread-local variables, by walking nptl's own lists.

No libthread_db is needed: the offsets come from the descriptors `_thread_db_*` that nptl keeps for
debuggers (nptl_db/structs.def): in libc from 2.34, in libpthread before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from . import glibc
from .errors import MemoryFault
from .locate import Libc, find_variable, link_map_of
from .target import Target

UNALLOCATED = -1  # TLS_DTV_UNALLOCATED


class Block(NamedTuple):
    """The thread-local variables of one thread: its LWP, and where libc's begin."""

    lwp: int
    address: int


class Blocks(NamedTuple):
    """The blocks that were found, how, and why the rest is missing (None: nothing is).

    `damaged` is the address where a list of threads or a thread's own data is broken.
    """

    blocks: tuple[Block, ...]
    how: str
    missing: str | None
    damaged: int | None = None


def thread_blocks(target: Target, libc: Libc) -> Blocks:
    """Return libc's TLS block of every thread that has one."""
    blocks: list[Block] = []
    how = "nptl's thread list, then each thread's DTV"
    try:
        link_map = link_map_of(target, libc)
        if link_map is None:
            raise LookupError("ld.so's list of libraries was not found")
        descriptors = _Descriptors(target, libc)
        single = True
        for thread in _threads(target, libc, descriptors):
            single = False
            address = _block(target, descriptors, link_map.address, thread)
            if address:
                blocks.append(Block(thread.lwp, address))
        if single:
            return _single_thread(target, libc)
    except _CircleError as circle:
        return Blocks(tuple(blocks), how, "nptl's thread list runs in a circle", circle.address)
    except MemoryFault as fault:
        return Blocks(tuple(blocks), how, "nptl's thread list is broken", fault.address)
    except LookupError as error:
        return Blocks(tuple(blocks), how, str(error.args[0]))
    return Blocks(tuple(blocks), how, None)


class _CircleError(Exception):
    def __init__(self, address: int) -> None:
        super().__init__(address)
        self.address = address


class _Descriptors:
    """nptl's descriptions of its own structs, for debuggers."""

    def __init__(self, target: Target, libc: Libc) -> None:
        self._target = target
        self._libc = libc

    def offset(self, name: str) -> int:
        """Return a field's offset in bytes; LookupError where libc doesn't describe it."""
        address = find_variable(self._target, self._libc.symbols, f"_thread_db_{name}")
        if address is None:
            raise LookupError(f"libc has no _thread_db_{name}")
        return self._target.read_int(address + 8, 4)  # {bits, elements, offset}


class _Thread(NamedTuple):
    lwp: int
    pthread: int
    dtv: int


def _block(target: Target, descriptors: _Descriptors, link_map: int, thread: _Thread) -> int | None:
    """Return where libc's variables of a thread begin, None if it has none yet.

    A slot of the DTV that wasn't used yet is filled lazily; libc's block is then where the loader
    reserved it, next to the thread pointer (l_tls_offset).
    """
    modid = target.read_word(link_map + descriptors.offset("link_map_l_tls_modid"))
    slots = target.read_word(thread.dtv - 2 * target.word)
    nothing = (0, UNALLOCATED % (1 << 8 * target.word))
    if modid <= slots:
        address = target.read_word(thread.dtv + modid * 2 * target.word)
        if address not in nothing:
            return address
    offset = target.read_word(link_map + descriptors.offset("link_map_l_tls_offset"))
    below = glibc.tls_below_thread_pointer(target.architecture)
    return thread.pthread - offset if below and offset not in nothing else None


def _threads(target: Target, libc: Libc, descriptors: _Descriptors) -> Iterator[_Thread]:
    """Yield every thread in nptl's lists."""
    heads = _list_heads(target, libc, descriptors)
    if not heads:
        return
    node_offset = descriptors.offset("pthread_list")
    tid_offset = descriptors.offset("pthread_tid")
    dtv_offset = descriptors.offset("pthread_dtvp")
    seen = set(heads)
    for head in heads:
        node = target.read_word(head)
        while node != head:
            if node in seen:
                raise _CircleError(node)
            seen.add(node)
            pthread = node - node_offset
            lwp = target.read_int(pthread + tid_offset, 4)
            if lwp:
                yield _Thread(lwp, pthread, target.read_word(pthread + dtv_offset))
            node = target.read_word(node)


def _list_heads(target: Target, libc: Libc, descriptors: _Descriptors) -> list[int]:
    """Return the addresses of the list heads of threads: glibc's stacks, then the user's."""
    rtld_global = find_variable(target, libc.symbols, "_rtld_global")
    if glibc.thread_list_in_loader(libc.layout.release) and rtld_global is not None:
        names = ("rtld_global__dl_stack_used", "rtld_global__dl_stack_user")
        return [rtld_global + descriptors.offset(name) for name in names]
    lists = ("stack_used", "__stack_user", "_dl_stack_used", "_dl_stack_user")
    found = (find_variable(target, libc.symbols, name) for name in lists)
    return [address for address in found if address is not None]


class Stack(NamedTuple):
    """The memory that nptl gave a thread: stack, guard and struct pthread. LWP 0: it has ended."""

    start: int
    end: int
    lwp: int


def thread_stacks(target: Target, libc: Libc) -> tuple[Stack, ...]:
    """Return the stacks that nptl mapped, with those it keeps for threads to come.

    Empty where they can't be found. Stacks that the program brought itself are its own memory.
    """
    pthread = next((s for o in target.objects if (s := o.struct("pthread"))), None)
    if pthread is None or "stackblock" not in pthread or "list" not in pthread:
        return ()
    stacks: dict[int, Stack] = {}
    try:
        for head in _stack_heads(target, libc):
            node = target.read_word(head)
            while node != head and node not in stacks:
                record = target.read_struct(pthread, node - pthread["list"].offset)
                start, size = record["stackblock"], record["stackblock_size"]
                stacks[node] = Stack(start, start + size, record["tid"])
                node = target.read_word(node)
    except MemoryFault:
        pass  # the walk over the threads has told already
    return tuple(sorted(stack for stack in stacks.values() if stack.start < stack.end))


def _stack_heads(target: Target, libc: Libc) -> list[int]:
    """Return the list heads of the stacks that nptl mapped: those in use, and those kept."""
    rtld_global = find_variable(target, libc.symbols, "_rtld_global")
    if glibc.thread_list_in_loader(libc.layout.release) and rtld_global is not None:
        described = next((s for o in target.objects if (s := o.struct("rtld_global"))), None)
        names = ("_dl_stack_used", "_dl_stack_cache")
        return [rtld_global + described[n].offset for n in names if described and n in described]
    lists = ("stack_used", "stack_cache", "_dl_stack_used", "_dl_stack_cache")
    found = (find_variable(target, libc.symbols, name) for name in lists)
    return [address for address in found if address is not None]


def _single_thread(target: Target, libc: Libc) -> Blocks:
    """Return the only thread's block where libpthread isn't loaded (to 2.33), from ld.so's DTV."""
    how = "ld.so's initial DTV"
    rtld_global = find_variable(target, libc.symbols, "_rtld_global")
    structs = [o.struct("rtld_global") for o in target.objects]
    described = next((s for s in structs if s and "_dl_initial_dtv" in s), None)
    link_maps = [o.struct("link_map") for o in target.objects]
    link = next((s for s in link_maps if s and "l_tls_modid" in s), None)
    link_map = link_map_of(target, libc)
    if rtld_global is None or described is None or link is None or link_map is None:
        raise LookupError("neither a thread list nor ld.so's initial DTV was found")
    modid = target.read_word(link_map.address + link["l_tls_modid"].offset)
    dtv = target.read_word(rtld_global + described["_dl_initial_dtv"].offset)
    block = target.read_word(dtv + modid * 2 * target.word)
    lwp = target.threads[0].lwp if target.threads else target.pid or 0
    return Blocks((Block(lwp, block),), how, None)
