"""Bytes of a glibc heap, made by hand, and a Target that reads them. No gdb, no glibc.

The builder follows malloc.c and arena.c, not the package: it has its own bin index, and keeps its
own book of what it made. Chunks are laid out in the order in which they are added.
"""

from __future__ import annotations

import random
import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gdb_heapx.errors import MemoryFault
from gdb_heapx.glibc import releases
from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.glibc.layout import Layout, Member, Struct
from gdb_heapx.target.facts import Facts, Thread
from gdb_heapx.target.headers import PT_LOAD, Segment
from gdb_heapx.target.images import Image
from gdb_heapx.target.mappings import Mapping, Usage, check_range
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED, UNTOUCHED, ZERO
from gdb_heapx.target.space import Space
from gdb_heapx.target.target import Local, Registers, Target

PAGE = 4096
PTHREAD = 512  # bytes of struct pthread with the DTV and the block behind it
USED, FREE, UNSORTED, FAST, TCACHE, STRUCT = "used", "free", "unsorted", "fast", "tcache", "struct"
PAGE_STATES = (UNTOUCHED, RESIDENT, SWAPPED, ZERO, SHARED)


class Machine(NamedTuple):
    """One kind of target."""

    word: int
    byteorder: str
    architecture: Architecture
    page: int = PAGE


AMD64 = Machine(8, "little", Architecture.X86_64)
I386 = Machine(4, "little", Architecture.I386)  # MALLOC_ALIGNMENT is four words
ARM = Machine(4, "little", Architecture.ARM)  # MALLOC_ALIGNMENT is two words
S390X = Machine(8, "big", Architecture.S390)
ARM64 = Machine(8, "little", Architecture.AARCH64, 64 << 10)
MACHINES = {"amd64": AMD64, "i386": I386, "arm": ARM, "s390x": S390X}


def up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def bin_index(word: int, alignment: int, size: int) -> int:
    """Return the bin as malloc.c's macros do: in_smallbin_range, smallbin_index, largebin_index."""
    correction = 1 if alignment > 2 * word else 0
    if size < (64 - correction) * alignment:
        return (size >> 4 if alignment == 16 else size >> 3) + correction
    first = {(8, 16): (48, 48), (4, 16): (45, 49), (4, 8): (38, 56)}[word, alignment]
    for shift, (last, base) in ((6, first), (9, (20, 91)), (12, (10, 110)), (15, (4, 119))):
        if size >> shift <= last:
            return base + (size >> shift)
    return 124 + (size >> 18) if size >> 18 <= 2 else 126


class Pages:
    """A Residency of the states it is told; every other page is resident, but for reserved ones.

    Nobody may ask for more at once than a process of this builder has.
    """

    LIMIT = 1 << 32

    def __init__(self, page: int = PAGE) -> None:
        self.page = page
        self._states: dict[int, int] = {}
        self._reserved: set[tuple[int, int]] = set()

    def reserve(self, start: int, end: int) -> None:
        """Let nobody have touched the pages of [start, end) that have no other state."""
        self._reserved.add((start // self.page, end // self.page))

    def mark(self, start: int, end: int, state: int) -> None:
        """Give the pages that hold [start, end) a state."""
        self._states.update(dict.fromkeys(self._numbers(start, end), state))

    def mark_at_random(self, seed: random.Random, start: int, end: int) -> None:
        """Give [start, end) runs of a few pages of every state."""
        while start < end:
            stop = min(start + self.page * seed.choice([1, 1, 2, 3, 10]), end)
            self.mark(start, stop, seed.choice(PAGE_STATES))
            start = stop

    def state(self, address: int) -> int:
        return self._state(address // self.page)

    def _state(self, number: int) -> int:
        found = self._states.get(number)
        if found is None:
            reserved = any(first <= number < stop for first, stop in self._reserved)
            return UNTOUCHED if reserved else RESIDENT
        return found

    def states(self, start: int, end: int) -> bytes:
        return bytes(map(self._state, self._numbers(start, end)))

    def held(self, start: int, end: int, *states: int) -> int:
        """Return how many bytes of [start, end) lie in pages of these states."""
        numbers = [n for n in self._numbers(start, end) if self._state(n) in states]
        page = self.page
        return sum(min(end, (n + 1) * page) - max(start, n * page) for n in numbers)

    def missing(self, start: int, end: int) -> tuple[int, int, int]:
        kinds = (RESIDENT, SHARED, SWAPPED)
        private, shared, swapped = (self.held(start, end, state) for state in kinds)
        return end - start - private - shared, swapped, shared

    def _numbers(self, start: int, end: int) -> range:
        assert 0 <= end - start <= self.LIMIT, "that range comes from damaged memory"
        return range(start // self.page, -(-end // self.page))


class Memory:
    """Bytes by region; what lies in none can't be read."""

    def __init__(self) -> None:
        self.regions: dict[int, bytearray] = {}
        self.reads: list[tuple[int, int]] = []

    def region(self, address: int, size: int) -> tuple[bytearray, int]:
        for start, data in self.regions.items():
            if start <= address and address + size <= start + len(data):
                return data, address - start
        raise MemoryFault(address, size)

    def read(self, address: int, size: int) -> memoryview:
        check_range(address, size)
        self.reads.append((address, size))
        data, offset = self.region(address, size)
        return memoryview(bytes(data[offset : offset + size]))

    def write(self, address: int, data: bytes) -> None:
        region, offset = self.region(address, len(data))
        region[offset : offset + len(data)] = data


@dataclass(frozen=True)
class File:
    """An ELF file that has nothing but functions, and words among its constants."""

    functions: frozenset[str] = frozenset()
    words: bytes = b""
    relocatable: bool = True
    architecture: Architecture = Architecture.X86_64
    imported: frozenset[str] = frozenset()

    def segments(self) -> tuple[Segment, ...]:
        return (Segment(PT_LOAD, 5, 0, 0, PAGE, PAGE),)

    def segment(self, kind: int) -> Segment | None:
        return next((s for s in self.segments() if s.kind == kind), None)

    def build_id(self) -> str | None:
        return None

    def needed(self) -> tuple[str, ...]:
        return ()

    def function(self, name: str) -> int | None:
        return 64 if name in self.functions else None

    def has(self, words: bytes) -> bool:
        return words in self.words

    def imports(self, name: str) -> bool:
        return name in self.imported

    def search(self, pattern: bytes) -> re.Match[bytes] | None:
        return re.search(pattern, self.words)

    def variable(self, name: str) -> int | None:
        return None

    exported = thread_local = variable


@dataclass
class Symbols:
    """The fake libc's symbols: addresses by name, structs, offsets of thread-local variables."""

    path: str
    addresses: dict[str, int]
    structs: dict[str, Struct]
    tls: dict[str, int]
    build_id: str | None = "0123abcd"

    def address(self, name: str) -> int | None:
        return self.addresses.get(name)

    def struct(self, name: str) -> Struct | None:
        return self.structs.get(name)

    def tls_offset(self, name: str) -> int | None:
        return self.tls.get(name)


@dataclass
class Cache:
    """One thread with a tcache: its struct's address, and the user addresses in each bin."""

    lwp: int
    name: str
    arena: ArenaBuilder
    address: int = 0
    pthread: int = 0
    stack: tuple[int, int] = (0, 0)
    entries: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class ArenaBuilder:
    """One arena: its `chunks` (address, size, state) in order.

    `book` counts them by state, and their bytes under (state, "bytes").
    """

    heap: HeapBuilder
    index: int
    address: int = 0
    base: int = 0
    cursor: int = 0
    previous: tuple[str, int, int] | None = None
    system: int = 0
    overhead: int = 0
    top: int = 0
    top_size: int = 0
    contiguous: bool = True
    heaps: list[tuple[int, int]] = field(default_factory=list)
    bins: dict[int, list[int]] = field(default_factory=dict)
    fast: dict[int, list[int]] = field(default_factory=dict)
    chunks: list[tuple[int, int, str]] = field(default_factory=list)
    book: Counter = field(default_factory=Counter)
    last_in_use: int | None = None

    @property
    def layout(self) -> Layout:
        return self.heap.layout

    @property
    def main(self) -> bool:
        return self.index == 0

    def add(self, state: str, size: int, cache: Cache | None = None) -> int:
        """Add a chunk of `size` bytes, and return its address."""
        assert size % self.layout.alignment == 0
        assert size >= self.layout.min_size
        address, is_free = self.cursor, state in (FREE, UNSORTED)
        assert not (is_free and self._after_free()), "glibc merges neighbours that are free"
        flags = 0 if self.main or is_free else 4
        self.heap.put(address + self.heap.word, size | self._prev_inuse() | flags)
        self._foot()
        self.previous, self.cursor = (state, address, size), address + size
        self.chunks.append((address, size, state))
        self.book[state] += 1
        self.book[state, "bytes"] += size
        if state == USED:
            self.last_in_use = address
        elif state in (FREE, UNSORTED):
            word, alignment = self.heap.word, self.layout.alignment
            bin_ = 1 if state == UNSORTED else bin_index(word, alignment, size)
            self.bins.setdefault(bin_, []).append(address)
        elif state == FAST:
            index = (size >> (4 if self.heap.word == 8 else 3)) - 2
            self.fast.setdefault(index, []).append(address)
        elif state == TCACHE:
            index = (size - self.layout.min_size) // self.layout.alignment
            cache.entries.setdefault(index, []).append(address + self.layout.header)
        return address

    def _after_free(self) -> bool:
        return self.previous is not None and self.previous[0] in (FREE, UNSORTED)

    def _prev_inuse(self) -> int:
        return 0 if self._after_free() else 1

    def _foot(self) -> None:
        if self._after_free():
            self.heap.put(self.cursor, self.previous[2])

    def used_up_to(self, address: int) -> None:
        """Add one chunk in use that ends at `address`."""
        self.add(USED, address - self.cursor)

    def leave(self, room: int) -> None:
        """Add a chunk in use so that `room` bytes remain up to the end of a page."""
        self.used_up_to(up(self.cursor + room + self.layout.min_size, self.heap.page) - room)

    def close(self, size: int = PAGE) -> None:
        """Put top at the end: at least `size` bytes, up to the end of a page."""
        assert not self._after_free(), "glibc merges a free chunk into top"
        self.top = self.cursor
        end = up(self.cursor + size, self.heap.page)
        self.top_size = end - self.cursor
        self.heap.put(self.top + self.heap.word, self.top_size | 1)
        self._end_region(end)

    def _end_region(self, end: int) -> None:
        self.heaps.append((self.base, end))
        self.system += end - self.base

    def supersede(self, room: int) -> None:
        """End a thread arena's heap with an old top of `room` bytes, and begin another heap.

        sysmalloc: "Setup fencepost and free the old top chunk".
        """
        put, word, header = self.heap.put, self.heap.word, self.layout.header
        room += self.layout.first_chunk(0)  # i386: chunks lie at 8 modulo 16, heaps end at a page
        self.leave(room)
        body = (room - self.layout.min_size) & -self.layout.alignment
        old_top, end = self.cursor, self.cursor + room
        put(old_top + body + header + word, 1)
        if body >= self.layout.min_size:
            self.add(UNSORTED, body)
            put(old_top + body + word, header)
            put(old_top + body + header, header)
            self._foot()
        else:
            put(old_top + word, (body + header) | 1)
        self.overhead += end - self.cursor
        self._end_region(end)
        self.begin_heap()

    def _fence(self, room: int) -> int:
        """End a segment of the main arena as sysmalloc does; return its end."""
        put, word, header = self.heap.put, self.heap.word, self.layout.header
        room += self.layout.first_chunk(0)  # i386: chunks lie at 8 modulo 16, heaps end at a page
        self.leave(room)
        body = (room - 2 * header) & -self.layout.alignment
        old_top, end = self.cursor, self.cursor + room
        put(old_top + word, body | 1)
        fence = old_top + body
        if body >= self.layout.min_size:
            self.add(UNSORTED, body)
            self._foot()
        put(fence + word, header | (1 if body < self.layout.min_size else 0))
        put(fence + header + word, header | 1)
        self.overhead += end - self.cursor
        return end

    def foreign_sbrk(self, gap: int, room: int = 512) -> int:
        """Let another user of sbrk take `gap` bytes above an old top of `room`; return the gap."""
        end = self._fence(room)
        first = self.layout.first_chunk(end + gap)
        self.overhead += first - end
        self.cursor, self.previous = first, None
        return end

    def next_region(self, address: int, room: int = 512) -> None:
        """Let the main arena go on in a mapping of its own: it isn't contiguous any more."""
        self._end_region(self._fence(room))
        self.contiguous = False
        self.begin_region(address)

    def begin_region(self, address: int) -> None:
        self.base, self.previous = address, None
        self.cursor = self.layout.first_chunk(address)
        self.overhead += self.cursor - address

    def begin_heap(self) -> None:
        """Begin a heap of a thread arena, with the malloc_state in the first one."""
        self.base, self.previous = self.heap.next_heap(), None
        info = self.layout.heap_info.size
        self.cursor = self.base + info
        if not self.heaps:
            self.address = self.base + info
            self.cursor = self.layout.first_chunk(self.address + self.layout.state.size)
        self.overhead += self.cursor - self.base


@dataclass(frozen=True)
class Answers:
    """A debugger that is told its answers."""

    inside_malloc: Callable[[], dict[int, str] | None] = lambda: None
    aborting: Callable[[], frozenset[int] | None] = lambda: None
    thread_pointers: Callable[[], dict[int, int] | None] = lambda: None
    registers: Callable[[], dict[int, Registers] | None] = lambda: None
    kept_by_kernel: Callable[[], dict[str, tuple[int, ...] | None] | None] = lambda: None
    locals: Callable[[dict[int, int]], dict[int, Local] | None] = lambda _: None
    symbol: Callable[[int], str | None] = lambda _: None
    demangled: Callable[[str], str | None] = lambda _: None


class HeapBuilder:
    """A process with one libc. Add chunks to `main` and to `arena()`s, then ask for `target()`.

    `residency` tells the pages' states, None that nobody can; `locked` are ranges of whole pages.
    `program_break` is where brk stands; None: where the main arena's first region ends.
    """

    def __init__(self, machine: Machine = AMD64, release: tuple[int, int] = (2, 36)) -> None:
        self.machine, self.release = machine, release
        self.word, self.page = machine.word, machine.page
        self.layout = releases.annotated_layout(machine.word, machine.architecture, release)
        self.memory = Memory()
        wide = machine.word == 8
        self.libc = 0x7F7000000000 if wide else 0xF7000000
        self._next_heap = 0x7F1000000000 if wide else 0xA0000000
        self._next_mmap = 0x7F6000000000 if wide else 0xE0000000
        self.brk = up(0x555555559000 if wide else 0x0804D000, self.page)
        self._cursor = self.libc + 0x1000
        self._words: dict[int, int] = {}
        self._built: Target | None = None
        self.mmaps: list[tuple[int, int]] = []
        self.caches: list[Cache] = []
        self.symbols: dict[str, int] = {}
        self.inside: dict[int, str] = {}
        self.aborting: frozenset[int] = frozenset()
        self.unreadable: list[Mapping] = []
        self.residency: Pages | None = None
        self.locked: list[tuple[int, int]] = []
        self.program_break: int | None = None
        self.main = ArenaBuilder(self, 0)
        self.main.begin_region(self.brk)
        self.arenas = [self.main]
        self.main.address = self.variable("main_arena", self.layout.state.size)

    def variable(self, name: str, size: int) -> int:
        """Give a variable of libc its address."""
        self.symbols[name] = self._cursor
        self._cursor = up(self._cursor + size, 64)
        return self.symbols[name]

    def next_heap(self) -> int:
        self._next_heap += self.layout.heap_max
        return self._next_heap

    def arena(self) -> ArenaBuilder:
        """Begin a thread arena."""
        arena = ArenaBuilder(self, len(self.arenas))
        arena.begin_heap()
        self.arenas.append(arena)
        return arena

    def thread(
        self, arena: ArenaBuilder, lwp: int, name: str = "worker", size: int | None = None
    ) -> Cache:
        """Add a thread whose tcache struct is the next chunk of `arena`, of the least size."""
        cache = Cache(lwp, name, arena)
        size = size or up(self.layout.tcache.size + self.word, self.layout.alignment)
        cache.address = arena.add(STRUCT, size) + self.layout.header
        cache.pthread = self.variable(f"pthread {lwp}", PTHREAD)
        self.caches.append(cache)
        return cache

    def abort(self, message: str) -> None:
        """Let glibc say why it ended the process: abort_msg_s {unsigned size; char msg[]}."""
        pointer, text = self.variable("__abort_msg", self.word), self.variable("message", 512)
        self.target()
        self._write(pointer, text)
        self._write(text, self.page, 4)
        self.memory.write(text + 4, message.encode() + b"\0")

    def stack(self, cache: Cache, size: int, inside: bool = False) -> tuple[int, int]:
        """Give a thread a stack of its own, with a guard below it; return where it is. Its struct
        pthread lies at the end of it, if it is to be `inside`.
        """
        cache.stack = self._next_mmap, self._next_mmap + size
        self._next_mmap = cache.stack[1] + self.page
        if inside:
            cache.pthread = cache.stack[1] - PTHREAD
            self.memory.regions[cache.stack[0] + self.page] = bytearray(size - self.page)
        return cache.stack

    def mmapped(self, size: int, offset: int = 0, apart: bool = False) -> int:
        """Add a chunk with a mapping of `size` bytes, `offset` bytes into it.

        As memalign does, which leaves the first header where it was.
        """
        self._next_mmap += self.page if apart else 0
        start, self._next_mmap = self._next_mmap, self._next_mmap + size
        own = self.layout.header if self.release >= (2, 43) else 0
        first = self.layout.first_chunk(start)
        chunk = start + offset if offset else first
        self.put(first, first - start)
        self.put(first + self.word, (size - (first - start) - own) | 2)
        self.put(chunk, chunk - start)
        self.put(chunk + self.word, (size - (chunk - start) - own) | 2)
        self.mmaps.append((start, size))
        return chunk

    def put(self, address: int, value: int) -> None:
        self._words[address] = value

    def poke(self, address: int, value: int) -> None:
        """Write one word into the finished heap: damage."""
        self.target()
        self.memory.write(address, value.to_bytes(self.word, self.machine.byteorder))

    def peek(self, address: int) -> int:
        return self.words(address, 1)[0]

    def words(self, address: int, count: int) -> array[int]:
        """Return so many words of the finished heap."""
        self.target()
        data = bytes(self.memory.read(address, count * self.word))
        words = array("I" if self.word == 4 else "Q", data)
        if self.machine.byteorder != sys.byteorder:
            words.byteswap()
        return words

    def field(self, struct: Struct, address: int, name: str, value: int, index: int = 0) -> None:
        """Write a member; its size tells whether it is an int or words."""
        member = struct[name]
        size = member.size if member.size <= self.word else self.word
        data = value.to_bytes(size, self.machine.byteorder)
        self.memory.write(address + member.offset + index * size, data)

    def target(self) -> Target:
        """Finish the heap: link the lists, and return the process that has it."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Target:
        for arena in self.arenas:
            if not arena.top:
                arena.close()
        addresses = self._libc_variables()
        regions = [(self.libc, self._cursor - self.libc)]
        regions += [(base, end - base) for arena in self.arenas for base, end in arena.heaps]
        regions += _merged(self.mmaps)
        for start, size in regions:
            self.memory.regions[start] = bytearray(up(size, self.page))
        for address, value in self._words.items():
            self.memory.write(address, value.to_bytes(self.word, self.machine.byteorder))
        for arena in self.arenas:
            self._write_arena(arena)
        self._write_parameters(addresses["mp_"])
        version = "{}.{}".format(*self.release).encode() + b"\0"
        self.memory.write(addresses["__libc_version"], version)
        self._write_threads(addresses)
        return self._as_target()

    def _libc_variables(self) -> dict[str, int]:
        self.variable("mp_", self.layout.par.size)
        for name in ("__libc_version", "__curbrk", "_rtld_global", "_link_map"):
            self.variable(name, 256)
        for name in ("pthread_list", "pthread_tid", "pthread_dtvp"):
            self.variable(f"_thread_db_{name}", 12)
        for name in ("l_tls_modid", "l_tls_offset"):
            self.variable(f"_thread_db_link_map_{name}", 12)
        for name in ("_dl_stack_used", "_dl_stack_user"):
            self.variable(f"_thread_db_rtld_global_{name}", 12)
        if self.release < (2, 34):
            self.variable("stack_used", 32)
            self.variable("__stack_user", 32)
        return self.symbols

    def _write_parameters(self, mp: int) -> None:
        par = self.layout.par
        values = {
            "trim_threshold": 128 << 10,
            "top_pad": 128 << 10,
            "mmap_threshold": 128 << 10,
            "sbrk_base": self.main.heaps[0][0],
            "n_mmaps": len(self.mmaps),
            "mmapped_mem": sum(size for _, size in self.mmaps),
            "n_mmaps_max": 65536,
            "tcache_count": 16 if self.release >= (2, 43) else 7,
            "tcache_bins": 64,
            "tcache_small_bins": 64,
            "tcache_max_bytes": self._largest_cached(),
        }
        for name, value in values.items():
            if name in par:
                self.field(par, mp, name, value)
        if self.program_break is None:
            self.program_break = self.main.heaps[0][1]  # the others are mmaps
        self._write(self.symbols["__curbrk"], self.program_break)

    def _largest_cached(self) -> int:
        """Return tcache_max_bytes: a request to 2.41, then a chunk size that is too large."""
        largest = self.layout.min_size + 63 * self.layout.alignment
        return largest + 1 if self.release >= (2, 42) else largest - self.word

    def _write_arena(self, arena: ArenaBuilder) -> None:
        state, address = self.layout.state, arena.address

        def put(name: str, value: int, index: int = 0) -> None:
            self.field(state, address, name, value, index)

        flags = 0 if arena.main and arena.contiguous else 2
        if "have_fastchunks" in state:
            put("have_fastchunks", int(bool(arena.fast)))
        elif self.release < (2, 27) and not arena.fast:
            flags |= 1
        put("flags", flags)
        put("top", arena.top)
        put("next", self.arenas[(arena.index + 1) % len(self.arenas)].address)
        put("system_mem", arena.system)
        put("max_system_mem", arena.system)
        if "attached_threads" in state:
            put("attached_threads", 1)
        for index in range(1, 128):
            self._link_bin(arena, index, put)
        bits = sum(1 << index for index in arena.bins if index > 1)
        binmap = bits.to_bytes(16, "little")
        for word in range(4):
            value = int.from_bytes(binmap[4 * word : 4 * word + 4], "little")
            self._write(address + state["binmap"].offset + 4 * word, value, 4)
        for index, chunks in arena.fast.items():
            put("fastbinsY", chunks[0], index)
            links = [chunk + self.layout.header for chunk in chunks]
            self._link_single(links, chunks)
        if arena.main:
            return
        previous = 0
        for base, end in arena.heaps:
            info = {"ar_ptr": address, "prev": previous, "size": end - base}
            info["mprotect_size"] = end - base
            if "pagesize" in self.layout.heap_info:
                info["pagesize"] = self.machine.page
            for name, value in info.items():
                self.field(self.layout.heap_info, base, name, value)
            previous = base

    def _link_bin(self, arena: ArenaBuilder, index: int, put) -> None:
        word, header = self.word, self.layout.header
        chunks = arena.bins.get(index, [])
        if index >= 64:  # by size, largest first
            chunks.sort(key=lambda chunk: -(self._words[chunk + word] & ~7))
        pseudo = arena.address + self.layout.state["bins"].offset + 2 * (index - 1) * word - header
        ring = [pseudo, *chunks, pseudo]
        put("bins", ring[1], 2 * (index - 1))
        put("bins", ring[-2], 2 * (index - 1) + 1)
        for at, chunk in enumerate(chunks, 1):
            self._write(chunk + header, ring[at + 1])
            self._write(chunk + header + word, ring[at - 1])
        if index >= 64:
            self._link_sizes(chunks)

    def _link_sizes(self, chunks: list[int]) -> None:
        """Link the first chunk of each size to that of the next one: fd_nextsize, bk_nextsize."""
        word, firsts = self.word, {}
        for chunk in chunks:
            firsts.setdefault(self._words[chunk + word] & ~7, chunk)
        heads = list(firsts.values())
        for at, chunk in enumerate(heads):
            self._write(chunk + 4 * word, heads[(at + 1) % len(heads)])
            self._write(chunk + 5 * word, heads[at - 1])

    def _link_single(self, fields: list[int], pointers: list[int]) -> None:
        """Link a list by the words at `fields`: PROTECT_PTR from 2.32 on."""
        for field_, following in zip(fields, [*pointers[1:], 0]):
            self._write(field_, self.protect(field_, following))

    def protect(self, field_: int, pointer: int) -> int:
        return (field_ >> 12) ^ pointer if self.release >= (2, 32) else pointer

    def _write(self, address: int, value: int, size: int = 0) -> None:
        self.memory.write(address, value.to_bytes(size or self.word, self.machine.byteorder))

    def _write_threads(self, addresses: dict[str, int]) -> None:
        """Write nptl's list; a pthread is {dtv 8, tid 32, list 64, stack 96, DTV 128, TLS 256}."""
        word, offsets = self.word, {"pthread_list": 64, "pthread_tid": 32, "pthread_dtvp": 8}
        offsets.update(link_map_l_tls_modid=64, link_map_l_tls_offset=96)
        offsets["rtld_global__dl_stack_used"] = 32
        offsets["rtld_global__dl_stack_user"] = 64
        for name, offset in offsets.items():
            self._write(addresses[f"_thread_db_{name}"] + 8, offset, 4)
        self._write(addresses["_rtld_global"], addresses["_link_map"])
        self._write(addresses["_link_map"], self.libc)
        self._write(addresses["_link_map"] + 64, 2)  # l_tls_modid
        for used, user in self._heads():
            nodes = [used, *(cache.pthread + 64 for cache in self.caches), used]
            for node, following in zip(nodes, nodes[1:]):
                self._write(node, following)
            for head in (user, 2 * user - used):  # the user's stacks, and those kept
                self._write(head, head)
        for cache in self.caches:
            self._write(cache.pthread + 8, cache.pthread + 128)
            self._write(cache.pthread + 32, cache.lwp, 4)
            self._write(cache.pthread + 96, cache.stack[0])
            self._write(cache.pthread + 104, cache.stack[1] - cache.stack[0])
            self._write(cache.pthread + 128 - 2 * word, 8)  # the DTV's length
            self._write(cache.pthread + 128 + 4 * word, cache.pthread + 256)
            self._write(cache.pthread + 256 + 16, cache.address)
            self._write(cache.pthread + 256 + 32, cache.arena.address)
            self._write_tcache(cache)

    def _heads(self) -> list[tuple[int, int]]:
        if self.release < (2, 34):
            return [(self.symbols["stack_used"], self.symbols["__stack_user"])]
        rtld = self.symbols["_rtld_global"]
        return [(rtld + 32, rtld + 64)]

    def _write_tcache(self, cache: Cache) -> None:
        struct = self.layout.tcache
        start, length = struct["entries"]
        bins = length // self.word
        counts = "num_slots" if "num_slots" in struct else "counts"
        size = struct[counts].size // bins
        fill = 16 if self.release >= (2, 43) else 7
        for index in range(bins):
            users = cache.entries.get(index, [])
            count = fill - len(users) if counts == "num_slots" else len(users)
            self._write(cache.address + struct[counts].offset + index * size, count, size)
            if users:
                self._write(cache.address + start + index * self.word, users[0])
                self._link_single(users, users)

    def _mappings(self) -> tuple[Mapping, ...]:
        heaps = [(base, end) for arena in self.arenas[1:] for base, end in arena.heaps]
        rows = [Mapping(base, end, "rw-p", 0, "") for base, end in heaps]
        reserve = self.layout.heap_max
        rows += [Mapping(end, base + reserve, "---p", 0, "") for base, end in heaps]
        name = "[heap]" if self.main.contiguous else ""
        rows += [Mapping(base, end, "rw-p", 0, name) for base, end in self.main.heaps]
        rows += [Mapping(s, s + size, "rw-p", 0, "") for s, size in _merged(self.mmaps)]
        for start, end in (cache.stack for cache in self.caches if cache.stack[1]):
            rows.append(Mapping(start, start + self.page, "---p", 0, ""))
            rows.append(Mapping(start + self.page, end, "rw-p", 0, ""))
        rows.append(Mapping(self.libc, up(self._cursor, self.page), "rw-p", 7, "/lib/libc.so.6"))
        parts = [part for row in rows if row.size for part in self._cut(row)]
        return tuple(sorted([*parts, *self.unreadable], key=lambda row: row.start))

    def _cut(self, row: Mapping) -> list[Mapping]:
        """Cut a mapping where a locked range begins or ends, as mlock does."""
        inside = {at for span in self.locked for at in span if row.start < at < row.end}
        edges = sorted({row.start, row.end, *inside})
        parts = [row._replace(start=start, end=end) for start, end in zip(edges, edges[1:])]
        return [part._replace(usage=self._usage(part)) for part in parts]

    def _usage(self, part: Mapping) -> Usage | None:
        if self.residency is None:
            return None
        mapped, readable = (part.start, part.end), part.permissions.startswith("r")
        if not readable:
            self.residency.reserve(*mapped)
        private, shared, swapped = (
            self.residency.held(*mapped, state) if readable else 0
            for state in (RESIDENT, SHARED, SWAPPED)
        )
        locked = any(start <= part.start < end for start, end in self.locked)
        resident, proportional = private + shared, private + shared // 2
        return Usage(resident, proportional, swapped, shared, 0, 0, locked, None)

    def _as_target(self) -> Target:
        layout = self.layout
        structs = {
            s.name: s for s in (layout.state, layout.par, layout.heap_info, layout.tcache) if s
        }
        structs["link_namespaces"] = _struct("link_namespaces", {})
        if any(cache.stack[1] for cache in self.caches):
            names = {"tid": (32, 4), "list": (64, 16), "stackblock": (96, self.word)}
            names["stackblock_size"] = (104, self.word)
            structs["pthread"] = _struct("pthread", names)
            lists = {"_dl_stack_used": (32, 16), "_dl_stack_cache": (64, 16)}
            structs["rtld_global"] = _struct("rtld_global", lists)
        known = Symbols("/lib/libc.so.6", self.symbols, structs, {"tcache": 16, "thread_arena": 32})
        libc = Image(known.path, (), self.memory, lambda build_id: None, known)
        facts = Facts(
            pid=4711,
            exe="/usr/bin/server",
            word=self.word,
            byteorder=self.machine.byteorder,
            machine=self.machine.architecture,
            architecture=self.machine.architecture.value,
            page=self.page,
            live=True,
            mappings=self._mappings(),
            threads=tuple(Thread(cache.lwp, cache.name) for cache in self.caches),
            no_residency=None if self.residency else "nobody told the builder",
        )
        probe = Answers(inside_malloc=lambda: self.inside, aborting=lambda: self.aborting)
        return Target(Space(facts, self.memory, self.residency), (libc,), probe)


def changed(target: Target, **changes: Any) -> Target:
    """Return a target with other facts, another memory or residency, other files or answers."""
    space = target.space
    facts, memory, answers, rest = (
        {name: changes[name] for name in changes if name in part.__dataclass_fields__}
        for part in (space.facts, space, target.probe, target)
    )
    assert changes.keys() == {*facts, *memory, *answers, *rest}
    space = replace(space, facts=replace(space.facts, **facts), **memory)
    return replace(target, space=space, probe=replace(target.probe, **answers), **rest)


def _struct(name: str, members: dict[str, tuple[int, int]]) -> Struct:
    return Struct(name, 128, {member: Member(*where) for member, where in members.items()})


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge neighbours, as the kernel does."""
    merged: list[tuple[int, int]] = []
    for start, size in sorted(spans):
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + size)
        else:
            merged.append((start, size))
    return merged


def usual(machine: Machine = AMD64, release: tuple[int, int] = (2, 36)) -> HeapBuilder:
    """Return a heap with a bit of everything: three arenas, one of two heaps, every list."""
    heap = HeapBuilder(machine, release)
    arenas = [heap.main, heap.arena(), heap.arena()]
    for number, arena in enumerate(arenas):
        cache = heap.thread(arena, 100 + number, f"worker-{number}") if heap.layout.tcache else None
        for round_ in range(3):
            fill(arena, cache)
            if number == 2 and round_ == 0:
                arena.supersede(512)
        arena.add(USED, 48)
    for arena in arenas:
        arena.close(16 * PAGE)
    return heap


def fill(arena: ArenaBuilder, cache: Cache | None) -> None:
    """Add a chunk of every state."""
    arena.add(USED, 64)
    arena.add(FREE, 256)
    arena.add(USED, 4096)
    arena.add(UNSORTED, 1024 + 512)
    arena.add(USED, 32)
    if arena.layout.has_fastbins:
        arena.add(FAST, 48)
        arena.add(FAST, 32)
    arena.add(FREE, 70000)
    if cache:
        arena.add(TCACHE, 64, cache)
        arena.add(TCACHE, 96, cache)
    arena.add(USED, 80)


def at_random(seed: random.Random, machine: Machine, release: tuple[int, int]) -> HeapBuilder:
    """Return a heap of random chunks in random arenas, heaps and segments."""
    heap = HeapBuilder(machine, release)
    arenas = [heap.main] + [heap.arena() for _ in range(seed.randrange(3))]
    states = [USED, USED, FREE, UNSORTED]
    if heap.layout.has_fastbins:
        states.append(FAST)
    caches = [heap.thread(a, 100 + a.index) for a in arenas if heap.layout.tcache]
    for arena in arenas:
        for _ in range(seed.randrange(60)):
            _add_random(seed, arena, states, caches)
            if seed.random() < 0.03:
                room = seed.randrange(2, 40) * 16
                if arena.main:
                    arena.foreign_sbrk(seed.randrange(1, 3 * PAGE), room)
                    arena.add(USED, 128)
                else:
                    arena.supersede(room)
            if not arena.main and arena.cursor - arena.base > arena.layout.heap_max // 2:
                arena.supersede(512)
        arena.add(USED, 64)
        if arena.layout.has_fastbins:
            for state in seed.choice([(), (FAST,), (FREE, FAST), (FAST, FREE, FAST)]):
                arena.add(state, 48)
        arena.close(seed.randrange(32, 300000))
    return heap


def with_pages_at_random(seed: random.Random, heap: HeapBuilder) -> HeapBuilder:
    """Return a heap whose pages are in every state, some of them locked in memory."""
    heap.residency, page = Pages(heap.page), heap.page
    spans = [span for arena in heap.arenas for span in arena.heaps]
    spans += [(start, start + size) for start, size in heap.mmaps]
    for start, end in spans:
        heap.residency.mark_at_random(seed, start, end)
        if seed.random() < 0.3:
            first, last = sorted(seed.choices(range(start // page, end // page + 1), k=2))
            heap.locked += [(first * page, last * page)] if first < last else []
    return heap


def _add_random(
    seed: random.Random, arena: ArenaBuilder, states: list[str], caches: list[Cache]
) -> None:
    state = seed.choice([*states, TCACHE] if caches else states)
    size = 16 * seed.choice([seed.randrange(2, 64), seed.randrange(64, 5000)])
    if state in (FREE, UNSORTED) and arena.previous and arena.previous[0] in (FREE, UNSORTED):
        state = USED
    if state == FAST:
        size = 16 * seed.randrange(2, 5 if arena.heap.word == 4 else 9)
    cache = None
    if state == TCACHE:
        cache, size = seed.choice(caches), 16 * seed.randrange(2, 20)
    arena.add(state, size, cache)
