"""The selected inferior of gdb as a Target: its memory, symbols, threads and mappings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import gdb

from ..errors import HeapxError, MemoryFault
from ..glibc.architecture import Architecture
from ..glibc.layout import align_down
from ..target.corefile import cut_short
from ..target.elf import AT_EXECFN, AT_PHDR, CoreMemory, Elf
from ..target.facts import ByteOrder, Facts, Thread
from ..target.images import Image, as_mapped, find_images, named_by_content
from ..target.leaders import process_of
from ..target.mappings import Mapping, Memory, check_range
from ..target.pages import PageStates
from ..target.procfs import (
    ProcessMemory,
    QuietMemory,
    inner_lwp,
    malloc_variables,
    open_elf,
    read_environment,
    read_maps,
    stands_still,
    swap_allowance,
    thread_name,
)
from ..target.space import Space
from ..target.target import Target
from .debuginfo import ObjectFile, debug_info, first_sections
from .frames import unseen_threads
from .probe import InferiorProbe
from .strings import exact, said

PAGE_SIZES = {1 << bits for bits in range(12, 21)}
ENVIRONMENT = (128 << 10, 16 << 10, 2 << 10)  # bytes of a stack's end to search, as many as it has


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


def current_target(swap_in: int | None) -> Target:
    """Return the selected inferior as a Target; HeapxError if there is nothing to look at."""
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
    page = _page_size()
    if native and pid is not None:
        space = _process_space(inferior, pid, page, swap_in)
    else:
        space = _core_space(inferior, core) if core else _remote_space(inferior)
    exe, how = _program(space.images)
    facts = Facts(
        pid=process_of(pid) if native and pid else pid,
        exe=exe,
        exe_how=how,
        word=gdb.lookup_type("long").sizeof,
        byteorder=_byteorder(),
        machine=_machine(inferior, space.images, exe),
        architecture=inferior.architecture().name(),
        page=page,
        live=core is None,
        mappings=space.mappings,
        threads=tuple(_threads(inferior, pid if native else None)),
        environment=_environment(space.memory, pid if native else None),
        no_residency=space.no_residency,
        cut=space.cut,
    )
    seen = Space(facts, space.memory, space.residency, space.bulk)
    return Target(seen, space.images, InferiorProbe(inferior))


class _Space(NamedTuple):
    """The address space of a process, a core, or a remote target."""

    memory: Memory
    bulk: Memory | None
    mappings: tuple[Mapping, ...]
    images: tuple[Image, ...]
    residency: PageStates | None
    no_residency: str | None
    cut: str | None = None


def _process_space(inferior: gdb.Inferior, pid: int, page: int, swap_in: int | None) -> _Space:
    try:
        mappings = read_maps(pid)
    except OSError as error:
        raise HeapxError(f"cannot read /proc/{pid}/maps: {error.strerror}") from None
    open_file = partial(open_elf, pid)
    try:
        pages = PageStates(pid, page, mappings)
        of_process = (ProcessMemory(pid), pages, pid, mappings)
        memory = QuietMemory(*of_process)
        bulk = QuietMemory(*of_process, swap_allowance() if swap_in is None else swap_in)
    except OSError as error:  # pages are then read whatever their state
        plain = InferiorMemory(inferior)
        images = find_images(mappings, plain, open_file, debug_info())
        why = f"/proc/{pid}/pagemap: {error.strerror}"
        return _Space(plain, None, mappings, images, None, why)
    images = find_images(mappings, memory, open_file, debug_info())
    return _Space(memory, bulk, mappings, images, pages, None)


def _core_space(inferior: gdb.Inferior, path: str) -> _Space:
    debug = tuple(debug_info())
    memory, why = InferiorMemory(inferior), "a core doesn't tell"
    try:
        core = Elf.open(path)
        mappings, dumped = core.core_mappings(), CoreMemory(core)
    except (OSError, ValueError):
        return _Space(memory, None, (), _files_of_gdb(debug, memory), None, why)

    def open_file(mapping: Mapping, build_id: str | None) -> Elf | None:
        """Return a file of the core if this host has it; the build-id tells."""
        known = [info.path for info in debug if build_id and info.build_id == build_id]
        found = (_if_same(replace(mapping, name=file), build_id) for file in (*known, mapping.name))
        return next((elf for elf in found if elf), None)

    if not any(mapping.name for mapping in mappings):  # it has no NT_FILE
        mappings = named_by_content(mappings, dumped, debug)
    images = find_images(mappings, dumped, open_file, debug) or _files_of_gdb(debug, dumped)
    return _Space(memory, None, mappings, images, None, why, cut_short(core))


def _remote_space(inferior: gdb.Inferior) -> _Space:
    memory, why = InferiorMemory(inferior), "the process is remote"
    return _Space(memory, None, (), _files_of_gdb(debug_info(), memory), None, why)


def _files_of_gdb(debug: Iterable[ObjectFile], memory: Memory) -> tuple[Image, ...]:
    """Return gdb's files as images: without mappings gdb alone knows where a file begins."""
    page, sections, images = _page_size(), first_sections(), []
    for info in debug:
        first = sections.get(info.path)
        parts = () if first is None else _parts(memory, align_down(first, page), page, info.path)
        file = Mapping(0, 0, "r--p", 1, info.path)
        images.append(Image(info.path, parts, memory, partial(_if_same, file), info))
    return tuple(images)


def _parts(memory: Memory, start: int, page: int, name: str) -> tuple[Mapping, ...]:
    """Return where the parts of a file are if it begins at `start`; () if something else does."""
    parts = as_mapped(memory, start, name)
    try:
        memory.read(start, 1)
    except MemoryFault:  # a core may lack it
        return (Mapping(start, start + page, "r--p", 1, name),)
    return parts


def _program(images: tuple[Image, ...]) -> tuple[str | None, str]:
    """Return the program's path, and how it is known: its entry point (AT_ENTRY) lies in it."""
    entry = _auxiliary("AT_ENTRY")
    own = next((image for image in images if entry and entry in image), None)
    if own is None:
        return exact(lambda: gdb.current_progspace().filename), "gdb"
    if own.file is None:
        return own.path, "AT_ENTRY is in it; this host hasn't that file"
    same = "the file has the same build-id" if own.build_id else "it has no build-id"
    return own.path, f"AT_ENTRY is in it; {same}"


def _environment(memory: Memory, pid: int | None) -> dict[str, str] | None:
    """Return malloc's variables; in a core they lie below the program's name (AT_EXECFN)."""
    if pid is not None:
        return read_environment(pid)
    name = _auxiliary("AT_EXECFN")
    for size in ENVIRONMENT if name else ():
        with suppress(MemoryFault):
            return malloc_variables(bytes(memory.read((name or 0) - size, size)))
    return None


def core_program(core: str) -> str | None:
    """Return a core's program, if this host has it: the file that its program headers lie in.

    By NT_FILE and AT_PHDR; by its name (AT_EXECFN) where the core doesn't list its mappings.
    """
    try:
        elf = Elf.open(core)
        auxiliary, memory = elf.auxiliary(), CoreMemory(elf)
        images = find_images(elf.core_mappings(), memory, _if_same)
        own = next((i for i in images if auxiliary.get(AT_PHDR, 0) in i), None)
        if own is not None:
            return own.path if own.file else None
        name = bytes(memory.read(auxiliary.get(AT_EXECFN, 0), 256)).split(b"\0")[0]
        return os.fsdecode(name) if os.path.isfile(name) else None
    except (OSError, ValueError, MemoryFault):
        return None


def _if_same(mapping: Mapping, build_id: str | None) -> Elf | None:
    """Return the file of a core's mapping if this host has the same one, by its build-id."""
    with suppress(OSError, ValueError):
        elf = Elf.open(mapping.name) if os.path.isabs(mapping.name) else None
        if elf and (build_id is None or elf.build_id() == build_id):
            return elf
    return None


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


def _machine(inferior: gdb.Inferior, images: Iterable[Image], program: str | None) -> Architecture:
    """Return what the program was made for: other files may be of other machines (qemu)."""
    known = (image.architecture for image in images if image.path == program)
    called = inferior.architecture().name()
    by_name = (each for name, each in ARCHITECTURES.items() if called.startswith(name))
    return next(filter(None, known), None) or next(by_name, Architecture.OTHER)


def _byteorder() -> ByteOrder:
    return "big" if "big endian" in gdb.execute("show endian", to_string=True) else "little"


def _auxiliary(name: str) -> int | None:
    """Return a value of the auxiliary vector, None if gdb can't tell."""
    try:
        text = said("info auxv")
    except gdb.error:
        return None
    match = re.search(rf'{name}\s.*?\s(0x[0-9a-f]+|\d+)(\s+".*)?$', text, re.M)
    return int(match[1], 0) if match else None


def _page_size() -> int:
    """Return the page size in bytes; 4096 if gdb can't tell, or what it tells is none."""
    size = _auxiliary("AT_PAGESZ") or 0
    return size if size in PAGE_SIZES else 4096


def _threads(inferior: gdb.Inferior, pid: int | None) -> Iterator[Thread]:
    for thread in inferior.threads():
        lwp = thread.ptid[1] or thread.ptid[0]
        name = thread_name(pid, lwp) if pid else None
        name = name or exact(partial(getattr, thread, "name"))
        yield Thread(lwp, name, inner_lwp(pid, lwp) if pid else None)
    for lwp in sorted(unseen_threads(inferior)):
        assert pid is not None
        yield Thread(lwp, thread_name(pid, lwp), inner_lwp(pid, lwp))
