"""The tcache of every thread, and the arenas that its chunks lie in."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..errors import UNREAD, MemoryFault, Problem, StoppedError, UnreadError
from ..glibc import releases
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout
from ..locate.libcs import Libc
from ..locate.nptl import Block, Blocks, thread_blocks
from ..report.model import Note
from ..report.notes import note
from ..target.amounts import Amount, amount_less, sum_of
from ..target.facts import Thread
from ..target.space import Record, Residency, Space
from ..target.target import Target
from .arenas import Arena, Heap, HeapIndex
from .bins import Bin, FreeList, bin_of
from .links import Links, Trail
from .lists import Visit, tcache_chunks, tcache_list
from .places import Places
from .states import State
from .threadvars import Offsets, find_offsets, has_no_tcache, stored_counts

TCACHE_LIMIT = 1 << 16  # a tcache counts in 16 bits
LARGEST_CACHED = 4 << 20  # the tunable glibc.malloc.tcache_max is at most this (2.42)


@dataclass(frozen=True)
class Tcache:
    """One thread's cache. `address` is its struct's, `stored` what its counters claim."""

    lwp: int
    address: int
    bins: tuple[Bin, ...]
    stored: int
    problems: tuple[Problem, ...]

    @property
    def chunks(self) -> int:
        return sum(b.chunks for b in self.bins)

    @property
    def amount(self) -> Amount:
        return sum_of(b.amount for b in self.bins)


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
            tcache = _read(space, libc, block, address, index, links, places, caches)
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


def _read(
    space: Space,
    libc: Libc,
    block: Block,
    address: int,
    index: HeapIndex,
    links: Links,
    places: Places,
    caches: Caches,
) -> Tcache:
    heap: Heap | None = None
    counts, held, strays = Counter[int](), array("Q"), list[int]()

    def visit(chunk: int, size: int, absent: int, swapped: int, shared: int) -> None:
        nonlocal heap, counts, held
        if heap is None or chunk not in heap:  # most lie in one
            heap = index.at(chunk)
            if heap is None:
                mmapped = links.word(chunk + space.word) & IS_MMAPPED
                (caches.mmapped.add if mmapped else strays.append)(chunk)
                return
            counts, held = caches.counting(heap.arena, block.lwp)
        counts[size] += 1
        held.append(chunk)
        places.add(chunk)
        if absent or shared:
            caches.absent[heap.arena] += absent
            caches.swapped[heap.arena] += swapped
            caches.shared[heap.arena] += shared

    fill = libc.parameters["tcache_count"]
    tcache = read_tcache(space, libc.layout, block, address, fill, links, visit)
    caches.problems += _strays(block.lwp, index, strays)
    chunk = address - libc.layout.header
    if index.at(chunk) is not None:
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


def read_tcache(
    space: Space,
    layout: Layout,
    block: Block,
    address: int,
    fill: int,
    links: Links,
    visit: Visit,
) -> Tcache:
    """Return the tcache at `address`; `visit` gets each cached chunk (lists.follow).

    `fill` is mp_.tcache_count: from 2.42 the counters count down from it.
    """
    bins: list[Bin] = []
    problems: list[Problem] = []
    assert layout.tcache is not None
    record = space.read_struct(layout.tcache, address)
    heads = record.array("entries", space.word)
    stored = stored_counts(record, len(heads), fill)
    for index, claimed in enumerate(stored):
        if not heads[index] and not claimed:
            continue
        bounds = layout.tcache_range(index)
        chunks = tcache_chunks(layout, links, heads[index], claimed, _within(bounds))
        if chunks is not None:
            amount = _visited(space.residency, chunks, visit)
            bins.append(Bin(State.TCACHE, index, *bounds, claimed, amount))
            continue
        each = _list(layout, block.lwp, record, links, index, heads[index])
        followed = each.follow(space.residency, visit)
        if any(problem.code == UNREAD for problem in followed.problems):
            raise StoppedError(address)
        if followed.chunks:
            bins.append(bin_of(space, each, followed))
        lost = max(claimed - followed.chunks, 0)
        behind = f"; {lost} chunks that it counts were not reached, and count as in use"
        problems += (
            replace(problem, statement=problem.statement + behind if lost else problem.statement)
            for problem in followed.problems
        )
        if followed.chunks != claimed and not followed.problems:
            statement = f"{each.name} counts {claimed} chunks, its list holds {followed.chunks}"
            problems.append(Problem("tcache_count", statement, address))
    return Tcache(block.lwp, address, tuple(bins), sum(stored), tuple(problems))


def _visited(
    residency: Residency | None, chunks: Iterable[tuple[int, int]], visit: Visit
) -> Amount:
    """Visit each of these chunks; return what they are together."""
    total = absent = swapped = shared = 0
    gone = out = common = 0
    for chunk, size in chunks:
        if residency:
            gone, out, common = residency.missing(chunk, chunk + size)
        visit(chunk, size, gone, out, common)
        total, absent, swapped, shared = total + size, absent + gone, swapped + out, shared + common
    return amount_less(residency, total, absent, swapped, shared)


def _within(bounds: tuple[int, int | None]) -> tuple[int, int]:
    return bounds[0], bounds[1] or LARGEST_CACHED


def tcache_lists(
    space: Space, layout: Layout, lwp: int, record: Record, links: Links
) -> list[FreeList]:
    """Return all lists of one thread's tcache, the empty ones too."""
    heads = enumerate(record.array("entries", space.word))
    return [_list(layout, lwp, record, links, index, head) for index, head in heads]


def _list(
    layout: Layout, lwp: int, record: Record, links: Links, index: int, head: int
) -> FreeList:
    bounds = layout.tcache_range(index)
    name = f"tcache bin {index} of thread {lwp}"
    field = record.address_of("entries") + index * layout.word
    trail = Trail(links, field, layout.header, layout.reveal)
    chunks = partial(tcache_list, name, layout, links, head, _within(bounds))
    return FreeList(State.TCACHE, index, bounds, name, TCACHE_LIMIT, trail, chunks)
