"""What malloc would do now with a request: in one thread, or in one arena without a tcache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field, replace

from ..errors import MemoryFault, UnreadError
from ..glibc.layout import align_up
from ..records import dataclass
from ..snapshots.reading import MallocReading
from ..target.granting import NOTHING_KNOWN, Granting, Refusal
from .arenas import empty_bins
from .int_malloc import Asking, int_malloc
from .limits import ArenaLimits
from .malloc import Caller, malloc
from .overlay import Source, Written, known
from .replay import Merging, Mstate, Replay, Served, Untold
from .rules import rules_of, variable
from .sysmalloc import sysmalloc
from .tcache import read_tcache

STACK_GAP = 256  # pages that the kernel keeps free below a stack


@dataclass(frozen=True)
class Fit:
    """What malloc does with a request: where the chunk comes from, where it is, its size, what is
    split off behind it, and by how many bytes malloc's memory grows.

    `source` is one of SOURCES; None where it can't be told, for this `reason`. `arena` is the index
    of the arena that malloc looks in, None of one that is made for it. The address is None of
    memory that isn't there yet. `merging` is what the arena's fast chunks became, None where they
    stayed as they were. `refused` is why the kernel gives malloc no memory for it: then malloc
    returns NULL, or of one arena alone tries another; all else is what it would do if it did.
    """

    thread: int | None
    arena: int | None
    request: int
    libc: str
    source: str | None = None
    chunk_size: int | None = None
    address: int | None = None
    remainder: int | None = None
    grows: int | None = None
    reason: str | None = None
    refused: Refusal | None = None
    merging: Merging | None = field(default=None, repr=False, compare=False)

    @property
    def refused_by(self) -> str | None:
        """The limit by which the kernel refuses it."""
        return None if self.refused is None else self.refused.limit


SOURCES = (
    *("tcache", "fast", "small", "unsorted", "large", "top"),
    *("extend", "new_heap", "new_arena", "mmap", "fails"),
)


def fit(
    reading: MallocReading,
    request: int,
    lwp: int | None = None,
    arena: int | None = None,
    source: Source | None = None,
) -> Fit:
    """Return what a malloc of so many bytes does now: in a thread, else in the arena of this index,
    without any tcache. All other threads are taken not to be inside malloc. `source` is for several
    ones, as long as the target stands still.
    """
    where = Fit(lwp, arena, request, reading.libc.path)
    try:
        return _replayed(reading, where, source or Source(reading.space))
    except Untold as untold:
        return replace(where, reason=untold.statement)
    except UnreadError as fault:
        return replace(where, reason=f"what lies at {fault.address:#x} {fault.why}")
    except MemoryFault as fault:
        return replace(where, reason=f"what lies at {fault.address:#x} can't be read")


def fits(reading: MallocReading, requests: Sequence[int], lwp: int | None = None) -> Iterator[Fit]:
    """Yield what each of these requests alone would do now: in a thread, else in each arena."""
    indexes = [None] if lwp is not None else [arena.index for arena in reading.arenas]
    source = Source(reading.space)
    for index in indexes:
        for request in requests:
            yield fit(reading, request, lwp, index, source)


def _replayed(reading: MallocReading, where: Fit, source: Source) -> Fit:
    """Return what malloc does, as far as the kernel grants it memory."""
    _refuse_others(reading)
    replay = replay_of(reading, source, reading.target.granting())
    found = _followed(reading, replay, where)
    if found is not None:
        return found
    granted = replay_of(reading, source)
    found = _followed(reading, granted, where) if replay.refusal else None
    if found is not None:
        return replace(found, refused=replay.refusal)
    if where.thread is None:
        raise Untold(f"what arena {where.arena} gets is trimmed at once: another one serves")
    return replace(where, source="fails", grows=replay.grown)


def _followed(reading: MallocReading, replay: Replay, where: Fit) -> Fit | None:
    """Return what malloc does; None where it gets nothing."""
    if where.request > replay.rules.largest_request:
        return replace(where, source="fails", grows=0)
    if where.thread is None:
        arena = next(each for each in replay.arenas.values() if each.index == where.arena)
        served = int_malloc(replay, arena, Asking(), where.request)
        return None if served is None else _told(replay, where, arena, served)
    caller = _caller(reading, replay, where.thread)
    served = malloc(replay, caller, where.request)
    if served is None:
        return None
    return _told(replay, where, caller.arena or replay.arenas.get(caller.attached), served)


def source_beyond(reading: MallocReading, request: int, index: int, topped: int) -> str | None:
    """Return where an arena's malloc gets a chunk from, as Fit.source, if nothing free fits there,
    and `topped` bytes before top have merged with it; None where that can't be told.
    """
    try:
        _refuse_others(reading)
        replay = replay_of(reading, Source(reading.space))
        arena = next(each for each in replay.arenas.values() if each.index == index)
        size = replay.size(arena.top) + topped
        arena.top -= topped
        replay.set_head(arena.top, size)
        served = sysmalloc(replay, arena, replay.rules.chunk_size(request))
    except (Untold, MemoryFault):
        return None
    return served.source if served else None


def _refuse_others(reading: MallocReading) -> None:
    """Untold where what serves malloc isn't _int_malloc alone."""
    if reading.libc.debugs is not None:
        raise Untold("libc_malloc_debug.so serves malloc, which pads requests by rules of its own")
    if _hooked(reading):
        raise Untold("a __malloc_hook serves malloc: MALLOC_CHECK_ sets one, or the program")


def _hooked(reading: MallocReading) -> bool:
    """Tell whether malloc calls a hook instead (to 2.33); the first malloc has one of its own."""
    if reading.libc.layout.release >= (2, 34) or not reading.arenas[0].top:
        return False
    return bool(variable(reading, "__malloc_hook", reading.space.word))


def _told(replay: Replay, where: Fit, arena: Mstate | None, served: Served) -> Fit:
    return replace(
        where,
        arena=arena.index if arena else None,
        source=served.source,
        chunk_size=served.size,
        address=known(served.chunk),
        remainder=served.remainder,
        grows=replay.grown,
        merging=replay.merging.get(arena.address) if arena else None,
    )


def replay_of(reading: MallocReading, source: Source, granting: Granting = NOTHING_KNOWN) -> Replay:
    """Return what one libc's malloc has at hand."""
    rules = rules_of(reading)
    arenas = {
        arena.address: Mstate.of(arena.record, arena.main, arena.index, rules.layout)
        for arena in reading.arenas
    }
    brk = reading.program_break
    above = None if brk is None else _above(reading, brk)
    memory, page = Written(source), reading.space.page
    replay = Replay(rules.layout, rules, memory, arenas, page, brk, above, granting)
    main = arenas[reading.libc.main_arena]
    if not main.top:  # to 2.41 the first malloc makes it what it is
        main.top = rules.layout.bin_at(main.address, 1)
        empty_bins(replay, main)
    return replay


def _above(reading: MallocReading, brk: int) -> int | None:
    """Return up to where the break may move: the next mapping, None without."""
    page = reading.space.page
    nearest = min(
        (m for m in reading.space.mappings if m.start >= align_up(brk, page)),
        key=lambda mapping: mapping.start,
        default=None,
    )
    if nearest is None:
        return None
    return nearest.start - (STACK_GAP * page if nearest.name == "[stack]" else 0)


def _caller(reading: MallocReading, replay: Replay, lwp: int) -> Caller:
    """Return a thread as malloc finds it; Untold where its own data isn't known."""
    caches, rules = reading.outline.caches, replay.rules
    if lwp not in caches.thread_arena:
        raise Untold(f"thread {lwp}'s own data wasn't found")
    found = {cache.tcache.lwp: cache.tcache.address for cache in caches.caches}
    thread = Asking()
    if lwp in found:
        thread.tcache = read_tcache(replay, reading.space, found[lwp])
    elif rules.layout.tcache is not None and _lost(reading, lwp):
        raise Untold(f"the tcache of thread {lwp} can't be read")
    else:
        thread.inactive = rules.tcache_comes_late
    attached = caches.thread_arena[lwp]
    if not attached and lwp == reading.target.facts.pid:
        attached = reading.libc.main_arena  # what the first malloc gives the first thread
    return Caller(thread, attached, ArenaLimits(reading, rules))


def _lost(reading: MallocReading, lwp: int) -> bool:
    caches = reading.outline.caches
    return caches.missing is not None or any(each.thread == lwp for each in caches.problems)
