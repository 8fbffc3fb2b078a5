"""The heaps of scripts/bench_heaps.c: how large each is, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GDB = 512 << 20  # bytes that a gdb and what else runs beside a heap may take


@dataclass(frozen=True)
class Heap:
    """A kind of heap; N is how many there are of what `counts` names, by default `number`."""

    name: str
    number: int
    counts: str
    each: int  # bytes of RAM for one of N while the heap is made
    what: str


@dataclass(frozen=True)
class Wanted:
    """A heap to measure, and its N."""

    heap: Heap
    number: int

    def room(self) -> int:
        """Return the bytes of RAM that it takes, with the gdb that looks at it."""
        return self.number * self.heap.each + GDB


HEAPS: Mapping[str, Heap] = {
    heap.name: heap
    for heap in (
        Heap("M", 1100000, "chunks", 550, "many sizes up to 2,000 bytes, a third free; 4 arenas"),
        Heap("W", 2000000, "chunks", 550, "M in 64 arenas"),
        Heap("D", 32000000, "chunks", 66, "small and dense, an eighth fast"),
        Heap("L", 15000000, "chunks", 155, "85 of 100 freed, long lists of fast chunks; 4 arenas"),
        Heap("F", 7500000, "pieces", 315, "free pieces between small chunks that stay"),
        Heap("P", 10000000, "chunks", 74, "64 bytes, two pointers each; one global holds all"),
        Heap("Ls", 15000000, "chunks", 155, "L, freed in shuffled order"),
        Heap("Fs", 7500000, "pieces", 315, "F, freed in shuffled order"),
        Heap("T", 200, "arenas", 400000, "500 chunks in each"),
        Heap("mmapped", 1000000, "chunks", 4200, "a page each, in one mapping; M_MMAP_MAX raised"),
        Heap("arenas", 1000, "arenas", 400000, "T, with more of them"),
        Heap("mappings", 60000, "mappings", 4500, "beside a small heap; none of them malloc's"),
        Heap("stale", 32000000, "chunks", 66, "D, and 1 of 100 keeps a link of the list it was in"),
        Heap("big", 10, "GiB", 1200 << 20, "L in 40 arenas"),
    )
}
QUICK, QUICK_SCALE = ("M", "D", "L", "F", "T"), 0.1


def wanted_heaps(words: Iterable[str], size: int | None, scale: float | None) -> list[Wanted]:
    """Return the heaps that words such as D and D=8000000 ask for; ValueError says what is wrong.

    Where a word has no N, it is the size; else the heap's own, scaled.
    """
    wanted = []
    for word in words:
        name, equals, number = word.partition("=")
        if name not in HEAPS:
            raise ValueError(f"there is no heap {name}: choose from {', '.join(HEAPS)}")
        if equals and not (number.isdecimal() and int(number)):
            raise ValueError(f"{word}: N is a positive number, such as {name}={HEAPS[name].number}")
        own = round(HEAPS[name].number * (1 if scale is None else scale))
        wanted.append(Wanted(HEAPS[name], int(number) if equals else size or max(1, own)))
    return wanted


def available() -> int:
    """Return the bytes of RAM that programs can still have, as the kernel estimates them."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))


def refusal(wanted: Wanted, room: int) -> str:
    """Say why a heap can't be made in so many bytes; nothing if it can."""
    if wanted.room() <= room:
        return ""
    fitting = (room - GDB) // wanted.heap.each
    needs = f"{wanted.heap.name}={wanted.number} needs {wanted.room() / 2**30:.1f} GiB"
    advice = f"ask for {wanted.heap.name}={fitting}" if fitting > 0 else "end something else"
    return f"{needs}, and {room / 2**30:.1f} GiB are available: {advice}"
