"""The walk over the chunks of a region: streamed block by block, folded, nothing kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

from .bins import BUCKET, Overlay
from .errors import MemoryFault, Problem
from .layout import FLAGS, IS_MMAPPED, NON_MAIN_ARENA, PREV_INUSE, Layout
from .target import Target

BLOCK = 1 << BUCKET  # bytes read at once at most
SMALLEST_READ = 16 << 10  # bytes read behind a large chunk, whose inside nobody needs


@dataclass
class Tally:
    """What a walk found: chunks by size, those in use and those free by the boundary tags.

    The overlaid chunks are those of `used` that an Overlay names. `free_address_sum` identifies the
    set of free chunks without keeping it. `end` is where the walk ended: at its stop, or at what is
    no chunk. `last_in_use` is the last chunk in use that the program holds.
    """

    used: Counter[int] = field(default_factory=Counter)
    free: Counter[int] = field(default_factory=Counter)
    free_address_sum: int = 0
    overlaid_chunks: int = 0
    overlaid_bytes: int = 0
    last_in_use: int | None = None
    end: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of all chunks that were walked over."""
        return sum(size * count for size, count in chain(self.used.items(), self.free.items()))

    @property
    def free_chunks(self) -> int:
        return sum(self.free.values())

    @property
    def free_bytes(self) -> int:
        return sum(size * count for size, count in self.free.items())

    @property
    def used_chunks(self) -> int:
        return sum(self.used.values())

    @property
    def used_bytes(self) -> int:
        return sum(size * count for size, count in self.used.items())


def walk(
    target: Target, layout: Layout, start: int, stop: int, main: bool, overlay: Overlay
) -> Tally:
    """Fold the chunks from `start` up to `stop`, the top chunk or the end of a heap.

    A word smaller than MINSIZE ends the walk quietly (`end` < `stop`): the caller knows fenceposts.
    """
    walker = _Walker(target, layout, main, overlay)
    address = start
    try:
        while address < stop:
            following = walker.fold_block(address, stop)
            if following == address:
                break
            address = following
        walker.close(address)
    except MemoryFault as fault:
        statement = f"chunk header {fault.address:#x} cannot be read"
        walker.tally.problems.append(Problem("unreadable", statement, fault.address))
    except _BadChunkError as bad:
        walker.tally.problems.append(bad.problem)
        address = bad.address
    walker.tally.end = address
    return walker.tally


class _BadChunkError(Exception):
    def __init__(self, code: str, address: int, statement: str) -> None:
        super().__init__(statement)
        self.address = address
        self.problem = Problem(code, statement, address)


class _Walker:
    """Folds blocks of chunks; carries the last chunk of a block, whose state the next one tells."""

    def __init__(self, target: Target, layout: Layout, main: bool, overlay: Overlay) -> None:
        self.tally = Tally()
        self._target = target
        self._layout = layout
        self._overlay = overlay
        # Flags that every chunk's size word must have, PREV_INUSE apart, and which bits to look at.
        # Free chunks of non-main arenas lack NON_MAIN_ARENA, so only the main arena's is checked.
        self._forbidden = IS_MMAPPED | (NON_MAIN_ARENA if main else 0)
        self._window = SMALLEST_READ
        self._block, self._block_overlay = -1, frozenset[int]()
        self._carried: tuple[int, int] | None = None

    def fold_block(self, address: int, stop: int) -> int:
        """Fold the chunks that begin in one read from `address` on; return where the next lies."""
        end = min((address & -BLOCK) + BLOCK, stop, address + self._window)
        positions, words, following = self._scan(address, end)
        if not positions:
            return address
        self._window = SMALLEST_READ if following > end else min(2 * self._window, BLOCK)
        self._check(positions, words)
        overlay = self._overlay_of(address & -BLOCK)
        if overlay:
            self._meet(overlay, dict(zip(positions, words)), following)
        self._fold(positions, words, overlay)
        return following

    def _overlay_of(self, block: int) -> frozenset[int]:
        if block != self._block:
            self._block, self._block_overlay = block, self._overlay.within(block)
        return self._block_overlay

    def _meet(self, overlay: frozenset[int], words: dict[int, int], following: int) -> None:
        """Count the overlay's chunks in a block; each must be one that the walk came by."""
        start = next(iter(words))
        for chunk in overlay:
            if chunk in words:
                self.tally.overlaid_chunks += 1
                self.tally.overlaid_bytes += words[chunk] & ~FLAGS
            elif start <= chunk < following:
                statement = f"cached chunk {chunk:#x} does not lie where the walk finds chunks"
                self.tally.problems.append(Problem("cached_misplaced", statement, chunk))

    def _scan(self, address: int, end: int) -> tuple[list[int], list[int], int]:
        """Return addresses and size words of the chunks that begin in [address, end).

        This is the inner loop: one word a chunk, about 100 ns.
        """
        word = self._target.word
        base = address + word
        data = self._target.words(base, max((end - base) // word, 1))
        index, count = 0, len(data)
        smallest = self._layout.min_size
        indexes: list[int] = []
        append = indexes.append
        if word == 8:
            while index < count:
                size = data[index]
                if size < smallest:
                    break
                append(index)
                index += size >> 3
        else:
            while index < count:
                size = data[index]
                if size < smallest:
                    break
                append(index)
                index += size >> 3 << 1
        sizes = [data[i] for i in indexes]
        return [address + i * word for i in indexes], sizes, address + index * word

    def _check(self, positions: list[int], words: list[int]) -> None:
        """Raise at the first size word that no chunk can have."""
        bad = self._forbidden | (self._layout.alignment - 1 & ~FLAGS)
        if not any(word & bad for word in set(words)):
            return
        index = next(i for i, word in enumerate(words) if word & bad)
        self._fold(positions[:index], words[:index], frozenset())
        address = positions[index]
        statement = f"chunk {address:#x} has the impossible size word {words[index]:#x}"
        raise _BadChunkError("bad_size", address, statement)

    def _fold(self, positions: list[int], words: list[int], overlay: frozenset[int]) -> None:
        """Count the chunks whose successor is known; the last one is carried over."""
        if not positions:
            return
        if self._carried:
            positions = [self._carried[0], *positions]
            words = [self._carried[1], *words]
        sizes = Counter(words[:-1])
        free = [i for i, word in enumerate(words) if not word & PREV_INUSE and i]
        free_sizes = Counter(words[i - 1] for i in free)
        for word, count in sizes.items():
            self.tally.used[word & ~FLAGS] += count - free_sizes[word]
        for word, count in free_sizes.items():
            self.tally.free[word & ~FLAGS] += count
        self.tally.free_address_sum += sum(positions[i - 1] for i in free)
        self._note_last_in_use(positions, words, overlay)
        self._carried = positions[-1], words[-1]

    def _note_last_in_use(
        self, positions: list[int], words: list[int], overlay: frozenset[int]
    ) -> None:
        for i in range(len(words) - 1, 0, -1):
            if words[i] & PREV_INUSE and positions[i - 1] not in overlay:
                self.tally.last_in_use = positions[i - 1]
                return

    def close(self, address: int) -> None:
        """Fold the last chunk: the word after it (of top, or of a fencepost) tells its state."""
        if self._carried:
            word = self._target.read_word(address + self._target.word)
            overlay = self._overlay_of(self._carried[0] & -BLOCK)
            self._fold([address], [word], overlay)
            self._carried = None
