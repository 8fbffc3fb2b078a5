"""Hash tables whose nodes aren't all at hand: these are read while the target stands still."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import MemoryFault, StoppedError
from ..glibc.layout import align_down
from ..heap.holes import missing
from ..records import dataclass
from ..target.space import Space
from .kinds import Code, gives_way

if TYPE_CHECKING:
    from array import array

    from ..held.held import Held
    from ..held.index import HeldChunk

TABLE_WORDS = 3
WINDOW = 1 << 16  # bytes read at once: nodes that follow each other often lie near each other
MOST_READ = 1 << 16  # windows: scattered nodes need one each


class HashTable(NamedTuple):
    """Where the memory of a table's buckets begins, and its first node, and how many nodes."""

    buckets: int
    first: int
    nodes: int


@dataclass
class Window:
    """Memory of a target from an address on."""

    start: int = 0
    data: bytearray = field(default_factory=bytearray)

    def has(self, address: int) -> bool:
        return 0 <= address - self.start < len(self.data)

    def word(self, address: int, space: Space) -> int:
        at = address - self.start
        return int.from_bytes(self.data[at : at + space.word], space.byteorder)


class Marking(Protocol):
    """What was found of containers so far: each chunk's mark, and tables that aren't marked yet."""

    @property
    def marks(self) -> array[int]: ...

    @property
    def tables(self) -> list[HashTable]: ...

    def along(self, at: int, left: int, mark: int, window: Window) -> tuple[int, int]:
        """Go along nodes, as long as they are at hand or in a window; return where the next one
        lies, and how many are left. They get a mark, if it isn't 0.
        """


def mark_tables(finder: Marking, held: Held) -> None:
    """Mark the buckets and nodes of tables; StoppedError where no more is read."""
    reader = _Reader(held)
    for table in finder.tables:
        buckets = held.index.begin_at(table.buckets)
        if buckets is None or not gives_way(finder.marks[buckets.rank]):
            continue
        if _goes_to_the_end(finder, table, Code.UNRECOGNISED, reader):
            finder.marks[buckets.rank] = Code.BUCKETS
            _goes_to_the_end(finder, table, Code.HASH_NODE, reader)


def _goes_to_the_end(finder: Marking, table: HashTable, mark: Code, reader: _Reader) -> bool:
    """Tell whether there are so many nodes, of which the last one leads nowhere."""
    reader.begin(half=not mark)
    at, left = finder.along(table.first, table.nodes, mark, reader.window)
    while left and reader.bring(at):
        at, left = finder.along(at, left, mark, reader.window)
    return (at, left) == (0, 0)


class _Reader:
    """Reads windows, as many as may be: for one way along a table, or half of them, which leaves as
    many for another.
    """

    def __init__(self, held: Held) -> None:
        self.window = Window()
        self._held, self._space, self._left = held, held.target.space, MOST_READ
        self._may, self._met = 0, set[int]()

    def begin(self, half: bool) -> None:
        self.window = Window()
        self._may, self._met = self._left // 2 if half else self._left, set()

    def bring(self, node: int) -> bool:
        """Bring the window that has a node which isn't at hand; return whether there is one."""
        held, page = self._held, self._space.page
        chunk = held.index.begin_at(node)
        if chunk is None or held.lots.has(chunk.region) or not self._may or node in self._met:
            return False  # where it was met before, they go round
        self._left, self._may = self._left - 1, self._may - 1
        self._met.add(node)
        return self._read(chunk, node, WINDOW) or self._read(chunk, node, page)

    def _read(self, chunk: HeldChunk, node: int, size: int) -> bool:
        """Read what lies around a node, no more than its page where there is some in swap."""
        index, space = self._held.index, self._space
        start = max(align_down(node, size), index.starts[chunk.region])
        end = min(align_down(node, size) + size, index.ends[chunk.region])
        _, swapped, _ = missing(space.residency, start, end)
        if swapped and size > space.page:
            return False
        try:
            self.window = Window(start, bytearray(space.memory.read(start, end - start)))
        except StoppedError:
            raise
        except MemoryFault:
            return False
        return True
