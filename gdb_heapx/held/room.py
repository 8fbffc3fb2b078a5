"""Memory for a copy, got before a process stands still: that takes longer than to read into it."""

from __future__ import annotations

import mmap
import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

from ..target.cgroups import affordable
from ..target.mappings import ADDRESSES, Mapping, merged
from ..target.maps import read_maps
from ..target.pages import RESIDENT, SHARED, SWAPPED, PageStates
from ..target.space import Residency
from .threads import GoesOn, in_two_threads, two_can_run

MAP_NORESERVE = 0x4000  # uapi/asm-generic/mman.h; elsewhere nothing (Python has no name for it)
AT_ONCE = 1 << 20  # bytes that are filled
PARTS = 1024  # they may have (UIO_MAXIOV, uapi/linux/uio.h)
GROWTH = 8  # a part of a mapping: by so much it may have grown when it is copied
_TO_COME = re.compile(b"[%c%c%c]+" % (RESIDENT, SHARED, SWAPPED))


class Room:
    """Memory with a place for each byte of some spans, which are in order, of whole pages, and
    apart from each other. `most` is what a copy may take, as it was before that was got; None if
    that wasn't asked.
    """

    def __init__(
        self, spans: Sequence[tuple[int, int]], page: int, most: int | None = None
    ) -> None:
        self.page, self.most = page, most
        self._starts, self._ends, self._offsets = array("Q"), array("Q"), array("Q")
        size = 0
        for start, end in spans:
            self._starts.append(start)
            self._ends.append(end)
            self._offsets.append(size)
            size += end - start
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self.memory = mmap.mmap(-1, max(size, page), flags)
        # gdb forks when it attaches (nat/linux-ptrace.c, linux_check_ptrace_features): each page in
        # which its child had a share costs a fault when it is written to.
        self.memory.madvise(mmap.MADV_DONTFORK)
        self.view = memoryview(self.memory)

    def offset(self, address: int) -> int | None:
        """Return where in `memory` an address has its place, None outside of all spans."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._ends[at]:
            return None
        return self._offsets[at] + address - self._starts[at]

    def has(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Tell whether each of these spans lies in one of its own."""
        places = ((self.offset(start), self.offset(end - 1), end - start) for start, end in spans)
        return all(a is not None and b == a + size - 1 for a, b, size in places)

    def take(self, parts: Iterable[tuple[int, bytes]]) -> None:
        """Get memory from the kernel for the pages that aren't empty: each part begins at an
        address and has pages in such states. The kernel fills it with zeros: two threads ask.
        """
        batches, lock = self._batches([*parts]), Lock()  # what /proc doesn't tell is an error here
        with open("/dev/zero", "rb", buffering=0) as zeros:

            def work(goes_on: GoesOn) -> bool:
                while goes_on():
                    with lock:
                        batch = next(batches, None)
                    if batch is None:
                        break
                    os.readv(zeros.fileno(), batch)
                return True

            if two_can_run():
                in_two_threads(work, lambda: True)
            else:
                work(lambda: True)

    def _batches(self, parts: Iterable[tuple[int, bytes]]) -> Iterator[list[memoryview]]:
        """Yield the memory for pages that aren't empty, as much as is read at once."""
        page, batch, size = self.page, list[memoryview](), 0
        for start, states in parts:
            base = self.offset(start) or 0
            for run in _TO_COME.finditer(states):
                first, last = base + run.start() * page, base + run.end() * page
                for at in range(first, last, AT_ONCE):
                    batch.append(self.view[at : min(at + AT_ONCE, last)])
                    size += len(batch[-1])
                    if size >= AT_ONCE or len(batch) == PARTS:
                        yield batch
                        batch, size = [], 0
        if batch:
            yield batch


def room_of(pid: int) -> Room | None:
    """Return room for what a living process may have of malloc, if that isn't too much; OSError
    where /proc doesn't tell.
    """
    mappings = read_maps(pid)
    residency = PageStates(pid, mmap.PAGESIZE, mappings)
    return room_for(mappings, residency, affordable(pid))


def room_for(mappings: Iterable[Mapping], residency: Residency, most: int) -> Room | None:
    """Return room for the private memory of a process, if no more than so many bytes of it that are
    in memory may have to be copied; None else.
    """
    private = [m for m in mappings if m.permissions[-1] == "p" and not m.name.startswith("[v")]
    copied = [mapping for mapping in private if mapping.anonymous]
    taken = sum(m.usage.resident + m.usage.swapped for m in copied if m.usage)
    if taken > most or not copied:
        return None
    page, following = residency.page, [*(m.start for m in private[1:]), ADDRESSES]
    grown = (m.size // GROWTH & -page if m.anonymous else 0 for m in private)
    spans = [(m.start, min(m.end + g, f)) for m, g, f in zip(private, grown, following)]
    room = Room(merged(spans), page, most)
    room.take((m.start, residency.states(m.start, m.end)) for m in copied)
    return room
