"""The tcache of every thread, and the arenas that its chunks lie in."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import MemoryFault, Problem, StoppedError, UnreadError
from ..glibc import releases
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout
from ..locate.libcs import Libc
from ..locate.nptl import Block, Blocks, thread_blocks
from ..records import dataclass
from ..report.model import Note
from ..report.notes import note
from ..target.amounts import Amount, amount_less
from ..target.facts import Thread
from ..target.space import Residency, Space
from ..target.target import Target
from .arenas import SMALL, Arena, Heap, HeapIndex
from .library import library
from .links import Links
from .places import Places
from .tcache import Tcache, read_tcache
from .threadvars import Offsets, find_offsets, has_no_tcache

if TYPE_CHECKING:
    from .chains import Nearby

STEP = 32 << 10  # bytes: of a small heap a page is read in each


@dataclass(frozen=True)
class ThreadCache:
    """One thread's tcache with the thread's name."""

    name: str | None
    tcache: Tcache


@dataclass
class Caches:
    """All tcaches of one libc; by arena index what they hold there.

    `sizes` counts their chunks by size, `absent` their bytes that aren't resident, `swapped` those
    of them that are swapped, `shared` those resident in another process, too, `held` has their
    addresses by arena and thread. `structs` are the tcaches themselves, which are chunks too, in
    order, each with its bytes, `owners` tells whose; `mmapped` are mmapped chunks that a tcache
    holds (from 2.43). `missing` says why tcaches are missing.
    """

    how: str
    missing: Note | None = None
    caches: tuple[ThreadCache, ...] = ()
    thread_arena: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, Counter[int]] = field(default_factory=dict)
    absent: Counter[int] = field(default_factory=Counter)
    swapped: Counter[int] = field(default_factory=Counter)
    held: dict[int, dict[int, array[int]]] = field(default_factory=dict)
    shared: Counter[int] = field(default_factory=Counter)
    structs: list[tuple[int, int]] = field(default_factory=list)
    owners: dict[int, int] = field(default_factory=dict)
    mmapped: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def counting(self, arena: int, lwp: int) -> tuple[Counter[int], array[int]]:
        """Return what counts an arena's chunks by size, and takes the addresses of a thread's."""
        held = self.held.setdefault(arena, {}).setdefault(lwp, array("Q"))
        return self.sizes.setdefault(arena, Counter()), held

    def sizes_in(self, arena: int) -> Counter[int]:
        """Return how many of an arena's chunks they hold, by size."""
        return self.sizes.get(arena, Counter())

    def holders(self, arena: int) -> Iterable[tuple[int, array[int]]]:
        """Return the threads that hold chunks of an arena, each with their addresses."""
        return self.held.get(arena, {}).items()

    def structs_in(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        """Return the tcaches that lie in [start, end): address and size of each."""
        return self.structs[bisect_left(self.structs, (start,)) : bisect_left(self.structs, (end,))]

    def amount_in(self, arena: int, residency: Residency | None) -> Amount:
        """Return what they hold of an arena's chunks."""
        size = sum(size * count for size, count in self.sizes_in(arena).items())
        missing = self.absent[arena], self.swapped[arena], self.shared[arena]
        return amount_less(residency, size, *missing)


def read_caches(
    target: Target,
    libc: Libc,
    arenas: Sequence[Arena],
    index: HeapIndex,
    links: Links,
    places: Places,
) -> Caches:
    """Return the tcaches of every thread; they and their chunks are added to `places`."""
    if libc.debugs:  # it has one arena, for all threads (malloc/malloc-check.c)
        every = {thread.lwp: libc.main_arena for thread in target.facts.threads}
        return Caches("libc_malloc_debug.so has no tcache", thread_arena=every)
    if libc.layout.tcache is None:
        return Caches(f"glibc {libc.layout.release[0]}.{libc.layout.release[1]} has no tcache")
    blocks = thread_blocks(target, libc)
    space, threads = target.space, target.facts.threads
    offsets = find_offsets(space, libc, blocks, arenas, index)
    served = any(arena.system for arena in arenas)
    missing = _missing(threads, blocks) or (_not_located(libc, blocks, offsets) if served else None)
    caches = Caches(f"{blocks.how}; offset by {offsets.how}", missing)
    if blocks.damaged is not None:
        statement = f"{blocks.missing} at {blocks.damaged:#x}"
        caches.problems.append(Problem("thread_list", statement, blocks.damaged))
    if blocks.unread is not None:
        caches.problems.append(blocks.unread.problem("the data of threads"))
    names = {thread.lwp: thread.name for thread in threads}
    nearby = _nearby(space, libc.layout)
    found = []
    for block in blocks.blocks:
        try:
            if offsets.thread_arena is not None:
                arena = space.read_word(block.address + offsets.thread_arena)
                caches.thread_arena[block.lwp] = arena
            if offsets.tcache is None:
                continue
            address = space.read_word(block.address + offsets.tcache)
            if has_no_tcache(libc, address):
                continue
            tcache = _read(space, libc, block, address, index, links, places, caches, nearby)
        except UnreadError as fault:
            caches.problems.append(fault.problem(f"the tcache of thread {block.lwp}"))
            caches.thread_arena.pop(block.lwp, None)  # that it has no tcache isn't known
            continue
        except MemoryFault as fault:
            statement = f"the tcache of thread {block.lwp} cannot be read at {fault.address:#x}"
            caches.problems.append(
                Problem("bad_tcache", statement, fault.address, thread=block.lwp)
            )
            continue
        caches.problems += (_placed(p, block.lwp, index) for p in tcache.problems)
        found.append(ThreadCache(names.get(block.lwp), tcache))
    caches.structs.sort()
    if space.pace.missed:  # whatever it was, some may be missing
        caches.problems.append(StoppedError(0).problem("the tcaches"))
    caches.caches = tuple(sorted(found, key=lambda cache: cache.tcache.lwp))
    return caches


def _placed(problem: Problem, lwp: int, index: HeapIndex) -> Problem:
    """Return a tcache's problem with its thread, and the arena whose chunk is concerned."""
    heap = index.at(problem.address or 0) if problem.code != "tcache_count" else None
    return replace(problem, thread=lwp, arena=heap.arena if heap else None)


def _missing(threads: Sequence[Thread], blocks: Blocks) -> Note | None:
    """Tell of how many threads the tcaches are missing, and why; None where of none."""
    if blocks.missing is None:
        return None
    known = {block.lwp for block in blocks.blocks}
    lost = sum(thread.lwp not in known for thread in threads)
    return note("tcaches_missing", lost=lost, threads=len(threads), why=blocks.missing)


def _not_located(libc: Libc, blocks: Blocks, offsets: Offsets) -> Note | None:
    """Tell that no thread's tcache was found, where there may be some."""
    if offsets.tcache is not None or not blocks.blocks or not libc.parameters["tcache_count"]:
        return None
    return note("no_tcache")


@dataclass
class _Keeper:
    """Adds the chunks that one thread holds to `caches` and `places`; `strays` lie in no heap."""

    caches: Caches
    index: HeapIndex
    places: Places
    links: Links
    lwp: int
    strays: list[int] = field(default_factory=list)
    _heap: Heap | None = None
    _counts: Counter[int] = field(default_factory=Counter)
    _held: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, chunk: int, size: int, absent: int, swapped: int, shared: int) -> None:
        heap = self._heap_of(chunk)
        if heap is None:
            mmapped = self.links.chunk(chunk)[0] & IS_MMAPPED
            (self.caches.mmapped.add if mmapped else self.strays.append)(chunk)
            return
        self._count([chunk], {size: 1})
        if absent or shared:
            self.caches.absent[heap.arena] += absent
            self.caches.swapped[heap.arena] += swapped
            self.caches.shared[heap.arena] += shared

    def add_all(self, chunks: Sequence[int], sizes: Mapping[int, int]) -> bool:
        heap = self._heap_of(chunks[0])
        if heap is None or min(chunks) not in heap or max(chunks) not in heap:
            return False
        self._count(chunks, sizes)
        return True

    def _heap_of(self, chunk: int) -> Heap | None:
        if self._heap is None or chunk not in self._heap:  # most lie in one
            self._heap = self.index.at(chunk)
            if self._heap is not None:
                self._counts, self._held = self.caches.counting(self._heap.arena, self.lwp)
        return self._heap

    def _count(self, chunks: Sequence[int], sizes: Mapping[int, int]) -> None:
        self._counts.update(sizes)
        self._held.extend(chunks)
        self.places.update(chunks)


def _read(
    space: Space,
    libc: Libc,
    block: Block,
    address: int,
    index: HeapIndex,
    links: Links,
    places: Places,
    caches: Caches,
    nearby: Nearby | None,
) -> Tcache:
    keeper = _Keeper(caches, index, places, links, block.lwp)
    fill = libc.parameters["tcache_count"]
    chunk = address - libc.layout.header
    home = index.at(chunk)
    beside = _throughout(home) if home else ()  # most of its lists stay there
    quick = partial(nearby.lists, home) if nearby and home else None
    tcache = read_tcache(space, libc.layout, block, address, fill, links, keeper, beside, quick)
    caches.problems += _strays(block.lwp, index, keeper.strays)
    if home is not None:
        size = links.word(chunk + space.word) & ~FLAGS
        sizes = releases.tcache_sizes(libc.layout)
        if size not in sizes:
            statement = f"the tcache of thread {block.lwp} is a chunk of size {size:#x}"
            caches.problems.append(Problem("bad_tcache", statement, chunk, thread=block.lwp))
            size = sizes[0]
        caches.structs.append((chunk, size))
        caches.owners[chunk] = block.lwp
        places.add(chunk)
    return tcache


def _nearby(space: Space, layout: Layout) -> Nearby | None:
    """Return what follows lists in small heaps, None where that isn't compiled."""
    code = library(space).code
    if code is None:
        return None
    from .chains import Nearby  # by ctypes, which some Pythons lack

    return Nearby(code, space, layout)


def _throughout(heap: Heap) -> Iterable[int]:
    """Return addresses all over a small heap, between which no list is followed into the blue."""
    return (*range(heap.first, heap.end, STEP), heap.end - 1) if heap.size <= SMALL else ()


def _strays(lwp: int, index: HeapIndex, chunks: list[int]) -> Iterator[Problem]:
    """Yield one problem for the cached chunks that lie in the bounds of each arena, but not in what
    it uses, and one for those that lie in no arena's.
    """
    heaps: dict[int | None, list[int]] = {}
    for chunk in chunks:
        heap = index.reserved_at(chunk)
        heaps.setdefault(heap.arena if heap else None, []).append(chunk)
    for arena, strays in heaps.items():
        where = "in no heap" if arena is None else f"beyond what arena {arena} uses of its heaps"
        many = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        lie = "lie" if many else "lies"
        statement = f"the tcache of thread {lwp} holds {strays[0]:#x}{many}, which {lie} {where}"
        yield Problem("tcache_stray", statement, strays[0], arena, lwp)
