"""What malloc goes by: settings, and what differs by release."""

from __future__ import annotations

from ..errors import MemoryFault, UnreadError
from ..glibc.architecture import Architecture
from ..glibc.layout import Layout, Release, align_up
from ..locate.libcs import Libc
from ..records import dataclass
from ..snapshots.reading import MallocReading
from ..target.space import Record

GRANULE = 16  # __MTAG_GRANULE_SIZE
THP_AARCH64 = 2 << 20  # malloc-hugepages.h: DEFAULT_THP_PAGESIZE
THP_NOT_ASKED = 3  # malloc_thp_mode_not_supported


@dataclass(frozen=True)
class Rules:
    """One libc's. `max_fast` is the largest chunk that goes into a fastbin, 0 without any."""

    release: Release
    layout: Layout
    parameters: Record
    max_fast: int
    tagged: bool
    morecore_fails: bool
    thp_pagesize: int

    def __getitem__(self, name: str) -> int:
        return self.parameters.get(name)

    @property
    def tcache_bins(self) -> int:
        """Up to which bin chunks are stashed in a tcache, and taken from there to 2.41."""
        return self["tcache_small_bins" if self.release >= (2, 42) else "tcache_bins"]

    @property
    def tcache_comes_late(self) -> bool:
        """Whether a thread gets its tcache when something is to go into it (2.43, 2bf2188fae)."""
        return self.release >= (2, 43)

    @property
    def stashes_unsorted(self) -> bool:
        """Whether exact fits of the unsorted bin fill the tcache first (from 2.26, not in 2.44)."""
        return (2, 26) <= self.release < (2, 44)

    @property
    def largest_request(self) -> int:
        """PTRDIFF_MAX, beyond which malloc fails (2.30); before, what wraps around fails."""
        if self.release >= (2, 30):
            return (1 << 8 * self.layout.word - 1) - 1
        return (1 << 8 * self.layout.word) - 2 * self.layout.min_size - 1

    def chunk_size(self, request: int) -> int:
        """Return the chunk size for a request (checked_request2size)."""
        return self.layout.chunk_size(align_up(request, GRANULE) if self.tagged else request)

    def tcache_index(self, nb: int) -> int:
        """Return the tcache bin for chunks of a size (csize2tidx)."""
        return (nb - self.layout.min_size + self.layout.alignment - 1) // self.layout.alignment

    def large_tcache_index(self, nb: int) -> int:
        """Return the tcache bin for large chunks (2.42: large_csize2tidx)."""
        largest_small = self.layout.min_size + 63 * self.layout.alignment
        return 64 + nb.bit_length() - largest_small.bit_length()


def rules_of(reading: MallocReading) -> Rules:
    """Return what the malloc of one libc goes by."""
    libc, release = reading.libc, reading.libc.layout.release
    hugetlb = bool(libc.parameters.get("hp_pagesize"))
    fails = variable(reading, "__always_fail_morecore", 1)
    return Rules(
        release,
        libc.layout,
        libc.parameters,
        _max_fast(reading),
        bool(variable(reading, "mtag_enabled", 1)) if release < (2, 44) else False,
        hugetlb if fails is None else bool(fails),
        _thp_pagesize(libc, reading.target.facts.machine),
    )


def _max_fast(reading: MallocReading) -> int:
    """Return global_max_fast: by its symbol, else its default (set_max_fast, DEFAULT_MXFAST)."""
    layout = reading.libc.layout
    if not layout.has_fastbins:
        return 0
    default = (64 * layout.word // 4 + layout.word) & -layout.alignment
    size = layout.word if layout.release < (2, 37) else 1
    return variable(reading, "global_max_fast", size) or default


def _thp_pagesize(libc: Libc, machine: Architecture) -> int:
    """Return mp_.thp_pagesize; in 2.43 AArch64 sets it when it is needed first (thp_init)."""
    late = libc.layout.release == (2, 43) and machine is Architecture.AARCH64
    unset = late and libc.parameters.get("thp_mode") == THP_NOT_ASKED
    return THP_AARCH64 if unset else libc.parameters.get("thp_pagesize")


def variable(reading: MallocReading, name: str, size: int) -> int | None:
    """Return a variable of libc's own, of so many bytes; None where that isn't known."""
    address = reading.libc.image.address(name)
    return None if address is None else _read(reading, address, size)


def _read(reading: MallocReading, address: int, size: int) -> int | None:
    try:
        return reading.space.read_int(address, size)
    except UnreadError:
        raise
    except MemoryFault:
        return None


def static_of_function(reading: MallocReading, name: str) -> int | None:
    """Return a word that a function of libc's keeps, which a compiler numbers; None if unknown."""
    address = reading.libc.image.numbered(name)
    return None if address is None else _read(reading, address, reading.space.word)
