"""Recorded images: processes that scripts/record_image has seen, as targets, without gdb.

What an image doesn't have, and a process would have, is an error of the image: record more.
"""

from __future__ import annotations

import json
import re
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from heapbuilder import Answers
from oracle import Oracle
from sessions import Said, said

from gdb_heapx.cli.execute import Terminal
from gdb_heapx.commands import load_commands
from gdb_heapx.errors import HeapxError, MemoryFault
from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.glibc.layout import Member, Struct
from gdb_heapx.held.held import Held, hold
from gdb_heapx.held.hidden import Way
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.locate.runtimes import RUNTIMES
from gdb_heapx.saved.saved import Saved
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.opened import Opened, open_target
from gdb_heapx.snapshots.take import Snapshot, snapshot_of, told_apart
from gdb_heapx.target.elf import Elf
from gdb_heapx.target.facts import Facts, Thread
from gdb_heapx.target.files import find_images
from gdb_heapx.target.mappings import Mapping, check_range
from gdb_heapx.target.maps import parse_smaps
from gdb_heapx.target.named import Row
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED
from gdb_heapx.target.sections import Section
from gdb_heapx.target.space import Space
from gdb_heapx.target.target import Registers, Target

FORMAT = 1
IMAGES = Path(__file__).parent / "images"
NAMES = sorted(path.stem for path in IMAGES.glob("*.zip"))
APART = ("damaged", "aborted", "two-libcs")  # their oracles tell of less
SOUND = [name for name in NAMES if not any(word in name for word in APART)]
# Each release, and a scene of each kind: those that are looked at by default, where all cost much.
RELEASES = [name for name in NAMES if name.count("-") == 1]
KINDS = (
    *("fast", "foreign-sbrk", "in-mmaps", "mmapped", "untouched-top", "why-raised"),
    *("trim-break-between", "trim-fast-beside-top", "trim-huge", "trim-read-since"),
)
FURTHER = [name for name in RELEASES if "i386" in name][1:]  # walked in Python, which takes long
USUAL = {*RELEASES, *(f"2.36-amd64-{kind}" for kind in KINDS)} - {*FURTHER}


RUNTIME = {each.symbol for each in RUNTIMES}  # the recorded programs have none

load_commands()


class NotRecordedError(AssertionError):
    """What is asked for is not in the image."""


class SaidOracle(Oracle):
    """The figures that an inferior wrote before it was recorded, by the names of its files."""

    def __init__(self, said: dict[str, str]) -> None:
        self._said = said

    def _text(self, name: str) -> str:
        return self._said[name]


@dataclass(frozen=True)
class Recording:
    """One image: its facts, its pages by address, and what others said of the process."""

    name: str
    facts: dict[str, Any]
    pages: dict[int, bytes]
    said: dict[str, Any]
    debug_info: bool = True

    @cached_property
    def mappings(self) -> tuple[Mapping, ...]:
        return parse_smaps(self.facts["smaps"])

    @cached_property
    def oracle(self) -> Oracle:
        return SaidOracle(self.said)

    @property
    def pid(self) -> int:
        return int(self.facts["pid"])

    @property
    def exe(self) -> Path:
        return Path(self.facts["exe"])

    @cached_property
    def session(self) -> Replay:
        return Replay(self)

    def answer(self, line: str, width: int = 80) -> Said:
        """Run a command line, which has no `heapx` before it."""
        return said(line, self.session, Terminal(width, False))

    @cached_property
    def without_symbols(self) -> Recording:
        """The same, where the debugger knows no debug info."""
        return replace(self, debug_info=False)

    def text(self, line: str, width: int = 80) -> str:
        return self.answer(line, width).text

    @cached_property
    def _reports(self) -> dict[str, str]:
        return {}

    def report(self, line: str) -> dict[str, Any]:
        """Return a command's report, which is made once."""
        if line not in self._reports:
            self._reports[line] = self.text(f"{line} --format json")
        return json.loads(self._reports[line])


@cache
def load(name: str) -> Recording:
    """Return an image by its name."""
    with zipfile.ZipFile(IMAGES / f"{name}.zip") as archive:
        facts, oracle = (json.loads(archive.read(f"{part}.json")) for part in ("facts", "oracle"))
        data = archive.read("pages")
    assert facts["format"] == FORMAT, "record it again: scripts/record_images"
    page = facts["page"]
    unique = [data[at : at + page] for at in range(0, len(data), page)]
    pages = {at: unique[index] for at, index in facts["pages"]}
    return Recording(name, facts, pages, oracle)


class Memory:
    """The pages of an image; a page that isn't in it is zeros, but for constants of a program."""

    def __init__(self, recording: Recording) -> None:
        self._pages, self._page = recording.pages, recording.facts["page"]
        self._mappings = recording.mappings
        self._starts = [mapping.start for mapping in self._mappings]
        self._files, self._zeros = recording.facts["files"], bytes(self._page)

    def read(self, address: int, size: int) -> memoryview:
        check_range(address, size)
        first = address - address % self._page
        if address + size <= first + self._page:
            return memoryview(self._at(first))[address - first : address - first + size]
        try:
            data = b"".join(self._at(at) for at in range(first, address + size, self._page))
        except NotRecordedError:  # read ahead: who needs that page asks for it alone
            raise MemoryFault(address, size) from None
        return memoryview(data)[address - first : address - first + size]

    def _at(self, address: int) -> bytes:
        found = self._pages.get(address)
        if found is not None:
            return found
        index = bisect_right(self._starts, address) - 1
        mapping = self._mappings[index]
        if index < 0 or address >= mapping.end or "r" not in mapping.permissions:
            raise MemoryFault(address)
        if "w" not in mapping.permissions and mapping.name in self._files:
            raise NotRecordedError(f"{address:#x} of {mapping.name}")
        return self._zeros


class Pages:
    """The states of pages, as runs of [first page, page behind the last, state]."""

    def __init__(self, recording: Recording) -> None:
        self.page = recording.facts["page"]
        self._runs = list(_spread(recording.facts["states"], self.page))
        self._starts = [first for first, _, _ in self._runs]

    def _within(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        for at in range(max(bisect_right(self._starts, first) - 1, 0), len(self._runs)):
            low, high, state = self._runs[at]
            if low >= stop:
                break
            if first < high:
                yield max(low, first), min(high, stop), state

    def states(self, start: int, end: int) -> bytes:
        first, stop = start // self.page, -(-end // self.page)
        if not 0 <= stop - first <= 1 << 20:
            raise MemoryFault(start, end - start)
        data = bytearray(stop - first)
        for low, high, state in self._within(first, stop):
            data[low - first : high - first] = bytes([state]) * (high - low)
        return bytes(data)

    def missing(self, start: int, end: int) -> tuple[int, int, int]:
        held = {RESIDENT: 0, SWAPPED: 0, SHARED: 0}
        for low, high, state in self._within(start // self.page, -(-end // self.page)):
            if state in held:
                held[state] += min(high * self.page, end) - max(low * self.page, start)
        absent = max(end - start, 0) - held[RESIDENT] - held[SHARED]
        return absent, held[SWAPPED], held[SHARED]


def _spread(rows: list[Any], page: int) -> Iterator[tuple[int, int, int]]:
    """Yield every run of pages, given the starts of mappings and [count, state] of each run."""
    for start, runs in rows:
        at = start // page
        for count, state in runs:
            yield at, at + count, state
            at += count


class File(Elf):
    """A file of an image: its headers, and the answers of its symbol tables."""

    def __init__(self, headers: bytes, answers: dict[str, Any]) -> None:
        super().__init__(headers)
        self._answers = answers

    def variable(self, name: str) -> int | None:
        return self._answers["variables"].get(name)

    def exported(self, name: str) -> int | None:
        return self._answers["exported"].get(name)

    def function(self, name: str) -> int | None:
        return None if name in RUNTIME else _asked(self._answers["functions"], name)

    def thread_local(self, name: str) -> int | None:
        return self._answers["thread_local"].get(name)

    has_symbol_table = True  # this machine's debug files say nothing here

    def rows(self) -> Iterator[Any]:
        yield Listed(self._answers.get("rows", []))

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        rows = enumerate(self._answers.get("sections", []))
        return tuple(Section(number, *fields) for number, (_, *fields) in rows)

    def section_name(self, section: Section) -> str | None:
        name = self._answers["sections"][section.name][0]
        return None if name is None else str(name)

    def search(self, pattern: bytes) -> re.Match[bytes] | None:
        text = _asked(self._answers["texts"], pattern.decode())
        return None if text is None else re.search(pattern, text.encode())


class Listed(list[Row]):
    """A symbol table that was recorded; each row has its own name."""

    def __init__(self, rows: list[Any]) -> None:
        super().__init__(Row(number, *row[1:]) for number, row in enumerate(rows))
        self._names: list[str] = [row[0] for row in rows]

    def name(self, row: Row) -> str:
        return self._names[row.name]


def _asked(answers: dict[Any, Any], question: Any) -> Any:
    if question not in answers:
        raise NotRecordedError(question)
    return answers[question]


class Debug:
    """What the debugger knew of one file."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.path: str = answers["path"]
        self.build_id: str | None = answers["build_id"]
        self.debug_files: list[str] = []
        self._answers = answers

    def address(self, name: str) -> int | None:
        return self._answers["addresses"].get(name)

    def struct(self, name: str) -> Struct | None:
        found = self._answers["structs"].get(name)
        if found is None:
            return None
        members = {member: Member(*where) for member, where in found["members"].items()}
        return Struct(name, found["size"], members)

    def tls_offset(self, name: str) -> int | None:
        return self._answers["tls"].get(name)


def target_of(recording: Recording) -> Target:
    """Return the process: what knows the seam is here."""
    facts, memory, mappings = recording.facts, Memory(recording), recording.mappings
    debug = facts["debug"] if recording.debug_info else []
    names = dict(facts["symbols"])

    def open_file(mapping: Mapping, _build_id: str | None) -> Elf | None:
        answers = facts["files"].get(mapping.name)
        return File(recording.pages[mapping.start], answers) if answers else None

    def symbol(address: int) -> str | None:
        of_file = any(m.start <= address < m.end for m in mappings if m.name in facts["files"])
        return _asked(names, address) if of_file else None

    pointers = {t["lwp"]: t["pointer"] for t in facts["threads"] if t["pointer"] is not None}
    held = {t["lwp"]: t["held"] for t in facts["threads"] if t.get("held")}
    registers = {lwp: Registers(pointer, words) for lwp, (pointer, words) in held.items()}
    objects = find_images(mappings, memory, open_file, map(Debug, debug))
    own = next(image for image in objects if image.path == facts["exe"])
    what = Facts(
        **{name: facts[name] for name in ("word", "byteorder", "architecture", "page", "pid")},
        **{name: facts[name] for name in ("exe", "exe_how", "environment")},
        machine=own.architecture or Architecture.OTHER,
        live=True,
        mappings=mappings,
        threads=tuple(Thread(t["lwp"], t["name"], t["inner"]) for t in facts["threads"]),
    )
    probe = Answers(
        inside_malloc=lambda: {int(lwp): name for lwp, name in facts["inside_malloc"].items()},
        aborting=lambda: frozenset(facts["aborting"]),
        thread_pointers=lambda: pointers,
        registers=lambda: registers or None,
        kept_by_kernel=lambda: facts.get("kept_by_kernel"),
        symbol=symbol,
    )
    return Target(Space(what, memory, Pages(recording)), objects, probe)


class Replay:
    """A session on an image: it is read once, as gdb's session does with a process that stands
    still; and it keeps a snapshot of each scope.
    """

    stood_still: float | None = None
    saved: Saved | None = None

    def __init__(self, recording: Recording) -> None:
        self.target = target_of(recording)
        self._snapshots: dict[Scope, Snapshot] = {}

    def take(self, scope: Scope) -> Snapshot:
        if scope not in self._snapshots:
            self._snapshots[scope] = told_apart(snapshot_of(self._read, scope), self._read)
        return self._snapshots[scope]

    def told_apart(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def catalogue(self, scope: Scope) -> Catalogue:
        return Catalogue(self._read)

    @cached_property
    def _read(self) -> Opened:
        return open_target(self.target)

    def hold(self, scope: Scope, shared: bool, passes: bool, ways: Sequence[Way] = ()) -> Held:
        return hold(self._read, shared, ways=ways)

    @contextmanager
    def working(self) -> Iterator[None]:
        yield

    def evaluate(self, expression: str) -> int:
        return int(expression, 0)

    def malloc_trim(self, scope: Scope) -> int:
        raise HeapxError("there is no process to change")

    @contextmanager
    def opened(self, seconds: float | None = None, held: bool = False) -> Iterator[Replay]:
        yield self
