"""The stacks that nptl mapped for threads."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import MemoryFault
from ..target.space import Space
from ..target.target import Target
from .libcs import Libc
from .nptl import STACKS_MAPPED, Descriptors, list_heads, lwp_at

PTHREAD_WORDS = 256  # of struct pthread that hold stackblock in every release
AT_END = 1 << 16  # bytes of a stack that follow its struct pthread at most


class Stack(NamedTuple):
    """The memory that nptl gave a thread: stack, guard and struct pthread. LWP 0: it has ended."""

    start: int
    end: int
    lwp: int


def thread_stacks(target: Target, libc: Libc) -> tuple[Stack, ...]:
    """Return the stacks that nptl mapped, with those it keeps for threads to come.

    Empty where they can't be found. Stacks that the program brought itself are its own memory.
    """
    space = target.space
    nodes: dict[int, int] = {}  # struct pthread's list node, and the thread's LWP
    try:
        descriptors = Descriptors(target, libc)
        to_node, to_tid = descriptors.offset("pthread_list"), descriptors.offset("pthread_tid")
        for head in list_heads(target, libc, descriptors, STACKS_MAPPED):
            node = space.read_word(head)
            while node != head and node not in nodes:
                nodes[node] = lwp_at(space, node - to_node + to_tid)
                node = space.read_word(node)
    except (MemoryFault, LookupError):
        pass  # the walk over the threads has told already
    pthreads = {node - to_node: lwp for node, lwp in nodes.items()}
    offset = stackblock_offset(target, libc, list(pthreads)) if pthreads else None
    if offset is None:
        return ()
    blocks = ((space.words_before_gap(p + offset, 2), lwp) for p, lwp in pthreads.items())
    stacks = (Stack(words[0], sum(words), lwp) for words, lwp in blocks if len(words) == 2)
    return tuple(sorted(stack for stack in stacks if stack.start < stack.end))


def stackblock_offset(target: Target, libc: Libc, pthreads: list[int]) -> int | None:
    """Return where struct pthread has stackblock and, behind it, stackblock_size.

    Without debug info it is the one place that in every thread holds a block of pages around the
    struct itself: nptl puts it at the end of the stack.
    """
    space = target.space
    described = target.struct("pthread", "stackblock")
    if described is not None:
        return described["stackblock"].offset
    found: set[int] | None = None
    for pthread in pthreads:
        words = space.words_before_gap(pthread, PTHREAD_WORDS)  # the stack may end before
        pairs = enumerate(zip(words, words[1:]))
        here = {i for i, (start, size) in pairs if _holds(space, start, size, pthread)}
        if not here and len(words) < PTHREAD_WORDS:
            continue  # it tells nothing
        found = here if found is None else found & here
    return min(found) * space.word if found else None


def _holds(space: Space, start: int, size: int, pthread: int) -> bool:
    whole_pages = not start % space.page and not size % space.page
    return whole_pages and start < pthread < start + size < pthread + AT_END
