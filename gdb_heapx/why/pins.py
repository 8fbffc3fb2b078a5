"""Why memory stays: chunks lie above it that aren't free, or that only a thread may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..heap.states import State
from ..report.model import Finding, Worth, counted, size_text
from .breaks import below_a_gap
from .groups import gained, in_pages_of, last_alike
from .order import Part, spread
from .sums import SHOWN, Case, each_arena, free_chunks

if TYPE_CHECKING:
    from ..heap.pins import Pin
    from ..snapshots.figures import ArenaFigures

NO_TCACHE = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 when it starts"


def cached_pins(case: Case) -> Iterator[Finding]:
    """Free memory that nothing but tcaches keeps at the end of an arena.

    What free() would return is exact for this heap. Without tcaches the program would have built
    another one, so that is only likely what a restart gives.
    """
    found = [(gained(arena) or 0, arena) for arena in case.snapshot.arenas()]
    wins = [arena.whatif for gain, arena in found if gain and arena.whatif]
    then = sum(it.tcaches.by_trim.in_ram for it in wins)
    trimmed = f"{size_text(then)} of {'this arena' if len(wins) == 1 else 'these arenas'}"
    holders = {lwp for it in wins if it.last for lwp in it.last.threads}
    end = "" if holders <= {case.snapshot.target.pid} else "Or end the threads that hold them. "
    yield Finding(
        "cached_pins",
        sum(gain for gain, _ in found),
        "only freed chunks in tcaches pin this: free() would return it without them. Nothing else "
        "lies above it in its arena.",
        (
            *each_arena(
                case, found, lambda gain, arena: f"{_last(case, arena)}{_all(gain, arena)}"
            ),
            *([f"without them malloc_trim(0) would return {trimmed}"] if then else ()),
        ),
        f"{NO_TCACHE}. The price is a lock for every malloc and free. {end}A tcache is emptied "
        "when its thread ends; in a quiet process nothing else does that. malloc_trim(0) leaves "
        "it as it is, and returns the whole pages below.",
        Worth(case.retained, likely=sum(gain for gain, _ in found)),
        about=spread(Part.BELOW, found),
    )


def _all(gain: int, arena: ArenaFigures) -> str:
    """Say what all tcaches hold there, or the thread that has the last chunk, if that is more."""
    it = arena.whatif
    if it is None or it.last is None:
        return ""
    held, text = it.last.held.in_ram, ""
    for lwp, amount in it.threads.items():
        if held < amount.in_ram < gain:
            text += f"; without the tcache of thread {lwp} free() would return "
            text += size_text(amount.in_ram)
    return text if gain == held else f"{text}; without all tcaches {size_text(gain)}"


def pinned(case: Case) -> Iterator[Finding]:
    """Free memory below chunks in use."""
    found = [(_below_in_use(case, arena), arena) for arena in case.snapshot.arenas()]
    size = sum(amount for amount, _ in found)
    yield Finding(
        "pinned",
        size,
        f"chunks in use lie above free memory, and pin it{_at_most(case)}{_group(case, size)}. "
        "free() returns only the end of top, so one live chunk keeps all that is beneath it.",
        each_arena(case, found, lambda amount, arena: _what_pins(case, amount, arena)),
        "Free the long-lived chunks, or allocate them before the load. malloc_trim(0) reaches the "
        "whole pages below them. heapx pins tells which they are, heapx chunk ADDRESS what such a "
        "chunk holds.",
        about=spread(Part.BELOW, found),
    )


def _below_in_use(case: Case, arena: ArenaFigures) -> int:
    above = arena.whatif.above.in_ram if arena.whatif else 0
    return 0 if below_a_gap(arena) else case.reachable(arena) - above


def _group(case: Case, size: int) -> str:
    """Name the group that holds most: at the ends of arenas, or in pages much of that size."""
    group = max(last_alike(case), in_pages_of(case, size)).told
    return f": {group}" if group else ""


def _at_most(case: Case) -> str:
    """Say where it isn't known which of it are whole pages."""
    return "" if case.snapshot.walked else "; at most this, without a walk"


def _what_pins(case: Case, amount: int, arena: ArenaFigures) -> str:
    """Say what lies last below top, and what that alone holds: the next one holds the rest."""
    it = arena.whatif
    if it is None or it.last is None:
        return f"a chunk below top pins {size_text(amount)}"
    text, alike = f"{size_text(amount)}; {_last(case, arena)}", it.alike
    more = alike and alike.short and alike.chunks > it.last.chunks
    if alike and more and alike.held.in_ram > it.last.held.in_ram:
        held = size_text(alike.held.in_ram)
        those = " and those in tcaches" if alike.cached else ""
        text += f"; the last {alike.chunks:,} of {alike.size:,} bytes{those} hold {held}"
    return text


def _or_nothing(size: int) -> str:
    return size_text(size) if size else "nothing"


def _last(case: Case, arena: ArenaFigures) -> str:
    """Say what lies last below top, and what free() would return if it were gone."""
    last = arena.last
    if last is None:
        return "nothing is below top"
    held, where = last.held.in_ram, f"last below top: {told(case, last)}"
    if not held:
        return f"{where}; without {'it' if last.chunks == 1 else 'them'} free() returns no more"
    return f"{where}, {'holds' if last.chunks == 1 else 'hold'} {size_text(held)}"


def told(case: Case, pin: Pin) -> str:
    """Return which chunks a pin is, and whose: `chunk 0x… of 48 bytes, in use`."""
    which = f"chunk {pin.address:#x} of {pin.size:,} bytes"
    if pin.chunks > 1:
        which = f"{pin.chunks:,} chunks of {pin.size:,} bytes from {pin.address:#x}"
    return f"{which}, {state_of(pin, _names(case))}"


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
    amounts = [(case.of(arena, State.TCACHE), arena) for arena in case.snapshot.arenas()]
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
        about=spread(Part.TCACHE, amounts),
    )


def _without_tcaches(case: Case) -> str:
    """Say what is returned once the tcaches hold nothing, and what stays in the arenas."""
    gains = [gained(arena) for arena in case.snapshot.arenas()]
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        return "How much free() then returns isn't known."
    free = f"free() would then return {_or_nothing(sum(known))}"
    return f"{free}; what remains is of use to every thread."


def fast(case: Case) -> Iterator[Finding]:
    """What is in fastbins."""
    arenas = case.snapshot.arenas()
    amounts = [(case.of(arena, State.FAST), arena) for arena in arenas]
    number = sum(arena.chunks[State.FAST] for arena in arenas)
    freed = sum(a.whatif.now.by_free.in_ram for a in arenas if a.whatif and a.chunks[State.FAST])
    then = f", and then returns {size_text(freed)}" if freed else ""
    yield Finding(
        "fast",
        case.amount(State.FAST),
        f"{counted(number, 'chunk')} in fastbins: freed, but not merged with what is around them.",
        each_arena(
            case,
            amounts,
            lambda amount, arena: f"{size_text(amount)} in {arena.chunks[State.FAST]:,}",
        ),
        f"malloc_trim(0) merges them. So does any free that makes 64 KiB{then}. mallopt(M_MXFAST, "
        "0) turns fastbins off.",
        about=free_chunks(amounts),
    )
