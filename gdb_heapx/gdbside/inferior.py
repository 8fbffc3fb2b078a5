"""The selected inferior of gdb as a Target: its memory, symbols, threads and mappings."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gdb

from ..elf import Elf
from ..errors import HeapxError, MemoryFault
from ..layout import Member, Struct
from ..pages import PageStates
from ..procfs import ProcessMemory, QuietMemory, read_maps, swap_allowance, thread_name
from ..target import ByteOrder, Mapping, Memory, Target, Thread
from .frames import inside_malloc


class InferiorMemory:
    """Memory of the selected inferior, whatever it is: process, core or remote."""

    def __init__(self, inferior: gdb.Inferior) -> None:
        self._inferior = inferior

    def read(self, address: int, size: int) -> memoryview:
        try:
            return memoryview(self._inferior.read_memory(address, size)).cast("B")
        except (gdb.MemoryError, gdb.error, OverflowError):
            raise MemoryFault(address, size) from None


class ObjectFile:
    """Symbols and types of one object file, from it and its separate debug file."""

    def __init__(self, objfile: gdb.Objfile, debug_files: list[str]) -> None:
        self._objfile = objfile
        self._debug_files = debug_files
        self.path: str = objfile.filename
        self.build_id: str | None = objfile.build_id

    def _symbol(self, name: str) -> gdb.Symbol | None:
        return self._objfile.lookup_static_symbol(name) or self._objfile.lookup_global_symbol(name)

    def address(self, name: str) -> int | None:
        symbol = self._symbol(name)
        if symbol is None or symbol.addr_class not in (
            gdb.SYMBOL_LOC_STATIC,
            gdb.SYMBOL_LOC_UNRESOLVED,
        ):
            return None
        try:
            address = symbol.value().address
        except gdb.error:  # declared, but not defined here
            return None
        return None if address is None else int(address)

    def function(self, name: str) -> int | None:
        """Return the address of a function of this object file, None if it has none so named."""
        symbol = self._symbol(name)
        if symbol is None or symbol.addr_class != gdb.SYMBOL_LOC_BLOCK:
            return None
        return int(symbol.value().address)

    def struct(self, name: str) -> Struct | None:
        symbol = self._objfile.lookup_static_symbol(name, gdb.SYMBOL_STRUCT_DOMAIN)
        if symbol is None or symbol.type is None:
            return None
        members = {
            field.name: Member(field.bitpos // 8, field.type.strip_typedefs().sizeof)
            for field in symbol.type.fields()
            if field.name and hasattr(field, "bitpos")
        }
        return Struct(name, symbol.type.sizeof, members)

    def dynamic_symbol(self, name: str) -> int | None:
        try:
            return Elf(self.path).dynamic_symbol(name)
        except (OSError, ValueError):
            return None

    def tls_offset(self, name: str) -> int | None:
        for path in (*self._debug_files, self.path):
            try:
                offset = Elf(path).tls_symbol(name)
            except (OSError, ValueError):
                continue
            if offset is not None:
                return offset
        return None


def current_target(swap_in: int | None = None) -> Target:
    """Return the selected inferior as a Target; HeapxError if there is nothing to look at."""
    inferior = gdb.selected_inferior()
    if not inferior.pid and not inferior.threads():
        raise HeapxError(
            "no process and no core to look at",
            "Attach first: attach PID, or start gdb with -p PID, or gdb PROGRAM CORE.",
        )
    if any(thread.is_running() for thread in inferior.threads()):
        raise HeapxError("the process is running", "Interrupt it first (Ctrl-C, or interrupt -a).")
    native = _is_native(inferior)
    core = core_path()
    word = gdb.lookup_type("long").sizeof
    page = _page_size()
    memory: Memory = InferiorMemory(inferior)
    bulk: Memory | None = None
    pid = inferior.pid or None
    mappings = _mappings(pid, native, core)
    residency: PageStates | None = None
    no_residency: str | None = "a core doesn't tell" if core else "the process is remote"
    if native and pid is not None:
        try:
            residency, no_residency = PageStates(pid, page, mappings), None
            allowed = swap_allowance() if swap_in is None else swap_in
            of_process = (ProcessMemory(pid), residency, pid, mappings)
            memory, bulk = QuietMemory(*of_process), QuietMemory(*of_process, allowed)
        except OSError as error:  # pages are then read whatever their state
            no_residency = f"/proc/{pid}/pagemap: {error.strerror}"
    return Target(
        memory=memory,
        word=word,
        byteorder=_byteorder(),
        architecture=_architecture(inferior),
        page=page,
        live=core is None,
        pid=pid,
        exe=gdb.current_progspace().filename,
        mappings=mappings,
        threads=tuple(_threads(inferior, pid if native else None)),
        objects=tuple(objects()),
        inside_malloc=lambda: inside_malloc(inferior),
        residency=residency,
        no_residency=no_residency,
        defines=_defines,
        bulk=bulk,
    )


def _defines(function: str) -> bool:
    """Tell whether the program's own file has this function."""
    try:
        return Elf(gdb.current_progspace().filename or "").has_function(function)
    except (OSError, ValueError):
        return False


def _is_native(inferior: gdb.Inferior) -> bool:
    """Tell whether the inferior is a process of this machine, so that /proc/PID is its."""
    return re.search(r"\bnative\b", _connection()) is not None


def _connection() -> str:
    """Return how gdb is connected: the third column of `info inferiors` ("1 (native)")."""
    line = re.search(r"^\*.*", gdb.execute("info inferiors", to_string=True), re.M)
    return line[0] if line else ""


def core_path() -> str | None:
    match = re.search(
        r"Local core dump file:\s+`(.*?)', file type", gdb.execute("info files", to_string=True)
    )
    return match[1] if match else None


def _architecture(inferior: gdb.Inferior) -> str:
    return str(inferior.architecture().name())


def _byteorder() -> ByteOrder:
    return "big" if "big endian" in gdb.execute("show endian", to_string=True) else "little"


def _page_size() -> int:
    """Return the page size from the auxiliary vector (AT_PAGESZ), 4096 if gdb can't tell."""
    try:
        text = gdb.execute("info auxv", to_string=True)
    except gdb.error:
        return 4096
    match = re.search(r"AT_PAGESZ.*?(\d+)\s*$", text, re.M)
    return int(match[1]) if match else 4096


def _mappings(pid: int | None, native: bool, core: str | None) -> tuple[Mapping, ...]:
    if core is not None:
        try:
            return Elf(core).core_mappings()
        except (OSError, ValueError):
            return ()
    if not native or pid is None:
        return ()
    try:
        return read_maps(pid)
    except OSError as error:
        raise HeapxError(f"cannot read /proc/{pid}/maps: {error.strerror}") from None


def _threads(inferior: gdb.Inferior, pid: int | None) -> Iterator[Thread]:
    for thread in inferior.threads():
        lwp = thread.ptid[1] or thread.ptid[0]
        yield Thread(lwp, thread.name or (thread_name(pid, lwp) if pid else None))


def objects() -> Iterator[ObjectFile]:
    files = [objfile for objfile in gdb.objfiles() if objfile.is_valid() and objfile.filename]
    for objfile in files:
        if objfile.owner is None:
            debug = [f.filename for f in files if f.owner is not None and f.owner == objfile]
            yield ObjectFile(objfile, debug)
