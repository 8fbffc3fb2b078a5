"""The pins of an arena, one by one and in groups, with what they look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MemoryFault, StoppedError
from ..heap.fast import is_fast
from ..heap.pingroups import Key, PageSum, PinGroups, size_and_state
from ..heap.pins import Pin, PinKind
from ..heap.states import State
from ..records import dataclass
from ..target.amounts import Amount, sum_of
from .looks import looks

if TYPE_CHECKING:
    from ..heap.arenas import Arena
    from ..heap.lives import Live, Lives
    from ..heap.pagepins import PagePin
    from ..snapshots.figures import ArenaFigures
    from .catalogue import Catalogue
    from .libc import Inventory


class Pinned(NamedTuple):
    """A pin of a libc's, and what its first chunk in use looks like; None without one."""

    pin: Pin
    looks: str | None
    libc: str


class PinGroup(NamedTuple):
    """Chunks that are alike, and what goes once all of them are gone; `size`, `state` and `looks`
    are None where theirs differ. `example` is one of them.
    """

    kind: PinKind
    arena: int
    size: int | None
    state: State | None
    looks: str | None
    chunks: int
    held: Amount
    example: int
    libc: str


@dataclass
class PagesKept:
    """The sink that has pages, each with the chunks that keep it from malloc_trim."""

    pages: dict[int, Lives] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return False

    def take(self, pin: PagePin) -> None:
        self.pages.update((held.page, held.lives) for held in (*pin.shared, *pin.pages))


def pages_kept(catalogue: Catalogue, address: int, around: range) -> Mapping[int, Lives]:
    """Return the pages around addresses of a heap that pins keep, and the chunks that do."""
    kept = PagesKept()
    for inventory in catalogue.inventories:
        arena = inventory.arena_at(address)
        if arena is not None:
            inventory.reading.walks.add_page_pins(arena, kept, around)
    return kept.pages


@dataclass(frozen=True)
class ArenaPins:
    """The pins of one arena, all of whose chunks were walked over."""

    catalogue: Catalogue
    inventory: Inventory
    figures: ArenaFigures

    @cached_property
    def _arena(self) -> Arena:
        return next(a for a in self.inventory.arenas if a.address == self.figures.address)

    def _pages(self, key: Key) -> PinGroups:
        """Return what keeps pages, in a walk over the arena; StoppedError if that is stopped."""
        groups, reading = PinGroups(key), self.inventory.reading
        reading.space.pace.begin("looking for pins", sum(h.size for h in self._arena.heaps))
        reading.walks.add_page_pins(self._arena, groups)
        reading.space.pace.check(self._arena.address)
        return groups

    def _amount(self, total: PageSum) -> Amount:
        space = self.inventory.reading.space
        return total.amount(space.page, space.residency is not None)

    def read(self, group: str | None) -> bool:
        """Read what keeps pages, by its groups; False where reading is stopped before the end."""
        try:
            needed = (self.by_size, self.by_looks) if group == "looks" else (self.by_size,)
            return bool(needed)
        except StoppedError:
            return False

    @cached_property
    def by_size(self) -> PinGroups:
        """What keeps pages, by the size of the chunks."""
        return self._pages(size_and_state)

    @property
    def pages_held(self) -> Amount | None:
        """What malloc_trim(0) would return more without all pins of pages; None without any."""
        return self._amount(self.by_size.whole) if self.by_size.whole else None

    def single(self) -> Iterator[Pinned]:
        """Yield the pins one by one: those that hold most of each kind."""
        ends = self.figures.pins
        for pin in ends:
            yield Pinned(pin, self._looks_of(self._used(pin), pin.state), self.figures.libc)
        for found in self.by_size.largest:
            heap = self._heap_of(found)
            if not any(pin.heap == heap and _holds(pin, found) for pin in ends):
                yield self._page_pin(found, heap)

    def _used(self, pin: Pin) -> list[int]:
        """Return a chunk of the program's that is in a pin: the first one, or the last below top.

        There is none where neither is: the first one is in a tcache or fastbin.
        """
        reading, last = self.inventory.reading, self.figures.last_in_use
        overlay = reading.walks.overlay(reading.arenas[self.figures.index])
        with suppress(MemoryFault):
            fast = is_fast(reading.space, overlay, pin.address)
            if not fast and pin.address not in overlay.cached:
                return [pin.address]
        return [last] if last is not None and pin.kind is PinKind.TOP else []

    def _heap_of(self, found: PagePin) -> int:
        """Return the heap that a pin lies in; of the main arena a part of it, as in the figures."""
        first = found.lives[0].address
        return max(heap.address for heap in self.figures.heaps if heap.address <= first)

    def _page_pin(self, found: PagePin, heap: int) -> Pinned:
        lives = found.lives
        used = [live.address for live in lives if not live.cached]
        owners = self._owners({live.address for live in lives if live.cached})
        own = self.inventory.reading.outline.caches.owners
        state = State.OVERHEAD if all(live.address in own for live in lives) else State.TCACHE
        total = PageSum(lives[0])
        for held in found.pages:
            total.add(held)
        pin = Pin(
            kind=PinKind.PAGE,
            address=lives[0].address,
            size=sum(live.size for live in lives),
            chunks=len(lives),
            state=State.IN_USE if used else state,
            threads=tuple(sorted(owners)),
            arena=self.figures.index,
            heap=heap,
            held=self._amount(total),
        )
        return Pinned(pin, self._looks_of(used, pin.state), self.figures.libc)

    def _owners(self, chunks: set[int]) -> set[int]:
        """Return the threads whose tcaches hold some of these chunks, or are some."""
        caches = self.inventory.reading.outline.caches
        own = {lwp for chunk, lwp in caches.owners.items() if chunk in chunks}
        holders = caches.holders(self.figures.index) if chunks else ()
        return own | {lwp for lwp, held in holders if not chunks.isdisjoint(held)}

    def _looks_of(self, chunks: Iterable[int], state: State) -> str | None:
        """Return what these chunks look like, if they are in use: where that differs, as most of
        them do.
        """
        found = Counter(looks(self.catalogue, chunk) for chunk in chunks if state is State.IN_USE)
        most = next((name for name, _ in found.most_common() if name is not None), None)
        if most is None or self.inventory.reading.space.pace.stopped:  # or it couldn't be read
            return None
        return f"{most}, …" if len(found) > 1 else most

    def of_size(self) -> Iterator[PinGroup]:
        """Yield the groups of the chunks of one size."""
        alike, last = self.figures.whatif and self.figures.whatif.alike, self.figures.last_in_use
        if alike and last is not None and alike.short:
            seen = self._looks_of([last], State.IN_USE)
            shown = alike.size, State.IN_USE, seen, alike.chunks, alike.held, last
            yield PinGroup(PinKind.TOP, alike.arena, *shown, self.figures.libc)
        for total in self.by_size.groups.values():
            state = self._state(total.example)
            seen = self._looks_of(total.first, state)
            yield self._group(total, total.example.size, state, seen)

    def of_looks(self) -> Iterator[PinGroup]:
        """Yield the groups of the chunks that look alike."""
        seen: dict[str | None, list[Pin]] = {}
        for each in self.single():
            if each.pin.kind is not PinKind.PAGE:
                seen.setdefault(each.looks, []).append(each.pin)
        for look, pins in seen.items():
            yield from self._ends(pins, look)
        groups = self.by_looks
        for total in groups.groups.values():
            state, look = self._look(total.example)
            yield self._group(total, None, state, look)

    @cached_property
    def by_looks(self) -> PinGroups:
        """What keeps pages, by what the chunks look like."""
        return self._pages(self._look)

    def mixed(self, group: str) -> int:
        """Return the bytes of pages that chunks of several groups keep only together."""
        found = self.by_looks if group == "looks" else self.by_size
        own = sum(self._amount(total).in_ram for total in found.groups.values())
        return self._amount(found.whole).in_ram - own if found.whole else 0

    def _look(self, live: Live) -> tuple[State, str | None]:
        state = self._state(live)
        return state, looks(self.catalogue, live.address) if state is State.IN_USE else None

    def of_arena(self) -> Iterator[PinGroup]:
        """Yield what all pins hold together."""
        yield from self._ends(list(self.figures.pins), None)
        if self.by_size.whole:
            yield self._group(self.by_size.whole, None, None, None)

    def _state(self, live: Live) -> State:
        own = self.inventory.reading.outline.caches.owners
        cached = State.OVERHEAD if live.address in own else State.TCACHE
        return cached if live.cached else State.IN_USE

    def _group(
        self, total: PageSum, size: int | None, state: State | None, seen: str | None
    ) -> PinGroup:
        shown = size, state, seen, total.chunks, self._amount(total), total.example.address
        return PinGroup(PinKind.PAGE, self.figures.index, *shown, self.figures.libc)

    def _ends(self, pins: list[Pin], seen: str | None) -> Iterator[PinGroup]:
        """Yield what free() would return without these pins of top and heaps: from the end on."""
        together = list(from_the_end(pins, [heap.address for heap in self.figures.heaps]))
        if together:
            first, states = together[0], {pin.state for pin in together}
            sizes = {pin.size for pin in together if pin.chunks == 1} if seen else set()
            size = sizes.pop() if len(sizes) == 1 and all(p.chunks == 1 for p in together) else None
            state = first.state if len(states) == 1 else None
            chunks, held = sum(p.chunks for p in together), sum_of(p.held for p in together)
            shown = size, state, seen, chunks, held, first.address
            yield PinGroup(first.kind, first.arena, *shown, self.figures.libc)


def _holds(pin: Pin, found: PagePin) -> bool:
    """Tell whether a pin of top, or of its whole heap, holds the pages of one there, too."""
    return pin.kind is PinKind.HEAP or found.lives[0].address >= pin.address


def from_the_end(pins: Iterable[Pin], heaps: list[int]) -> Iterator[Pin]:
    """Yield those of an arena's pins that hold what they do once those before them are gone: each
    heap's chunks keep what lies before it.
    """
    newest = len(heaps) - 1
    for pin in pins:
        if newest < 0 or pin.heap != heaps[newest]:
            return
        yield pin
        newest -= pin.kind is PinKind.HEAP


Groups = Callable[[ArenaPins], Iterator[PinGroup]]
BY: dict[str, Groups] = {
    "size": ArenaPins.of_size,
    "looks": ArenaPins.of_looks,
    "arena": ArenaPins.of_arena,
}
