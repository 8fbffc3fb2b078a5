"""Each thread's own data: struct pthread, its DTV, and the blocks of thread-local variables.

Those that have ended, too, as long as nptl keeps their stacks. All by nptl's descriptors for
debuggers (nptl_db/structs.def), else by the thread pointers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc import releases
from ..target.space import Space
from ..target.target import Target
from .libcs import Libc
from .loader import RTLD_GLOBAL, find_variable
from .nptl import (
    NOT_DUMPED,
    UNALLOCATED,
    Descriptors,
    dtv_slot,
    list_heads,
    lwp_at,
    not_dumped,
)
from .stacks import stackblock_offset

LISTS = {"stack_used": 0, "__stack_user": 1, "stack_cache": 2}  # sysdeps/generic/ldsodefs.h
KEPT = "stack_cache"
USERS = "__stack_user"
PTHREAD_SIZE = 2304  # bytes of struct pthread, where libc doesn't tell: 2.36 on amd64
FIRST_KEYS = LEVEL1 = 32  # PTHREAD_KEY_2NDLEVEL_SIZE, PTHREAD_KEY_1STLEVEL_SIZE
MOST_MODULES = 1 << 16
SLOTINFO = "_dl_tls_dtv_slotinfo_list"


class Tcb(NamedTuple):
    """The struct pthread of a thread, with its size, its DTV (0: none) and what it has of a stack.

    `lwp` is 0 where the thread has ended; `kept` says that nobody can join it any more: nptl has
    its stack for threads to come. The thread's pointer is `pointer`, that to the DTV lies at
    `dtv_at`. `keys` is where the first values of pthread keys are, and what leads to the others.
    """

    lwp: int
    pthread: int
    size: int
    pointer: int
    dtv: int
    dtv_at: int = 0
    kept: bool = False
    stack: tuple[int, int] | None = None
    keys: tuple[int, int] | None = None


class Module(NamedTuple):
    """A file with thread-local variables: its number in DTVs, what ld.so adds to its addresses, and
    where its block lies beside the thread pointer (0 or -1: nowhere).
    """

    number: int
    base: int
    offset: int


class Tcbs(NamedTuple):
    """All that was found, and why the rest is missing: None where nothing is."""

    tcbs: tuple[Tcb, ...]
    modules: tuple[Module, ...]
    missing: str | None


def find_tcbs(target: Target, libc: Libc) -> Tcbs:
    """Return every thread's own data, as far as nptl's lists lead to it."""
    descriptors, outer = Descriptors(target, libc), _outer(target)
    size = _size(target, descriptors)
    found: dict[int, Tcb] = {}
    mapped: list[int] = []
    missing = None
    try:
        for name, number in LISTS.items():
            for head in list_heads(target, libc, descriptors, {name: number}):
                for pthread in _members(target, descriptors, head):
                    tcb = _tcb(target, descriptors, pthread, size, name == KEPT)
                    found[pthread] = tcb._replace(lwp=outer.get(tcb.lwp, tcb.lwp))
                    mapped += [] if name == USERS else [pthread]
    except MemoryFault as fault:
        missing = f"nptl's list of threads can't be read at {fault.address:#x}"
    except LookupError as error:
        missing = str(error.args[0])
    offset = stackblock_offset(target, libc, mapped) if mapped else None
    with_stacks = _with_stacks(target, list(found.values()), offset)
    known = {tcb.lwp for tcb in with_stacks}
    others = [tcb for tcb in _by_pointer(target) if tcb.lwp not in known]
    modules = tuple(_modules(target, libc, descriptors))
    return Tcbs((*with_stacks, *others), modules, missing)


def _outer(target: Target) -> dict[int, int]:
    """Return LWPs by what they are in the process's own pid namespace."""
    threads = target.facts.threads
    return {thread.inner: thread.lwp for thread in threads if thread.inner is not None}


def _members(target: Target, descriptors: Descriptors, head: int) -> Iterator[int]:
    """Yield each struct pthread of a list; once, where it runs in a circle. LookupError where a
    core hasn't got it.
    """
    space, offset, seen = target.space, descriptors.offset("pthread_list"), {head}
    node = space.read_word(head)
    while node not in seen:
        if not target.facts.live and not_dumped(space, node):
            raise LookupError(NOT_DUMPED)
        seen.add(node)
        yield node - offset
        node = space.read_word(node)


def _tcb(target: Target, descriptors: Descriptors, pthread: int, size: int, kept: bool) -> Tcb:
    space = target.space
    lwp = 0 if kept else lwp_at(space, pthread + descriptors.offset("pthread_tid"))
    dtv_at = pthread + descriptors.offset("pthread_dtvp")
    dtv = space.read_word(dtv_at)
    below = releases.tls_below_thread_pointer(target.facts.machine)
    pointer = pthread if below else pthread + size
    keys = _keys(space, descriptors, pthread)
    return Tcb(lwp, pthread, size, pointer, dtv, dtv_at, kept, None, keys)


def _size(target: Target, descriptors: Descriptors) -> int:
    """Return the bytes of struct pthread."""
    with suppress(MemoryFault):
        if told := descriptors.number("sizeof_pthread"):
            return told
    described = target.struct("pthread", "tid")
    return described.size if described else PTHREAD_SIZE


def _keys(space: Space, descriptors: Descriptors, pthread: int) -> tuple[int, int] | None:
    """Return where the values of the first keys begin, and where the pointers to all of them end,
    which follow (nptl/descr.h: specific_1stblock, specific).
    """
    with suppress(LookupError):
        pointers = pthread + descriptors.offset("pthread_specific")
        first = space.read_word(pointers)
        if first == pointers - FIRST_KEYS * 2 * space.word:
            return first, pointers + LEVEL1 * space.word
    return None


def _with_stacks(target: Target, tcbs: list[Tcb], offset: int | None) -> list[Tcb]:
    """Return them with their stacks, given where struct pthread has stackblock; the main thread's
    is the kernel's.
    """
    if offset is None:
        return tcbs
    found = []
    for tcb in tcbs:
        words = target.space.words_before_gap(tcb.pthread + offset, 2)
        start, end = (words[0], sum(words)) if len(words) == 2 else (0, 0)
        whole = bool(start) and start < tcb.pthread < end
        found.append(tcb._replace(stack=(start, end)) if whole else tcb)
    return found


def _by_pointer(target: Target) -> Iterator[Tcb]:
    """Yield what lies at each thread's pointer: struct pthread, which begins with the pointer
    itself and the DTV (TLS_TCB_AT_TP: x86); else two words, the first of which is the DTV.
    """
    space, below = target.space, releases.tls_below_thread_pointer(target.facts.machine)
    for lwp, pointer in (target.probe.thread_pointers() or {}).items():
        with suppress(MemoryFault):
            own, dtv = space.words(pointer, 2)
            if below and own == pointer:
                yield Tcb(lwp, pointer, PTHREAD_SIZE, pointer, dtv)
            elif not below:
                yield Tcb(lwp, pointer - PTHREAD_SIZE, PTHREAD_SIZE, pointer, own)


def _modules(target: Target, libc: Libc, descriptors: Descriptors) -> Iterator[Module]:
    """Yield the modules that ld.so lists in its slotinfo (elf/dl-tls.c)."""
    space, word = target.space, target.space.word
    with suppress(LookupError, MemoryFault):
        row = descriptors.number("sizeof_dtv_slotinfo") or 2 * word
        names = ("len", "next", "slotinfo")
        to_len, to_next, to_rows = (descriptors.offset(f"dtv_slotinfo_list_{n}") for n in names)
        to_map = descriptors.offset("dtv_slotinfo_map")
        fields = ("modid", "offset")
        to_id, to_offset = (descriptors.offset(f"link_map_l_tls_{name}") for name in fields)
        node = space.read_word(_slotinfo(target, libc, descriptors))
        first, seen = 0, set[int]()
        while node and node not in seen and first < MOST_MODULES:
            seen.add(node)
            length = space.read_word(node + to_len)
            for number in range(first, min(first + length, MOST_MODULES)):
                link_map = space.read_word(node + to_rows + (number - first) * row + to_map)
                if link_map and space.read_word(link_map + to_id) == number:
                    offset = space.read_word(link_map + to_offset)
                    yield Module(number, space.read_word(link_map), offset)
            first, node = first + length, space.read_word(node + to_next)


def _slotinfo(target: Target, libc: Libc, descriptors: Descriptors) -> int:
    """Return where ld.so has the head of its slotinfo, which static programs have by themselves."""
    loader = find_variable(target, libc.image, RTLD_GLOBAL)
    if loader is not None:
        return loader + descriptors.offset(f"rtld_global_{SLOTINFO}")
    own = find_variable(target, libc.image, SLOTINFO)
    if own is None:
        raise LookupError(f"no {SLOTINFO} was found")
    return own


def block_of(target: Target, tcb: Tcb, module: Module) -> int | None:
    """Return where a module's variables begin for a thread, None where it has none yet."""
    space = target.space
    nothing = (0, UNALLOCATED % (1 << 8 * space.word))
    with suppress(MemoryFault):
        if tcb.dtv and module.number <= dtv_slot(space, tcb.dtv, -1):
            address = dtv_slot(space, tcb.dtv, module.number)
            if address not in nothing:
                return address
    below = releases.tls_below_thread_pointer(target.facts.machine)
    return tcb.pointer - module.offset if below and module.offset not in nothing else None


def blocks_owned(space: Space, tcb: Tcb) -> Iterator[int]:
    """Yield what a DTV has of its own: each block that was allocated, by its beginning (from 2.25,
    to_free in the second word of a slot) or by the variables in it.
    """
    with suppress(MemoryFault):
        count = min(dtv_slot(space, tcb.dtv, -1), MOST_MODULES) if tcb.dtv else 0
        words = space.words(tcb.dtv + 2 * space.word, 2 * count)
        nothing = (0, 1, UNALLOCATED % (1 << 8 * space.word))  # 1: is_static, to 2.24
        yield from (word for word in words if word not in nothing)
