"""Consecutive chunks of a heap, as a walk hands them on: by their tags, and by what lists have."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import cached_property
from itertools import chain, islice

from ..glibc.layout import FLAGS, PREV_INUSE, PREV_SIZE, SIZE
from ..records import dataclass
from ..target.space import Words
from .places import NOWHERE
from .states import State
from .told import GRAIN, Linked, pick


@dataclass  # not frozen: it is settled in place, and then labelled
class Run:
    """Consecutive chunks, each with its state known: the size word behind the last one was read.

    `used` and `free` are those in use and those free by their tags: the index of each in grains
    from `start`, in order; `used_by` and `free_by` are the same by size word. `fields` are what
    lies every GRAIN bytes from the first prev_size, size, fd, bk, fd_nextsize and bk_nextsize on.
    `foot` and `following` are prev_size and size word at `end`, where the next chunk lies; `feet`
    is the sum of the prev_size behind the free ones.

    Of those in use `listed` are in fastbins that were followed, and `told` are fast by their links,
    by size; `cached`, by their addresses, are in tcaches. `claimed` are those that an Overlay names
    though their tags say that they are free.
    """

    start: int
    end: int
    used: list[int]
    used_by: dict[int, list[int]]
    free: list[int]
    free_by: dict[int, list[int]]
    fields: tuple[Words, ...]
    following: int
    foot: int
    feet: int
    listed: Sequence[int] = ()
    told: dict[int, Linked] = field(default_factory=dict)
    cached: frozenset[int] = NOWHERE
    claimed: dict[int, State] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.used) + len(self.free)

    def of(self, chunks: Sequence[int], field: int) -> tuple[int, ...]:
        """Return a field of chunks, by its number in `fields`."""
        return pick(chunks, self.fields[field])[0]

    @cached_property
    def fast(self) -> Sequence[int]:
        """The chunks in fastbins, in order."""
        told = (linked.chunks for linked in self.told.values())
        return sorted(chain(self.listed, *told)) if self.told else self.listed

    @property
    def overlaid_bytes(self) -> int:
        """Bytes of the chunks that are in fastbins and tcaches."""
        told = sum([size * len(linked.chunks) for size, linked in self.told.items()])
        listed = sum([word & ~FLAGS for word in self.of(self.listed, SIZE)])
        return told + listed + sum(map(self.size_at, self.cached))

    @property
    def free_addresses(self) -> list[int]:
        """Where each free chunk lies."""
        return self.addresses_of(self.free)

    def addresses_of(self, chunks: Sequence[int]) -> list[int]:
        start = self.start
        return [start + i * GRAIN for i in chunks]

    @cached_property
    def largest_free(self) -> int:
        """The size of the largest free chunk; 0 without any."""
        return max(self.free_by, default=0) & ~FLAGS

    @cached_property
    def chunks(self) -> list[int]:
        """All of them, in order."""
        return sorted(chain(self.used, self.free))

    @property
    def words(self) -> Sequence[int]:
        """The size word of each chunk."""
        return self.of(self.chunks, SIZE)

    @cached_property
    def addresses(self) -> list[int]:
        """Where each chunk lies."""
        return self.addresses_of(self.chunks)

    @property
    def states(self) -> bytes:
        """The State of each chunk; of a free one that it is BINNED, since tags don't tell where.

        Where a list has it, that counts: tags are in the next header, which an overflow overwrites.
        """
        used, free = State.IN_USE, State.BINNED
        following = chain(islice(self.words, 1, None), (self.following,))
        states = bytearray([used if word & PREV_INUSE else free for word in following])
        for index in self.fast:
            states[bisect_left(self.chunks, index)] = State.FAST
        for address in self.cached:
            states[bisect_left(self.addresses, address)] = State.TCACHE
        for address, state in self.claimed.items():
            states[bisect_left(self.addresses, address)] = state
        return bytes(states)

    def backwards(self) -> Iterator[tuple[int, int, State]]:
        """Yield the chunks, the last one first: address, size and state, which for a free one is
        BINNED whatever list names it.
        """
        all_used, all_free, all_fast = map(reversed, (self.used, self.free, self.fast))
        used, free, fast = next(all_used, -1), next(all_free, -1), next(all_fast, -1)
        end = self.end
        while (index := max(used, free)) >= 0:
            address, state = self.start + index * GRAIN, State.IN_USE
            if index == free:
                state, free = State.BINNED, next(all_free, -1)
            else:
                used = next(all_used, -1)
                if index == fast:
                    state, fast = State.FAST, next(all_fast, -1)
                elif address in self.cached:
                    state = State.TCACHE
            yield address, end - address, state
            end = address

    def size_at(self, chunk: int) -> int:
        return self.fields[SIZE][(chunk - self.start) // GRAIN] & ~FLAGS

    def foot_of(self, index: int) -> int:
        """Return prev_size behind the chunk at this index."""
        behind = index + self.fields[SIZE][index] // GRAIN
        end = self.start + behind * GRAIN
        return self.foot if end == self.end else self.fields[PREV_SIZE][behind]
