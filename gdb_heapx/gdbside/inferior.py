"""The selected inferior of gdb as a Target: its memory, symbols, threads and mappings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from operator import attrgetter

import gdb

from ..errors import HeapxError, MemoryFault
from ..glibc.architecture import Architecture
from ..glibc.layout import align_down
from ..target.access import (
    Access,
    environment_in,
    if_same,
    of_core,
    of_process,
    page_size,
    program_of,
)
from ..target.by_content import as_mapped
from ..target.facts import Facts, Thread
from ..target.forks import parent_of
from ..target.granting import granting_of
from ..target.images import Image
from ..target.leaders import process_of
from ..target.mappings import Mapping, Mappings, Memory, check_range
from ..target.pace import Pace, PacedMemory
from ..target.procfs import born, cpus, inner_lwps, read_environment, stands_still, thread_name
from ..target.space import Space
from ..target.target import Target
from .debuginfo import ObjectFile, debug_info, first_sections
from .frames import unseen_threads
from .pacing import InterruptibleMemory
from .probe import InferiorProbe
from .strings import exact, said
from .values import byteorder, word_size


class InferiorMemory:
    """Memory of the selected inferior, whatever it is: process, core or remote."""

    def __init__(self, inferior: gdb.Inferior) -> None:
        self._inferior = inferior

    def read(self, address: int, size: int) -> memoryview:
        check_range(address, size)
        try:
            return memoryview(self._inferior.read_memory(address, size)).cast("B")
        except (gdb.MemoryError, gdb.error, OverflowError):
            raise MemoryFault(address, size) from None


def current_target(swap_in: int | None, compiled: bool, pace: Pace, figures: bool = True) -> Target:
    """Return the selected inferior as a Target, read at this pace; HeapxError if there is nothing
    to look at. `figures` as access.of_process.
    """
    inferior = gdb.selected_inferior()
    if not inferior.pid and not inferior.threads():
        raise HeapxError(
            "no process and no core to look at",
            "Attach first: attach PID, or start gdb with -p PID, or gdb PROGRAM CORE.",
        )
    core = core_path()
    pid = inferior.pid or None
    native = is_native(inferior)
    if not _stands_still(inferior, pid if native else None):
        raise HeapxError(
            "threads of the process are running",
            "Interrupt it first: Ctrl-C, or interrupt -a.",
            "In a breakpoint's condition gdb lets other threads run on. Before attach or run, say:",
            "  maint set target-non-stop off",
        )
    word = word_size()
    plain = InferiorMemory(inferior)
    if native and pid is not None:
        access = of_process(pid, word, swap_in, plain, debug_info(), figures)
        environment = read_environment(pid)
    else:
        access = _of_core(core, plain) if core else _of_remote(plain)
        environment = environment_in(access.memory, access.auxiliary)
    exe, how, machine = _program(inferior, access)
    facts = Facts(
        pid=process_of(pid) if native and pid else pid,
        exe=exe,
        exe_how=how,
        word=word,
        byteorder=byteorder(),
        machine=machine,
        architecture=inferior.architecture().name(),
        page=page_size(access.auxiliary),
        live=core is None,
        mappings=access.mappings,
        threads=tuple(sorted(_threads(inferior, pid if native else None), key=attrgetter("lwp"))),
        environment=environment,
        no_residency=access.no_residency,
        cut=access.cut,
        by_debugger=access.by_debugger,
        parent=parent_of(process_of(pid)) if native and pid else None,
        cpus=cpus(pid) if native and pid else None,
        born=born(process_of(pid)) if native and pid else None,
    )
    memory = PacedMemory(access.memory, pace)
    seen = Space(facts, memory, access.residency, compiled, pace, access.fill)
    probe = InferiorProbe(inferior, pid if native else None)
    if not native or pid is None:
        return Target(seen, access.images, probe)
    return Target(seen, access.images, probe, partial(granting_of, process_of(pid), facts.page))


def _of_core(path: str, plain: Memory) -> Access:
    """Return a core. gdb's memory has what isn't in it, but in the files that gdb knows; these are
    its files where it doesn't tell which it maps.
    """
    debug = tuple(debug_info())
    try:
        access = of_core(path, debug)
    except (OSError, ValueError):
        return _of_gdb(plain, "a core doesn't tell")
    page = page_size(access.auxiliary)
    images = access.images or _files_of_gdb(debug, access.memory, page)
    return access._replace(memory=plain, images=images)


def _of_remote(plain: Memory) -> Access:
    """Return a process elsewhere, which may not answer."""
    return _of_gdb(InterruptibleMemory(plain), "the process is remote")


def _of_gdb(plain: Memory, why: str) -> Access:
    """Return what only gdb has: a remote process, or a core of another format."""
    auxiliary = _auxiliary()
    images = _files_of_gdb(debug_info(), plain, page_size(auxiliary))
    return Access(plain, Mappings.of(()), images, auxiliary, None, why)


def _files_of_gdb(debug: Iterable[ObjectFile], memory: Memory, page: int) -> tuple[Image, ...]:
    """Return gdb's files as images: without mappings gdb alone knows where a file begins."""
    sections, images = first_sections(), []
    for info in debug:
        first = sections.get(info.path)
        parts = () if first is None else _parts(memory, align_down(first, page), page, info.path)
        file = Mapping(0, 0, "r--p", 1, info.path)
        images.append(Image(info.path, parts, memory, partial(if_same, file), info))
    return tuple(images)


def _parts(memory: Memory, start: int, page: int, name: str) -> tuple[Mapping, ...]:
    """Return where the parts of a file are if it begins at `start`; () if something else does."""
    parts = as_mapped(memory, start, name)
    try:
        memory.read(start, 1)
    except MemoryFault:  # a core may lack it
        return (Mapping(start, start + page, "r--p", 1, name),)
    return parts


def _program(inferior: gdb.Inferior, access: Access) -> tuple[str | None, str, Architecture]:
    """Return the program's path, how it is known, and what machine it is for."""
    program = program_of(access)
    machine = program[0].architecture if program else None
    machine = machine or _called(inferior.architecture().name())
    if program is None:
        return exact(lambda: gdb.current_progspace().filename), "gdb", machine
    return program[0].path, program[1], machine


def _stands_still(inferior: gdb.Inferior, pid: int | None) -> bool:
    """Tell whether all threads stand still: a process of this machine's by the kernel's word.

    In a breakpoint's condition gdb calls all of them running, though the one that hit it stands.
    """
    if pid is not None:
        return stands_still(pid)
    return not any(thread.is_running() for thread in inferior.threads())


def is_native(inferior: gdb.Inferior) -> bool:
    """Tell whether the inferior is a process of this machine, so that /proc/PID is its."""
    return _connection() == "native"


def _connection() -> str | None:
    """Return how gdb is connected, the third column of `info inferiors`: "1 (native)". The
    program's name follows it, and can be anything.
    """
    found = re.search(r"^\*\s+\d+\s+process \d+\s+\d+ \(([\w-]+)", said("info inferiors"), re.M)
    return found[1] if found else None


def core_path() -> str | None:
    match = re.search(r"^Local core dump file:\s+`(.*?)', file type", said("info files"), re.M)
    return match[1] if match else None


# By what gdb calls them, where no file tells; the longer names first.
ARCHITECTURES = {
    "i386:x86-64": Architecture.X86_64,
    "i386:x64-32": Architecture.X32,
    **{each.value: each for each in Architecture},
}


def _called(name: str) -> Architecture:
    """Return the architecture that gdb calls so."""
    found = (each for known, each in ARCHITECTURES.items() if name.startswith(known))
    return next(found, Architecture.OTHER)


def _auxiliary() -> dict[int, int]:
    """Return the auxiliary vector that gdb knows by AT_ number, {} without."""
    try:
        text = said("info auxv")
    except gdb.error:
        return {}
    rows = re.findall(r'^(\d+)\s+\S+\s.*?\s(0x[0-9a-f]+|\d+)(?:\s+".*)?$', text, re.M)
    return {int(number): int(value, 0) for number, value in rows}


def _threads(inferior: gdb.Inferior, pid: int | None) -> Iterator[Thread]:
    inner = inner_lwps(pid) if pid else lambda lwp: None
    for thread in inferior.threads():
        lwp = thread.ptid[1] or thread.ptid[0]
        name = thread_name(pid, lwp) if pid else None
        name = name or exact(partial(getattr, thread, "name"))
        yield Thread(lwp, name, inner(lwp))
    for lwp in sorted(unseen_threads(inferior)):
        assert pid is not None
        yield Thread(lwp, thread_name(pid, lwp), inner(lwp))
