"""Why memory stays: chunks lie above it that aren't free, or that only a thread may use."""

from __future__ import annotations

from collections.abc import Iterator

from ..heap.pins import Pin
from ..heap.states import State
from ..report.model import Finding, counted, size_text
from ..snapshots.figures import ArenaFigures
from .sums import SHOWN, Case, each_arena

NO_TCACHE = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 when it starts"


def gained(arena: ArenaFigures) -> int | None:
    """Return what free() would return if tcaches held nothing of an arena; None if unknown."""
    it = arena.whatif
    return None if it is None else it.tcaches.by_free.in_ram - it.now.by_free.in_ram


def cached_pins(case: Case) -> Iterator[Finding]:
    """Free memory that nothing but tcaches keeps at the end of an arena."""
    found = [(gained(arena) or 0, arena) for arena in case.snapshot.arenas()]
    then = sum(
        arena.whatif.tcaches.by_trim.in_ram for gain, arena in found if gain and arena.whatif
    )
    yield Finding(
        "cached_pins",
        sum(gain for gain, _ in found),
        "only freed chunks in tcaches pin this: free() would return it without them. Nothing else "
        "lies above it in its arena.",
        (
            *each_arena(
                found, lambda gain, arena: f"{_last(case, arena)}; {_of_whom(case, arena)}"
            ),
            *([f"malloc_trim(0) would then return {size_text(then)} more"] if then else ()),
        ),
        f"{NO_TCACHE}. The price is a lock for every malloc and free. Or end the threads that hold "
        "them: that empties a tcache, and in a quiet process nothing else does. malloc_trim(0) "
        "leaves it as it is, and returns the whole pages below.",
    )


def _of_whom(case: Case, arena: ArenaFigures) -> str:
    """Say what free() would return, if all tcaches held nothing there, or if one thread ended."""
    gain, threads = gained(arena) or 0, arena.whatif.threads if arena.whatif else {}
    text = f"without tcaches free() would return {size_text(gain)}"
    ended = [(lwp, amount.in_ram) for lwp, amount in threads.items() if amount.in_ram]
    return text + "".join(
        f", if thread {lwp} ended {size_text(size)}" for lwp, size in ended if size != gain
    )


def pinned(case: Case) -> Iterator[Finding]:
    """Free memory below chunks in use."""
    found = [(_below_in_use(case, arena), arena) for arena in case.snapshot.arenas()]
    yield Finding(
        "pinned",
        sum(amount for amount, _ in found),
        f"chunks in use lie above free memory, and pin it{_at_most(case)}. free() returns only the "
        "end of top, so one live chunk keeps all that is beneath it.",
        each_arena(found, lambda amount, arena: _what_pins(case, amount, arena)),
        "Free the long-lived chunks, or allocate them before the load. malloc_trim(0) reaches the "
        "whole pages below them. heapx chunk ADDRESS shows what such a chunk holds.",
    )


def _below_in_use(case: Case, arena: ArenaFigures) -> int:
    above = arena.whatif.above.in_ram if arena.whatif else 0
    return case.reachable(arena) - above


def _at_most(case: Case) -> str:
    """Say where it isn't known which of it are whole pages."""
    return "" if case.snapshot.walked else "; at most this, without a walk"


def _what_pins(case: Case, amount: int, arena: ArenaFigures) -> str:
    """Say what lies last below top, and what that alone keeps: the next one keeps the rest."""
    it = arena.whatif
    if it is None or it.last is None:
        return f"a chunk below top pins {size_text(amount)}"
    text = f"{size_text(amount)}; {_last(case, arena)}, without which free() would return "
    text += _returned(it.last.held.in_ram)
    alike = it.alike
    if alike is None or alike.chunks <= it.last.chunks or alike.held.in_ram <= it.last.held.in_ram:
        return text
    return (
        f"{text}; without the last {alike.chunks:,} of {alike.size:,} bytes "
        f"{_returned(alike.held.in_ram)}"
    )


def _returned(size: int) -> str:
    return size_text(size) if size else "nothing"


def _last(case: Case, arena: ArenaFigures) -> str:
    last = arena.whatif.last if arena.whatif else None
    return f"{told(case, last)} is last below top" if last else "nothing is below top"


def told(case: Case, pin: Pin) -> str:
    """Return which chunks a pin is, and whose: `chunk 0x… of 48 bytes, in use,`."""
    which = f"chunk {pin.address:#x} of {pin.size:,} bytes"
    if pin.chunks > 1:
        which = f"{pin.chunks:,} chunks of {pin.size:,} bytes from {pin.address:#x}"
    return f"{which}, {state_of(pin, _names(case))},"


def state_of(pin: Pin, names: dict[int, str | None]) -> str:
    """Return what state a pin is in, and whose tcache holds it."""
    if pin.state is State.IN_USE:
        return "in use"
    if pin.state is State.FAST:
        return "in a fastbin"
    some = [f"{lwp} ({names[lwp]})" if names.get(lwp) else f"{lwp}" for lwp in pin.threads]
    whose = f" of thread {', '.join(some)}" if 0 < len(some) < SHOWN else ""
    return f"in the tcache{whose}" if pin.state is State.TCACHE else f"the tcache itself{whose}"


def _names(case: Case) -> dict[int, str | None]:
    caches = (cache for malloc in case.snapshot.mallocs for cache in malloc.caches)
    return {cache.tcache.lwp: cache.name for cache in caches}


def tcaches(case: Case) -> Iterator[Finding]:
    """What is in tcaches."""
    threads = [cache for malloc in case.snapshot.mallocs for cache in malloc.caches]
    caches = [(each.tcache.amount.bytes, each) for each in threads]
    caches.sort(key=lambda pair: -pair[0])
    yield Finding(
        "tcaches",
        case.amount(State.TCACHE),
        f"freed chunks in the tcaches of {counted(len(caches), 'thread')}, for nobody else.",
        tuple(
            f"thread {each.tcache.lwp}{f' ({each.name})' if each.name else ''}: "
            f"{size_text(size)} in {counted(each.tcache.chunks, 'chunk')}"
            for size, each in caches[:SHOWN]
            if size
        ),
        f"{NO_TCACHE}, at the price of a lock for every malloc and free. {_without_tcaches(case)}",
    )


def _without_tcaches(case: Case) -> str:
    """Say what is returned once the tcaches hold nothing, and what stays in the arenas."""
    gains = [gained(arena) for arena in case.snapshot.arenas()]
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        return "How much free() then returns isn't known."
    free = f"free() would then return {_returned(sum(known))}"
    return f"{free}; what remains is of use to every thread."


def fast(case: Case) -> Iterator[Finding]:
    """What is in fastbins."""
    arenas = case.snapshot.arenas()
    number = sum(arena.chunks[State.FAST] for arena in arenas)
    freed = sum(a.whatif.now.by_free.in_ram for a in arenas if a.whatif and a.chunks[State.FAST])
    then = f", and then returns {size_text(freed)}" if freed else ""
    yield Finding(
        "fast",
        case.amount(State.FAST),
        f"{counted(number, 'chunk')} in fastbins: freed, but not merged with what is around them.",
        each_arena(
            [(case.of(arena, State.FAST), arena) for arena in arenas],
            lambda amount, arena: f"{size_text(amount)} in {arena.chunks[State.FAST]:,}",
        ),
        f"malloc_trim(0) merges them. So does any free that makes 64 KiB{then}. mallopt(M_MXFAST, "
        "0) turns fastbins off.",
    )
