"""Every thread's block of libc's thread-local variables, by walking nptl's own lists.

No libthread_db is needed: the offsets come from the descriptors `_thread_db_*` that nptl keeps for
debuggers (nptl_db/structs.def): in libc's .dynsym from 2.34, in libpthread's .symtab before. Where
they can't be had, the variables are somewhere beside each thread's pointer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import MemoryFault, UnreadError
from ..glibc import releases
from ..glibc.layout import align_down
from ..target.facts import Facts
from ..target.space import Space
from ..target.target import Target
from .libcs import Libc
from .loader import RTLD_GLOBAL, find_variable, link_map_of

UNALLOCATED = -1  # TLS_DTV_UNALLOCATED
BESIDE = (4096, 2048, 1024, 512, 256)  # bytes beside the thread pointer that may hold a block
NOT_DUMPED = (
    "their stacks are zeros in this core. gcore of gdb 17 and older stops at the guard pages of "
    "glibc 2.42 and newer; the kernel's core has the stacks, and gcore of gdb 18"
)
STACKS_IN_USE = {"stack_used": 0, "__stack_user": 1}  # glibc's stacks, and the user's
STACKS_MAPPED = {"stack_used": 0, "stack_cache": 2}  # those in use, and those kept
JOINED = (1 << 32) - 1  # -1: the LWP of a thread that somebody has joined (pthread_join_common.c)
TCB_HEAD = 2  # words between the thread pointer and the first block, where TLS lies above it


class Block(NamedTuple):
    """The thread-local variables of one thread: its LWP, and where libc's begin."""

    lwp: int
    address: int


class Blocks(NamedTuple):
    """The blocks that were found, how, and why the rest is missing (None: nothing is).

    `damaged` is the address where a list of threads or a thread's own data is broken, `unread` why
    it isn't read to its end. Where it is not `exact`, libc's variables lie anywhere in the `size`
    bytes of a block, as in all others.
    """

    blocks: tuple[Block, ...]
    how: str
    missing: str | None
    damaged: int | None = None
    size: int = 0
    exact: bool = True
    unread: UnreadError | None = None


def thread_blocks(target: Target, libc: Libc) -> Blocks:
    """Return libc's TLS block of every thread that has one."""
    by_nptl = _by_nptl(target, libc)
    lost = (by_nptl.damaged, by_nptl.unread)
    if by_nptl.missing in (None, NOT_DUMPED) or lost != (None, None):
        return by_nptl
    return _by_thread_pointer(target) or by_nptl


def _by_nptl(target: Target, libc: Libc) -> Blocks:
    blocks: list[Block] = []
    how, size = "nptl's list of threads", libc.image.tls_size or BESIDE[-1]
    outer = {
        thread.inner: thread.lwp for thread in target.facts.threads if thread.inner is not None
    }
    try:
        link_map = link_map_of(target, libc.image, libc.main_arena)
        if link_map is None:
            raise LookupError("ld.so's list of libraries was not found")
        descriptors = Descriptors(target, libc)
        single = True
        for thread in _threads(target, libc, descriptors):
            single = False
            address = _block(target.facts, target.space, descriptors, link_map.address, thread)
            if address:
                blocks.append(Block(outer.get(thread.lwp, thread.lwp), address))
        if single:
            return _single_thread(target, libc)._replace(size=size)
    except _CircleError as circle:
        return Blocks(tuple(blocks), how, "nptl's thread list runs in a circle", circle.address)
    except UnreadError as fault:
        return Blocks(tuple(blocks), how, f"their data {fault.why}", unread=fault)
    except MemoryFault as fault:
        return Blocks(tuple(blocks), how, "nptl's thread list is broken", fault.address)
    except LookupError as error:
        return Blocks(tuple(blocks), how, str(error.args[0]))
    return Blocks(tuple(blocks), how, None, size=size)


def _by_thread_pointer(target: Target) -> Blocks | None:
    """Return what lies beside each thread's pointer, None where the pointers aren't known."""
    pointers, space = target.probe.thread_pointers() or {}, target.space
    below = releases.tls_below_thread_pointer(target.facts.machine)
    for size in BESIDE if pointers else ():
        start = -size if below else TCB_HEAD * space.word
        blocks = tuple(Block(lwp, pointer + start) for lwp, pointer in pointers.items())
        if all(space.readable(block.address, size) for block in blocks):
            return Blocks(blocks, "each thread's pointer", None, size=size, exact=False)
    return None


class _CircleError(Exception):
    def __init__(self, address: int) -> None:
        super().__init__(address)
        self.address = address


class Descriptors:
    """nptl's descriptions of its own structs, for debuggers."""

    def __init__(self, target: Target, libc: Libc) -> None:
        self._target = target
        self._libc = libc
        self._found: dict[str, int | None] = {}
        self._known: dict[str, int] = {}  # each thread asks for the same ones
        self._words: dict[tuple[int, str], int] = {}

    def offset(self, name: str) -> int:
        """Return a field's offset in bytes; LookupError where libc doesn't describe it."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def word(self, address: int, name: str) -> int:
        """Return a field, a word, of what lies at an address; it is read once."""
        if (address, name) not in self._words:
            self._words[address, name] = self._target.space.read_word(address + self.offset(name))
        return self._words[address, name]

    def _read(self, name: str) -> int:
        address = self._address(name)
        if address is None:
            raise LookupError(f"libc has no _thread_db_{name}")
        return self._target.space.read_int(address + 8, 4)  # {bits, elements, offset}

    def number(self, name: str) -> int | None:
        """Return a number of 32 bits, None where libc doesn't tell it."""
        address = self._address(name)
        return None if address is None else self._target.space.read_int(address, 4)

    def _address(self, name: str) -> int | None:
        if name not in self._found:
            first = self._libc.image
            self._found[name] = find_variable(self._target, first, f"_thread_db_{name}")
        return self._found[name]

    def loader(self) -> int:
        """Return the address of ld.so's own data; LookupError where it isn't found."""
        address = find_variable(self._target, self._libc.image, RTLD_GLOBAL)
        if address is None:
            raise LookupError("ld.so's data was not found")
        return address


class _Thread(NamedTuple):
    lwp: int
    pthread: int
    dtv: int


def _block(
    facts: Facts, space: Space, descriptors: Descriptors, link_map: int, thread: _Thread
) -> int | None:
    """Return where libc's variables of a thread begin, None if it has none yet.

    A slot of the DTV that wasn't used yet is filled lazily; libc's block is then where the loader
    reserved it, next to the thread pointer (l_tls_offset).
    """
    modid = descriptors.word(link_map, "link_map_l_tls_modid")
    slots = dtv_slot(space, thread.dtv, -1)
    nothing = (0, UNALLOCATED % (1 << 8 * space.word))
    if modid <= slots:
        address = dtv_slot(space, thread.dtv, modid)
        if address not in nothing:
            return address
    offset = descriptors.word(link_map, "link_map_l_tls_offset")
    below = releases.tls_below_thread_pointer(facts.machine)
    return thread.pthread - offset if below and offset not in nothing else None


def lwp_at(space: Space, address: int) -> int:
    """Return the LWP of a struct pthread, 0 where its thread has ended."""
    lwp = space.read_int(address, 4)
    return 0 if lwp == JOINED else lwp


def dtv_slot(space: Space, dtv: int, number: int) -> int:
    """Return the first word of a DTV's slot: a module's block; in slot -1 how many there are."""
    return space.read_word(dtv + number * 2 * space.word)


def _threads(target: Target, libc: Libc, descriptors: Descriptors) -> Iterator[_Thread]:
    """Yield every thread in nptl's lists; LookupError in the end where some are not in the core."""
    heads = list_heads(target, libc, descriptors, STACKS_IN_USE)
    if not heads:
        return
    node_offset = descriptors.offset("pthread_list")
    tid_offset = descriptors.offset("pthread_tid")
    dtv_offset = descriptors.offset("pthread_dtvp")
    space, seen, lost = target.space, set(heads), False
    for head in heads:
        node = space.read_word(head)
        while node != head:
            if not target.facts.live and not_dumped(space, node):
                lost = True
                break
            if node in seen:
                raise _CircleError(node)
            seen.add(node)
            pthread = node - node_offset
            lwp = space.read_int(pthread + tid_offset, 4)
            if lwp:
                yield _Thread(lwp, pthread, space.read_word(pthread + dtv_offset))
            node = space.read_word(node)
    if lost:
        raise LookupError(NOT_DUMPED)


def not_dumped(space: Space, address: int) -> bool:
    """Tell whether a core has zeros for a page that can't be all zeros."""
    page = align_down(address, space.page)
    return not space.read_word(address) and not any(space.memory.read(page, space.page))


def list_heads(
    target: Target, libc: Libc, descriptors: Descriptors, lists: dict[str, int]
) -> list[int]:
    """Return the addresses of the heads of nptl's lists of stacks, by their names before 2.34, each
    with its number in a row (sysdeps/generic/ldsodefs.h).
    """
    rtld_global = find_variable(target, libc.image, RTLD_GLOBAL)
    if releases.thread_list_in_loader(libc.layout.release) and rtld_global is not None:
        used = descriptors.offset("rtld_global__dl_stack_used")
        user = descriptors.offset("rtld_global__dl_stack_user")
        return [rtld_global + used + number * (user - used) for number in lists.values()]
    names = (*lists, *(f"_dl_{name.lstrip('_')}" for name in lists))
    found = (find_variable(target, libc.image, name) for name in names)
    return [address for address in found if address is not None]


def kept_blocks(target: Target, libc: Libc) -> tuple[int, ...]:
    """Return where libc's variables begin in each stack without a thread, as far as they are found:
    the thread has ended, or a fork has left it in the parent (nptl, reclaim_stacks).
    """
    space, found = target.space, list[int]()
    try:
        descriptors = Descriptors(target, libc)
        link_map = link_map_of(target, libc.image, libc.main_arena)
        names = ("pthread_list", "pthread_tid", "pthread_dtvp")
        to_node, to_tid, to_dtv = (descriptors.offset(name) for name in names)
        heads = list_heads(target, libc, descriptors, STACKS_MAPPED)
        seen = set(heads)
        for head in heads:
            node = space.read_word(head)
            while node not in seen:
                seen.add(node)
                pthread, node = node - to_node, space.read_word(node)
                if link_map and not lwp_at(space, pthread + to_tid):
                    thread = _Thread(0, pthread, space.read_word(pthread + to_dtv))
                    address = _block(target.facts, space, descriptors, link_map.address, thread)
                    found += [address] if address else []
    except (MemoryFault, LookupError):
        pass  # the walk over the threads has told already
    return tuple(found)


def _single_thread(target: Target, libc: Libc) -> Blocks:
    """Return the only thread's block where libpthread isn't loaded (to 2.33), from ld.so's DTV."""
    space, threads = target.space, target.facts.threads
    how = "ld.so's initial DTV"
    rtld_global = find_variable(target, libc.image, RTLD_GLOBAL)
    described = target.struct("rtld_global", "_dl_initial_dtv")
    link = target.struct("link_map", "l_tls_modid")
    link_map = link_map_of(target, libc.image, libc.main_arena)
    if rtld_global is None or described is None or link is None or link_map is None:
        raise LookupError("neither a thread list nor ld.so's initial DTV was found")
    modid = space.read_word(link_map.address + link["l_tls_modid"].offset)
    dtv = space.read_word(rtld_global + described["_dl_initial_dtv"].offset)
    lwp = threads[0].lwp if threads else target.facts.pid or 0
    return Blocks((Block(lwp, dtv_slot(space, dtv, modid)),), how, None)
