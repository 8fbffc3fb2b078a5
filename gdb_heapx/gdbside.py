"""The edge to gdb: the only module that imports it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import gdb

from . import glibc, snapshot
from .command import Command, Terminal, execute, load_commands
from .elf import Elf
from .errors import HeapxError, MemoryFault
from .layout import Member, Struct
from .pages import PageStates
from .procfs import ProcessMemory, QuietMemory, read_maps, swap_allowance, thread_name
from .snapshot import Scope, Snapshot
from .target import ByteOrder, Mapping, Memory, Target, Thread

FRAMES = 16  # how deep malloc may be below a system call


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
    core = _core_path()
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
        objects=tuple(_objects()),
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


def _core_path() -> str | None:
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


def _objects() -> Iterator[ObjectFile]:
    files = [objfile for objfile in gdb.objfiles() if objfile.is_valid() and objfile.filename]
    for objfile in files:
        if objfile.owner is None:
            debug = [f.filename for f in files if f.owner is not None and f.owner == objfile]
            yield ObjectFile(objfile, debug)


@contextmanager
def _selection_kept() -> Iterator[None]:
    """Afterwards the thread and frame that were selected before are so again."""
    thread = gdb.selected_thread()
    frame = gdb.selected_frame() if thread else None
    try:
        yield
    finally:
        if thread and thread.is_valid():
            thread.switch()
            if frame and frame.is_valid():
                frame.select()


def inside_malloc(inferior: gdb.Inferior) -> dict[int, str]:
    """Return the function by LWP of every thread that stands inside malloc or free."""
    inside = {}
    with _selection_kept():
        for thread in inferior.threads():
            thread.switch()
            for name in _function_names():
                if glibc.MALLOC_FUNCTIONS.match(name):
                    inside[thread.ptid[1] or thread.ptid[0]] = name
    return inside


def _function_names() -> Iterator[str]:
    """Yield the names of the selected thread's innermost frames, as far as they unwind."""
    try:
        frame = gdb.newest_frame()
        for _ in range(FRAMES):
            if frame is None:
                return
            yield frame.name() or ""
            frame = frame.older()
    except gdb.error:
        return


class GdbSession:
    """The selected inferior, while it is stopped."""

    def take(self, scope: Scope) -> Snapshot:
        return snapshot.take(current_target(scope.swap_in), scope)

    def malloc_trim(self, pad: int) -> int:
        """Call malloc_trim of every libc in the first thread, while all others stand still."""
        inferior = gdb.selected_inferior()
        if _core_path() is not None:
            raise HeapxError("a core can't be trimmed", "malloc_trim needs a living process.")
        for lwp, function in inside_malloc(inferior).items():
            raise HeapxError(
                f"thread {lwp} is inside {function}: malloc_trim could wait for it forever",
                "Let the process run on, and try again.",
            )
        # glibc defines it as __malloc_trim, with malloc_trim as an alias.
        found = (each.function("__malloc_trim") for each in _objects())
        addresses = [address for address in found if address is not None]
        if not addresses:
            raise HeapxError("libc has no function __malloc_trim")
        thread = inferior.threads()[0]
        gdb.write(f"heapx: calling malloc_trim({pad}) in thread {thread.num}\n", gdb.STDERR)
        calls = (f"((int (*)(unsigned long)) {address})({pad})" for address in addresses)
        with _selection_kept(), _setting("scheduler-locking", "on"), _signals_passed():
            thread.switch()
            try:
                return max([int(gdb.parse_and_eval(call)) for call in calls])
            except gdb.error as error:
                raise HeapxError(f"malloc_trim did not return: {error}") from None


@contextmanager
def _signals_passed() -> Iterator[None]:
    """Let waiting signals reach the program, instead of stopping a called function half-way."""
    table = re.findall(
        r"^(SIG\w+)\s+(Yes|No)\s+(Yes|No)\s+(Yes|No)",
        gdb.execute("info signals", to_string=True),
        re.M,
    )
    gdb.execute("handle all nostop noprint pass", to_string=True)
    try:
        yield
    finally:
        for name, *values in table:
            words = zip(values, ("stop", "print", "pass"))
            actions = " ".join(word if value == "Yes" else f"no{word}" for value, word in words)
            if actions != "nostop noprint pass" and name not in ("SIGTRAP", "SIGINT"):
                gdb.execute(f"handle {name} {actions}", to_string=True)


@contextmanager
def _setting(name: str, value: str) -> Iterator[None]:
    """Set a parameter of gdb for a while."""
    before = gdb.parameter(name)
    gdb.execute(f"set {name} {value}", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"set {name} {before}", to_string=True)


def _terminal() -> Terminal:
    """Return gdb's terminal; through a pipe or to a string gdb has no width, and no colour."""
    width = gdb.parameter("width")
    colour = width is not None and gdb.parameter("style enabled")
    return Terminal(
        width or shutil.get_terminal_size().columns, bool(colour and "NO_COLOR" not in os.environ)
    )


class _GdbCommand(gdb.Command):
    """One declared command as gdb sees it."""

    def __init__(self, declared: Command) -> None:
        self.__doc__ = declared.help()
        self._declared = declared
        prefix = " " not in declared.name
        super().__init__(declared.name, gdb.COMMAND_DATA, prefix=prefix)

    def invoke(self, argument: str, from_tty: bool) -> None:
        words = [*self._declared.name.split()[1:], *gdb.string_to_argv(argument)]
        try:
            answer = execute(words, lambda: nullcontext(GdbSession()), _terminal())
        except HeapxError as error:
            raise gdb.GdbError(str(error)) from None
        if answer.warning and not _GdbCommand.warned:
            gdb.write(answer.warning + "\n", gdb.STDERR)
            _GdbCommand.warned = True
        with suppress(KeyboardInterrupt):  # `q` at the pager: stop printing
            gdb.write(answer.text)

    warned = False

    def complete(self, text: str, word: str | None) -> list[str] | int:
        """Complete the last word; gdb breaks words at `-` and replaces only what follows it."""
        before, _, last = text.rpartition(" ")
        matches = self._declared.complete(before.split(), last)
        if word is None:  # asked where the word begins
            return matches
        done = len(last) - len(word)
        return [match[done:] for match in matches]


def register() -> None:
    """Make the declared commands gdb's."""
    commands = load_commands()
    for name in sorted(commands):  # the prefix first
        _GdbCommand(commands[name])


def serve(path: str) -> None:
    """Answer the request that the shell command left in a file, and write the answer there."""
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    terminal = Terminal(request["width"], request["colour"])
    try:
        answer = execute(request["words"], lambda: _opened(request), terminal)
        result = {"status": answer.status, "text": answer.text, "error": answer.warning or ""}
    except HeapxError as error:
        result = {"status": error.status, "text": "", "error": f"heapx: {error}"}
    except KeyboardInterrupt:
        result = {"status": 130, "text": "", "error": "heapx: interrupted"}
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(result, file)


@contextmanager
def _opened(request: dict[str, Any]) -> Iterator[GdbSession]:
    """Attach to the process or open the core that a request names; detach in any case."""
    pid, core = request["pid"], request["core"]
    gdb.execute("set auto-solib-add off", to_string=True)
    if request["exe"]:
        _try(f"file {_quoted(request['exe'])}", f"cannot open the program {request['exe']}")
    elif pid is not None:
        with suppress(gdb.error):  # not permitted: then the attach says so
            gdb.execute(f"file /proc/{pid}/exe", to_string=True)
    if core is not None:
        _try(f"core-file {core}", f"cannot open the core {core}")
    if pid is not None:
        _attach(pid)
    try:
        for library in ("libc", "libpthread", "ld"):
            gdb.execute(f"sharedlibrary /{library}[-.0-9][^/]*$", to_string=True)
        yield GdbSession()
    finally:
        if pid is not None:
            gdb.execute("detach", to_string=True)


def _attach(pid: int) -> None:
    try:
        # gdb would hand a Ctrl-C on to the process: it waits until gdb has attached.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        gdb.execute(f"attach {pid}", to_string=True)
    except gdb.error as error:
        if not os.path.exists(f"/proc/{pid}"):
            raise HeapxError(f"no process {pid}") from None
        if "not permitted" in str(error):
            raise HeapxError(f"not permitted to attach to process {pid}", *_permissions()) from None
        raise HeapxError(f"cannot attach to process {pid}: {error}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _permissions() -> tuple[str, ...]:
    return (
        "Run heapx as root, or as the user of the process with",
        "  sysctl kernel.yama.ptrace_scope=0",
        "In a container: run it on the host, or start the container with --cap-add=SYS_PTRACE.",
        "A process that another debugger (gdb, strace) traces can't be attached to.",
    )


def _try(line: str, failure: str) -> None:
    try:
        gdb.execute(line, to_string=True)
    except gdb.error as error:
        raise HeapxError(f"{failure}: {error}") from None


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
