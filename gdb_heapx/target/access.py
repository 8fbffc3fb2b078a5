"""How a target is reached without a debugger: a process by /proc, a core by its file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from ..errors import HeapxError, MemoryFault
from .by_content import named_by_content
from .core import Core, CoreMemory
from .corefile import cut_short
from .elf import Elf
from .files import find_images
from .images import DebugInfo, Image
from .mappings import Fill, Mapping, Mappings, Memory
from .maps import read_maps, read_places
from .pages import PageStates
from .process import ProcessMemory, QuietMemory, open_elf
from .procfs import malloc_variables, read_auxiliary, swap_allowance

AT_PHDR, AT_PAGESZ, AT_ENTRY, AT_EXECFN = 3, 6, 9, 31
PAGE_SIZES = {1 << bits for bits in range(12, 21)}
STACK_ENDS = (128 << 10, 16 << 10, 2 << 10)  # bytes of a stack's end to search, as many as it has


class Access(NamedTuple):
    """The memory of a target, its mappings and files, and its auxiliary vector by AT_ number.

    `fill` is None where no other thread can read; `by_debugger` is of a core that one wrote.
    """

    memory: Memory
    mappings: Mappings
    images: tuple[Image, ...]
    auxiliary: Dict[int, int]
    residency: PageStates | None = None
    no_residency: str | None = None
    cut: str | None = None
    fill: Fill | None = None
    by_debugger: bool = False


def of_process(
    pid: int,
    word: int,
    swap_in: int | None,
    plain: Memory,
    debug: Iterable[DebugInfo],
    figures: bool = True,
) -> Access:
    """Return a process of this machine; by `plain` memory where its pages' states aren't told.

    Without `figures` mappings by the thousand have none of the kernel's, where the states of pages
    are the same without: it takes long to say them.
    """
    try:
        places = None if figures else read_places(pid)
        mappings = read_maps(pid) if places is None else places
    except OSError as error:
        raise HeapxError(f"cannot read /proc/{pid}/maps: {error.strerror}") from None
    auxiliary, open_file = read_auxiliary(pid, word), partial(open_elf, pid)
    try:
        pages = PageStates(pid, page_size(auxiliary), mappings, unswapped=places is not None)
        allowed = swap_allowance() if swap_in is None else swap_in
        memory = ProcessMemory(pid)
        quiet = QuietMemory(memory, pages, pid, mappings, allowed)
    except OSError as error:  # pages are then read whatever their state
        images = find_images(mappings, plain, open_file, debug)
        why = f"/proc/{pid}/pagemap: {error.strerror}"
        return Access(plain, mappings, images, auxiliary, None, why)
    images = find_images(mappings, quiet, open_file, debug)
    return Access(quiet, mappings, images, auxiliary, pages, fill=memory.fill)


def of_core(path: str, debug: Sequence[DebugInfo]) -> Access:
    """Return a core; OSError or ValueError where its file is none."""
    core = Core.open(path)
    mappings, dumped = core.mappings(), CoreMemory(core)

    def open_file(mapping: Mapping, build_id: str | None) -> Elf | None:
        """Return a file of the core if this host has it; the build-id tells."""
        known = [info.path for info in debug if build_id and info.build_id == build_id]
        found = (if_same(mapping._replace(name=file), build_id) for file in (*known, mapping.name))
        return next((elf for elf in found if elf), None)

    if not any(mapping.name for mapping in mappings):  # it has no NT_FILE
        mappings = named_by_content(mappings, dumped, debug)
    images, why = find_images(mappings, dumped, open_file, debug), "a core doesn't tell"
    told = (cut_short(core), dumped.fill_from(path), core.by_debugger)
    return Access(dumped, Mappings.of(mappings), images, core.auxiliary(), None, why, *told)


def page_size(auxiliary: Dict[int, int]) -> int:
    """Return the page size in bytes; 4096 if nothing tells, or what it tells is none."""
    size = auxiliary.get(AT_PAGESZ, 0)
    return size if size in PAGE_SIZES else 4096


def program_of(access: Access) -> tuple[Image, str] | None:
    """Return the program, and how it is known: its entry point (AT_ENTRY) lies in it."""
    entry = access.auxiliary.get(AT_ENTRY)
    own = next((image for image in access.images if entry and entry in image), None)
    if own is None:
        return None
    if own.file is None:
        return own, "AT_ENTRY is in it; this host hasn't that file"
    same = "the file has the same build-id" if own.build_id else "it has no build-id"
    return own, f"AT_ENTRY is in it; {same}"


def environment_in(memory: Memory, auxiliary: Dict[int, int]) -> dict[str, str] | None:
    """Return malloc's variables of a core: they lie below the program's name (AT_EXECFN)."""
    name = auxiliary.get(AT_EXECFN, 0)
    for size in STACK_ENDS if name else ():
        with suppress(MemoryFault):
            return malloc_variables(bytes(memory.read(name - size, size)))
    return None


def core_program(core: str) -> str | None:
    """Return a core's program, if this host has it: the file that its program headers lie in.

    By NT_FILE and AT_PHDR; by its name (AT_EXECFN) where the core doesn't list its mappings.
    """
    try:
        elf = Core.open(core)
        auxiliary, memory = elf.auxiliary(), CoreMemory(elf)
        images = find_images(elf.mappings(), memory, if_same)
        own = next((i for i in images if auxiliary.get(AT_PHDR, 0) in i), None)
        if own is not None:
            return own.path if own.file else None
        name = bytes(memory.read(auxiliary.get(AT_EXECFN, 0), 256)).split(b"\0")[0]
        return os.fsdecode(name) if os.path.isfile(name) else None
    except (OSError, ValueError, MemoryFault):
        return None


def if_same(mapping: Mapping, build_id: str | None) -> Elf | None:
    """Return the file of a mapping if this host has the same one, by its build-id."""
    with suppress(OSError, ValueError):
        elf = Elf.open(mapping.name) if os.path.isabs(mapping.name) else None
        if elf and (build_id is None or elf.build_id() == build_id):
            return elf
    return None
