"""Heaps at random (inferiors/fit.c): what heapx says malloc would do in them, and what it does."""

from __future__ import annotations

import contextlib
import os
import random
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from live import TIMEOUT, Inferior, at_rest, eventually, gcore, reports, running, table

FLAGS = 7
LARGEST = 1 << 26  # bytes; what is larger has a mapping of its own
TUNABLES = {
    "tcache_count": (0, 1, 3, 30),
    "tcache_max": (200, 1032, 5000, 100000),
    "tcache_unsorted_limit": (1, 3, 50),
    "mmap_threshold": (4096, 40000, 1 << 20, 1 << 25),
    "mmap_max": (0, 3),
    "top_pad": (0, 4096, 1 << 20),
    "trim_threshold": (4096, 1 << 22),
    "mxfast": (0, 48, 160),
    "arena_max": (1, 2, 3),
    "arena_test": (1, 2),
    "hugetlb": (1, 2),
}


class Answer(NamedTuple):
    """What malloc returned: its address, the size words of the chunk and the next, its arena.

    Then by how much there is more of it: by the kernel the break, what is mapped and what can be
    written; by malloc what its arenas have, chunks with a mapping of their own, and their bytes.
    """

    address: int
    word: int
    next: int
    arena: int
    brk: int
    mapped: int
    writable: int
    system: int
    mmaps: int
    mmapped: int

    @property
    def grown(self) -> range:
        """By how many bytes there is more: exact, but where more than one arena has grown.

        Then what others have taken by sbrk is among them: malloc counts it as its own.
        """
        several = self.brk and (self.arena or self.mmaps)
        most = self.system if several else self.brk or self.system
        return range(self.mmapped + (self.brk or self.system), self.mmapped + most + 1)

    @property
    def what(self) -> str:
        """How malloc came by the chunk."""
        if not self.address:
            return "fails"
        if self.mmaps:
            return "mapped"
        return "extended" if self.system else "free"


class Ask(NamedTuple):
    """A thread, and how many bytes it is to ask malloc for."""

    lwp: int
    size: int

    @property
    def command(self) -> str:
        return f"heapx fit {self.size} --thread {self.lwp}"


class Heap:
    """A process with a heap at random: what it can be asked, and its answers."""

    def __init__(self, inferior: Inferior, chance: random.Random, symbols: tuple[str, ...]) -> None:
        directory = inferior.oracle.directory
        self.inferior, self.directory, self._chance = inferior, directory, chance
        self.target = (*symbols, "-p", inferior.pid)
        self._asks = os.open(directory / "asks", os.O_RDWR)
        self._answers = os.open(directory / "answers", os.O_RDWR)
        self._text = b""
        self._say("tell")

    def close(self) -> None:
        os.close(self._asks)
        os.close(self._answers)

    def change(self) -> None:
        """Have the heap go on changing."""
        self._say("more")

    def core(self, path: Path) -> Path:
        """Save a core with gdb; the process runs on."""
        return gcore(self.inferior.pid, path)

    def asks(self, count: int) -> list[Ask]:
        """Return different asks at random, of sizes that may well fit and of any."""
        found = dict.fromkeys(self._ask() for _ in range(count))
        return list(found)

    def in_a_child(self, ask: Ask) -> Answer | None:
        """Return what malloc does in a child that has this heap, None where it aborts."""
        return _answer(self._ask_for(f"child {ask.lwp} {ask.size}"))

    def here(self, ask: Ask) -> Answer | None:
        """Return what malloc does in the thread itself."""
        return _answer(self._ask_for(f"here {ask.lwp} {ask.size}"))

    def predicted(self, asks: list[Ask]) -> dict[Ask, dict[str, Any]]:
        """Return what heapx says, in one session of gdb."""
        eventually(lambda: at_rest(self.inferior.pid), "the program rests")
        found = reports([ask.command for ask in asks], self.directory / "reports", self.target)
        return {ask: _only_row(found[ask.command]) for ask in asks}

    def _ask(self) -> Ask:
        chance = self._chance
        size = chance.choice((self._fitting, self._power, self._any))()
        return Ask(chance.choice(self.lwps), size)

    def _fitting(self) -> int:
        return max(0, self._chance.choice(self.sizes or [9]) + self._chance.choice((0, 0, -16, 16)))

    def _power(self) -> int:
        return self._chance.choice([1 << n for n in range(3, LARGEST.bit_length())])

    def _any(self) -> int:
        return int(2 ** self._chance.uniform(3, LARGEST.bit_length() - 1))

    def _say(self, word: str) -> None:
        known: dict[str, list[int]] = {"thread": [], "size": []}
        line = self._ask_for(word)
        while line != ["end"]:
            known[line[0]].append(int(line[1]))
            line = self._line()
        self.lwps, self.sizes = known["thread"], known["size"]

    def _ask_for(self, line: str) -> list[str]:
        os.write(self._asks, f"{line}\n".encode())
        return self._line()

    def _line(self) -> list[str]:
        while b"\n" not in self._text:
            ready, _, _ = select.select([self._answers], [], [], TIMEOUT)
            assert ready, "the program doesn't answer"
            self._text += os.read(self._answers, 1 << 16)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode().split()


def _answer(words: list[str]) -> Answer | None:
    """Return an answer, None where malloc has aborted."""
    return None if words == ["ended"] else Answer(*map(int, words))


def _only_row(report: Any) -> dict[str, Any]:
    (row,) = table(report, "fit")
    return row


@contextlib.contextmanager
def heap(
    exe: Path,
    seed: int,
    directory: Path,
    symbols: tuple[str, ...] = (),
    threads: int | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Heap]:
    """Start a program with the heap that this seed gives, which also decides what isn't given."""
    chance = random.Random(seed)
    usual = chance.choice((0, 0, 1, 3, 8, 20))
    number = str(usual if threads is None else threads)
    settings = _settings(chance) if env is None else env
    with running(exe, str(seed), number, directory=directory, env=settings) as inferior:
        found = Heap(inferior, chance, symbols)
        try:
            yield found
        finally:
            found.close()


def _settings(chance: random.Random) -> dict[str, str]:
    """Return tunables for half of all heaps; where heaps are longer by them, how long."""
    names = chance.sample(sorted(TUNABLES), chance.choice((0, 0, 1, 2, 4)))
    words = [f"glibc.malloc.{name}={chance.choice(TUNABLES[name])}" for name in names]
    if not words:
        return {}
    env = {"GLIBC_TUNABLES": ":".join(words)}
    if "glibc.malloc.hugetlb=2" in words:
        env["HEAPX_HEAP_MAX"] = str(4 * huge_page())
    return env


def huge_page() -> int:
    """Return the size of the kernel's usual huge page, in bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Hugepagesize:"))


GROWING = ("extend", "new_heap", "new_arena")


def difference(row: dict[str, Any], answer: Answer | None, word: int = 8) -> str | None:
    """Return what of a prediction didn't come true; None where all did."""
    source = row["source"]
    if answer is None:
        return None if "malloc would abort" in (row["reason"] or "") else f"aborted, not {source}"
    if source is None:
        return f"unknown: {row['reason']}"
    what = {"mmap": "mapped", "fails": "fails"}.get(source, "free")
    if source in GROWING or (what == "free" and row["grows"]):
        what = "extended"
    if what != answer.what:
        return f"{answer.what}, not {what}"
    if what == "fails":
        return None
    wrong = [f"{name} {a} is {b}" for name, a, b in _claims(row, answer, word) if a != b]
    if row["grows"] is not None and row["grows"] not in answer.grown:
        wrong.append(f"grows {row['grows']} is {answer.grown}")
    return ", ".join(wrong) or None


def _claims(row: dict[str, Any], answer: Answer, word: int) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is claimed of a chunk, and what it is; new mappings have no address."""
    address = answer.address - 2 * word
    if row["address"] is not None or row["source"] not in ("mmap", *GROWING):
        yield "address", row["address"], hex(address)
    if row["chunk_size"] is not None or row["source"] != "mmap":
        yield "chunk_size", row["chunk_size"], answer.word & ~FLAGS
    if row["remainder"]:
        yield "remainder", row["remainder"], answer.next & ~FLAGS
