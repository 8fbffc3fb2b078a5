"""What scripts/record_image does inside gdb: a process as plain facts, and its pages.

It asks for what heapx could ask for, not only for what it asks today.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
WORDS = {8: "Q", 4: "I"}
FRAMES = 16

FACTS = (
    *("word", "byteorder", "architecture", "page"),
    *("pid", "exe", "exe_how", "environment"),
)
STRUCTS = (
    *("malloc_state", "malloc_par", "_heap_info", "malloc_chunk"),
    *("tcache_perthread_struct", "tcache_entry"),
    *("pthread", "rtld_global", "link_map", "link_namespaces"),
)
THREAD_LOCAL = ("tcache", "thread_arena", "tcache_shutting_down", "errno", "__libc_errno")
CONSTANTS = ("__libc_version", "_IO_stdin_used")
FUNCTIONS = (
    *("malloc", "calloc", "realloc", "free", "memalign", "malloc_trim", "gnu_get_libc_version"),
    *("mallctl", "tc_malloc", "mi_malloc", "__malloc_donate"),
)
TEXTS = (  # those of locate/release.py and locate/allocators.py
    r"GNU C Library [^\n]*version (\d{1,3}\.\d{1,3})",
    *(r"(<jemalloc>)", r"(tcmalloc: |google_malloc)", r"(mimalloc: )"),
    r"(musl libc|MUSL_LOCPATH|No error information|-0X\+0X 0X-0x\+0x 0x)",
    *(r"(Go buildinf:)", r"(malloc\(\): )", r"(glibc)"),
)


def variables(path: str) -> set[str]:
    """Return the names of a file's variables that can be written, and of nptl's descriptors."""
    done = subprocess.run(["nm", "--format=posix", path], capture_output=True, text=True)
    named = [line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) > 2]
    plain = {name for name, kind in named if kind in "bBdD" and "." not in name}
    return plain | {name for name, _ in named if name.startswith("_thread_db_")}


def found(ask: Callable[[str], Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the answers by name, without those that are None."""
    answers = {name: ask(name) for name in sorted(names)}
    return {name: answer for name, answer in answers.items() if answer is not None}


def runs(states: Iterable[int]) -> list[list[int]]:
    """Return equal numbers in a row as [count, number]."""
    return [[sum(1 for _ in same), value] for value, same in groupby(states)]


# What the kernel says.


class Row(NamedTuple):
    """One mapping as a line of /proc/PID/smaps shows it."""

    start: int
    end: int
    permissions: str
    name: str


_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)")
_FILE = re.compile(r"^([0-9a-f]+-[0-9a-f]+ \S+ [0-9a-f]+) (\S+) ([1-9]\d*)", re.M)


def mappings(smaps: str) -> list[Row]:
    lines = filter(None, map(_LINE.fullmatch, smaps.splitlines()))
    return [Row(int(m[1], 16), int(m[2], 16), m[3], m[4]) for m in lines]


def kernel(pid: int) -> str:
    """Return a process's smaps, its files numbered: devices and inodes differ every time."""
    numbers: dict[tuple[str, str], int] = {}

    def numbered(match: re.Match[str]) -> str:
        number = numbers.setdefault((match[2], match[3]), len(numbers) + 1)
        return f"{match[1]} 00:00 {number}"

    return _FILE.sub(numbered, Path(f"/proc/{pid}/smaps").read_text())


# What gdb says, and heapx's own reading.


class Seam:
    """All that is asked of the target, and of its files: what changes with the seam is here."""

    def __init__(self) -> None:
        import gdb

        from gdb_heapx.gdbside.debuginfo import debug_info, file_of
        from gdb_heapx.gdbside.inferior import current_target
        from gdb_heapx.target.headers import PF_W
        from gdb_heapx.target.pace import Pace

        self.gdb, self.target = gdb, current_target(None, True, Pace())
        self.debug = list(debug_info())
        self.names: dict[str, set[str]] = {}  # of variables, by the file's build-id
        for objfile in filter(file_of, gdb.objfiles()):
            own = self.names.setdefault((objfile.owner or objfile).build_id, set())
            own.update(variables(file_of(objfile)))
        self.data = [span for image in self.target.objects for span in image.spans(PF_W)]
        self.states, self.symbol = self.target.space.residency.states, self.target.probe.symbol

    def read(self, address: int, size: int) -> bytes:
        """Return what is there, nothing where it can't be read."""
        from gdb_heapx.errors import MemoryFault

        with suppress(MemoryFault):
            return bytes(self.target.space.memory.read(address, size))
        return b""

    def facts(self) -> dict[str, Any]:
        target, facts = self.target, self.target.facts
        return {
            **{name: getattr(facts, name) for name in FACTS},
            "threads": list(self.threads()),
            "inside_malloc": target.probe.inside_malloc() or {},
            "aborting": sorted(target.probe.aborting() or ()),
            "kept_by_kernel": target.probe.kept_by_kernel(),
            "debug": [self.of_debugger(info) for info in self.debug],
            "files": {image.path: self.of_file(image) for image in target.objects if image.file},
        }

    def of_debugger(self, info: Any) -> dict[str, Any]:
        names = {*self.names.get(info.build_id, ()), *CONSTANTS}
        structs = {name: info.struct(name) for name in STRUCTS}
        return {
            "path": info.path,
            "build_id": info.build_id,
            "addresses": found(info.address, names),
            "structs": {
                name: {"size": s.size, "members": {n: list(m) for n, m in s.members.items()}}
                for name, s in structs.items()
                if s
            },
            "tls": found(info.tls_offset, THREAD_LOCAL),
        }

    def of_file(self, image: Any) -> dict[str, Any]:
        elf, names = image.file, {*self.names.get(image.build_id, ()), *CONSTANTS}
        texts = {text: elf.search(text.encode()) for text in TEXTS}
        return {
            "variables": found(elf.variable, names),
            "exported": found(elf.exported, names),
            "functions": {name: elf.function(name) for name in FUNCTIONS},
            "thread_local": found(elf.thread_local, THREAD_LOCAL),
            "texts": {text: match and match[0].decode() for text, match in texts.items()},
            "rows": list(self.rows(image)),
            "sections": [
                [elf.section_name(each), *each[1:]] for each in elf.sections if each.address
            ],
        }

    def rows(self, image: Any) -> Iterator[list[Any]]:
        """Yield the symbols of its variables: name, and what else a symbol table says."""
        from gdb_heapx.target.debugfiles import symbol_files
        from gdb_heapx.target.headers import PF_W
        from gdb_heapx.target.named import STT_COMMON, STT_OBJECT, STT_TLS

        spans = [(start - image.base, end - image.base) for start, end in image.spans(PF_W)]
        for table in symbol_files(image.elf, image.path):
            for rows in table.rows():
                for row in rows:
                    kind = row.info & 15
                    written = any(start <= row.value < end for start, end in spans)
                    placed = kind in (STT_OBJECT, STT_COMMON) and written
                    if row.section and (placed or kind == STT_TLS):
                        yield [rows.name(row), *row[1:]]

    def threads(self) -> Iterator[dict[str, Any]]:
        pointers = self.target.probe.thread_pointers() or {}
        held = self.target.probe.registers() or {}
        of_gdb = {thread.ptid[1]: thread for thread in self.gdb.selected_inferior().threads()}
        for thread in self.target.facts.threads:
            of_gdb[thread.lwp].switch()
            yield {
                "lwp": thread.lwp,
                "name": thread.name,
                "inner": thread.inner,
                "pointer": pointers.get(thread.lwp),
                "registers": self.registers(),
                "held": held.get(thread.lwp),
                "frames": self.frames(),
            }

    def registers(self) -> dict[str, int]:
        frame = self.gdb.newest_frame()
        values = {}
        for register in frame.architecture().registers("general"):
            with suppress(self.gdb.error, ValueError):
                values[register.name] = int(frame.read_register(register)) % (1 << 64)
        return values

    def frames(self) -> list[str]:
        """Return the functions that the selected thread is in, the innermost first."""
        frame, names = self.gdb.newest_frame(), []
        with suppress(self.gdb.error):
            while frame is not None and len(names) < FRAMES:
                names.append(frame.name())
                frame = frame.older()
        return names


class Pages:
    """The pages that were read, by address."""

    def __init__(self, seam: Seam, page: int) -> None:
        self.contents: dict[int, bytes] = {}
        self._seam, self._page = seam, page

    def add(self, start: int, end: int) -> None:
        """Read the pages that hold [start, end), if they can be."""
        for at in range(start - start % self._page, end, self._page):
            if at not in self.contents and (data := self._seam.read(at, self._page)):
                self.contents[at] = data

    def words_within(self, spans: list[tuple[int, int]], word: int, byteorder: str) -> set[int]:
        """Return the words that lead into these spans."""
        low, high = min(spans)[0], max(spans)[1]
        found = set()
        for data in self.contents.values():
            words = array(WORDS[word], data)
            if byteorder != sys.byteorder:
                words.byteswap()
            found.update(value for value in words if low <= value < high)
        return {value for value in found if any(start <= value < end for start, end in spans)}


def record(pid: int) -> tuple[dict[str, Any], Mapping[int, bytes]]:
    """Return the facts of the process that gdb has attached to, and its pages by address."""
    seam, smaps = Seam(), kernel(pid)
    facts, rows = {"format": FORMAT, "smaps": smaps, **seam.facts()}, mappings(smaps)
    facts["auxv"] = list(array(WORDS[facts["word"]], Path(f"/proc/{pid}/auxv").read_bytes()))
    pages = Pages(seam, facts["page"])
    for row in rows:
        if "w" in row.permissions:
            pages.add(row.start, row.end)
    for start, end in seam.data:  # what ld.so has written, and can no longer be
        pages.add(start, end)
    for path in facts["files"]:
        first = min(row.start for row in rows if row.name == path)
        pages.add(first, first + 1)
    addresses = pages.words_within(
        [(row.start, row.end) for row in rows if row.name.startswith("/")],
        facts["word"],
        facts["byteorder"],
    ).union(*(names["addresses"].values() for names in facts["debug"]))
    constants = [row for row in rows if row.permissions.startswith("r--")]
    for address in sorted(addresses):
        if any(row.start <= address < row.end for row in constants):
            pages.add(address, address + 1)
    facts["symbols"] = [[address, seam.symbol(address)] for address in sorted(addresses)]
    facts["states"] = [[row.start, runs(seam.states(row.start, row.end))] for row in rows]
    return facts, {at: data for at, data in pages.contents.items() if any(data)}


def save(pid: int, directory: str) -> None:
    """Record into a directory: facts.json, and the pages that differ, one after another."""
    facts, pages = record(pid)
    unique: dict[bytes, int] = {}
    for _, data in sorted(pages.items()):
        unique.setdefault(data, len(unique))
    facts["pages"] = [[at, unique[data]] for at, data in sorted(pages.items())]
    Path(directory, "facts.json").write_text(json.dumps(facts, indent=0))
    Path(directory, "pages").write_bytes(b"".join(unique))
