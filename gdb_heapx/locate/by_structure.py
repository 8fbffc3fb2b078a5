"""main_arena and mp_ by what they must look like, where no symbol tells where they are.

What is found here is a guess; the snapshot then proves it, or refuses it: the chunks of every arena
must add up (proof.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import MemoryFault
from ..glibc.layout import FLAGS, NBINS, NONCONTIGUOUS, UNSORTED, Layout
from ..target.images import Image
from ..target.space import Record, Space

AT_ONCE = 1 << 20  # bytes read
ALL_FLAGS = 7  # of malloc_state.flags: FASTCHUNKS (to 2.26), NONCONTIGUOUS, ARENA_CORRUPTION
MANY_THREADS = 1 << 22  # the kernel's limit of pids
NEAR = 1 << 14  # bytes between main_arena and mp_ at most: both are in malloc.o's data
LARGEST_TCACHE_COUNT = 65535  # MAX_TCACHE_COUNT


def find_main_arena(space: Space, image: Image, layout: Layout) -> int | None:
    """Return the address of the one struct in a file's data that can be main_arena, else None.

    Two things give it away: `next`, which points at its own arena while there is only one, and
    empty bins, which point at themselves; the last bin is always empty.
    """
    word, following = space.word, layout.state["next"].offset
    last_bin = layout.bin_at(0, NBINS - 1)
    candidates: set[int] = set()
    for start, words in _blocks(space, image):
        for i, value in enumerate(words):
            address = start + i * word
            if value == address - following:
                candidates.add(value)
            elif value == address - layout.header:
                candidates.add(value - last_bin)
    found = [c for c in sorted(candidates) if is_main_arena(space, image, layout, c)]
    return found[0] if len(found) == 1 else None


def _blocks(space: Space, image: Image) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the words of a file's initialized data, with the address where they begin."""
    for start, end in image.data():
        for at in range(start + -start % space.word, end - space.word + 1, AT_ONCE):
            try:
                yield at, space.words(at, min(AT_ONCE, end - at) // space.word)
            except MemoryFault:
                continue


def is_main_arena(space: Space, image: Image, layout: Layout, address: int) -> bool:
    """Tell whether what lies at an address can be main_arena."""
    try:
        arena = space.read_struct(layout.state, address)
        return is_arena(layout, arena) and _linked(space, image, layout, arena)
    except MemoryFault:
        return False


def is_arena(layout: Layout, arena: Record) -> bool:
    """Tell whether a malloc_state holds possible values."""
    return _sane(arena) and _bins_hold(layout, arena)


def _sane(arena: Record) -> bool:
    return (
        arena["mutex"] <= 2  # LLL_LOCK: free, held, waited for
        and arena["flags"] <= ALL_FLAGS
        and arena["attached_threads"] < MANY_THREADS
        and arena["system_mem"] <= arena["max_system_mem"]
        and not arena["top"] % arena.space.word
    )


def _bins_hold(layout: Layout, arena: Record) -> bool:
    """Tell whether every bin is empty or has both its ends; before its first use all are zero."""
    word = arena.space.word
    links = arena.array("bins", word)
    if not any(links):
        return arena["top"] == 0
    heads = [layout.bin_at(arena.address, index) for index in range(UNSORTED, NBINS)]
    empty = [(fd == head, bk == head) for head, fd, bk in zip(heads, links[::2], links[1::2])]
    return all(links) and all(fd == bk for fd, bk in empty) and all(empty[-1])


def _linked(space: Space, image: Image, layout: Layout, arena: Record) -> bool:
    """Tell whether next leads to itself or to an arena in a heap, and top to a chunk."""
    following, top = arena["next"], arena["top"]
    if following != arena.address and not in_own_heap(space, layout, following):
        return False
    if not top or top == layout.bin_at(arena.address, UNSORTED):
        return True  # nothing was allocated yet
    return top not in image and bool(space.read_word(top + space.word) & ~FLAGS)


def in_own_heap(space: Space, layout: Layout, arena: int) -> bool:
    """Tell whether an arena lies in a heap that names it, as each but main_arena does."""
    owner = layout.heap_of(arena) + layout.heap_info["ar_ptr"].offset
    return space.try_word(owner) == arena


def find_mp(space: Space, image: Image, layout: Layout, main_arena: int) -> int | None:
    """Return the address of the one struct near main_arena that can be mp_, None without.

    Its values must be possible ones, and agree with main_arena. Of several the one with the
    defaults that few programs change is taken.
    """
    try:
        arena = space.read_struct(layout.state, main_arena)
    except MemoryFault:
        return None
    found = [
        record
        for record in _records(space, image, layout, main_arena)
        if is_mp(space, layout, arena, record)
    ]
    if len(found) > 1:
        found = [r for r in found if r["n_mmaps_max"] == 65536 and r["arena_test"] in (2, 8)]
    return found[0].address if len(found) == 1 else None


def _records(space: Space, image: Image, layout: Layout, main_arena: int) -> Iterator[Record]:
    """Yield every place for an mp_ near main_arena."""
    size, around = layout.par.size, (main_arena - NEAR, main_arena + layout.state.size + NEAR)
    for start, end in image.data():
        low, high = max(start, around[0]), min(end, around[1])
        low += -low % space.word
        try:
            data = bytes(space.memory.read(low, high - low)) if low < high else b""
        except MemoryFault:
            continue
        for at in range(0, len(data) - size + 1, space.word):
            yield Record(space, layout.par, low + at, data[at : at + size])


def is_mp_at(space: Space, layout: Layout, main_arena: int, address: int) -> bool:
    """Tell whether what lies at an address can be mp_."""
    try:
        arena = space.read_struct(layout.state, main_arena)
        return is_mp(space, layout, arena, space.read_struct(layout.par, address))
    except MemoryFault:
        return False


def is_mp(space: Space, layout: Layout, arena: Record, mp: Record) -> bool:
    """Tell whether a malloc_par holds possible values that agree with main_arena."""
    mapped, most = mp["mmapped_mem"], mp["max_mmapped_mem"]
    return (
        mp["arena_test"] > 0
        and mp["no_dyn_threshold"] <= 1
        and mp["mmap_threshold"] <= layout.heap_max
        and mp["n_mmaps"] <= mp["max_n_mmaps"] <= space.word << 40
        and mapped <= most
        and not mapped % space.page
        and not most % space.page
        and bool(mp["n_mmaps"]) == bool(mapped)
        and bool(mp["max_n_mmaps"]) == bool(most)
        and all(_is_page_size(space, mp.get(name)) for name in ("thp_pagesize", "hp_pagesize"))
        and _tcache_agrees(layout, mp)
        and _base_agrees(arena, mp["sbrk_base"])
    )


def _is_page_size(space: Space, size: int) -> bool:
    return not size or (size >= space.page and not size & (size - 1))


def _tcache_agrees(layout: Layout, mp: Record) -> bool:
    """Tell whether the number of tcache bins follows from the largest request (ptmalloc_init)."""
    if layout.tcache is None:
        return True
    if mp["tcache_count"] > LARGEST_TCACHE_COUNT:
        return False
    if "tcache_small_bins" in mp.struct:  # 2.42: the largest request may be beyond the small bins
        return 0 < mp["tcache_small_bins"] <= 64 and mp["tcache_max_bytes"] > 0
    largest = layout.chunk_size(mp["tcache_max_bytes"])
    return mp["tcache_bins"] == (largest - layout.min_size) // layout.alignment + 1


def _base_agrees(arena: Record, base: int) -> bool:
    """Tell whether the main heap can begin at `base` (sbrk_base)."""
    top, system = arena["top"], arena["system_mem"]
    if not system:
        return base == 0
    contiguous = not arena["flags"] & NONCONTIGUOUS
    return base <= top < base + system if contiguous and base else not contiguous
