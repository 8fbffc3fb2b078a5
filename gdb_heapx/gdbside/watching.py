"""The process runs, and stops where malloc gets memory from the system: heapx growth."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress

import gdb

from ..ending import HELD_BACK, held_back
from ..errors import HeapxError
from ..growth.calls import ARGUMENTS, Call, Calls, find_calls
from ..growth.free import MOST_AT_ONCE, Free, free_at_once
from ..growth.load import Allowance, Load
from ..growth.noting import Before, Grower, Notebook
from ..growth.tried import try_looking
from ..growth.unusable import KnownCaches
from ..growth.watched import (
    ASKED,
    COUNT,
    EXEC,
    EXITED,
    LOAD,
    SIGNAL,
    TIME,
    Ended,
    SourceLine,
    Tried,
    Watched,
    Wishes,
)
from ..snapshots.opened import Opened
from ..target.procfs import status_of, thread_name
from .backtraces import code_of, register, stack_of
from .breakpoints import Keep, stopping_at
from .frames import selection_kept
from .inferior import core_path, is_native
from .pacing import PACE
from .passing import breakpoints_off, nothing_printed, signals_passed
from .standstill import Standstill, Ticks
from .strings import said
from .values import setting

# What holds while the process runs; what this gdb doesn't know is left out.
SETTINGS = (
    ("scheduler-locking", "off"),
    ("schedule-multiple", "off"),
    ("detach-on-fork", "on"),
    ("follow-fork-mode", "parent"),
    ("follow-exec-mode", "same"),
    ("stop-on-solib-events", "0"),
    ("auto-solib-add", "off"),  # else a library's symbols are read while the process waits
    ("displaced-stepping", "off"),  # what is in a copy of an instruction when gdb dies is lost
    ("breakpoint always-inserted", "off"),  # at each stop the text is as it was
    ("print thread-events", "off"),
    ("print inferior-events", "off"),
    ("suppress-cli-notifications", "on"),  # since gdb 12
)
STOPPED = 1 << signal.SIGSTOP - 1  # in the masks of /proc/PID/status


def refuse(inferior: gdb.Inferior) -> None:
    """Raise HeapxError where a process can't be watched."""
    if core_path() is not None:
        raise HeapxError("a core doesn't grow", "heapx growth needs a living process.")
    if not is_native(inferior):
        raise HeapxError(
            "a process can't be watched over a remote connection",
            "Run heapx where the process runs.",
        )
    if gdb.parameter("non-stop"):
        raise HeapxError("heapx growth can't run in gdb's non-stop mode", "set non-stop off")


def watch(
    opened: Opened, wishes: Wishes, keep: Keep, announce: Callable[[Tried], object]
) -> Watched:
    """Let the process run, and note what makes its malloc grow; afterwards it stands still again,
    if it is still there, without a breakpoint of heapx's. HeapxError before anything was touched,
    where it can't be done; where it can be, it is announced first, with what was tried.
    """
    inferior = gdb.selected_inferior()
    refuse(inferior)
    reading = opened.mallocs[0]
    libc, machine = reading.libc, opened.target.facts.machine
    with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:

        def read(address: int, size: int) -> bytes:
            data = os.pread(memory.fileno(), size, address)
            if len(data) < size:  # the process is gone, or what lies there
                raise OSError(f"cannot read {size} bytes at {address:#x}")
            return data

        found = find_calls(libc.image, read, machine)
        tcaches = {each.tcache.lwp: each.tcache.address for each in reading.outline.caches.caches}
        caches = KnownCaches(tcaches, libc.parameters["tcache_count"])
        malloc = Grower(libc.layout, libc.main_arena, read)
        notebook = Notebook(malloc, caches)
        run = _Run(inferior, found, notebook, wishes, ARGUMENTS[machine], libc.path)
        with ExitStack() as afterwards:
            afterwards.enter_context(selection_kept())
            afterwards.enter_context(breakpoints_off())
            afterwards.enter_context(_signals(inferior))
            for name, value in SETTINGS:
                with suppress(gdb.error, RuntimeError):
                    afterwards.enter_context(setting(name, value))
            with stopping_at(found.places, read, keep) as breakpoints:
                # gdb writes them when the process is let go
                announce(try_looking(malloc, caches, found.by_request))
                run.go_on(breakpoints)
            _swallow_stops(inferior)
        return run.seen()


def _signals(inferior: gdb.Inferior) -> AbstractContextManager[None]:
    """Pass signals on, but for the one that ends the run. Ctrl-C at gdb's terminal is a process's,
    too, that gdb has started: it stays gdb's there.
    """
    others = ["SIGSTOP stop print nopass"]
    if inferior.was_attached:
        others.append("SIGINT nostop noprint pass")
    return signals_passed(*others)


def _swallow_stops(inferior: gdb.Inferior) -> None:
    """Take a stop that was asked for when the process had stopped already."""
    while inferior.pid and int(status_of(inferior.pid).get("ShdPnd", "0"), 16) & STOPPED:
        with nothing_printed():
            said("continue")
        said("queue-signal 0")


class _Run:
    """A process that is let run again and again, until something ends that."""

    def __init__(
        self,
        inferior: gdb.Inferior,
        calls: Calls,
        notebook: Notebook,
        wishes: Wishes,
        registers: tuple[Sequence[str], str],
        libc: str,
    ) -> None:
        self._libc = libc
        self._inferior, self._notebook, self._wishes = inferior, notebook, wishes
        self._pid = inferior.pid
        self._by_request = calls.by_request
        self._before: dict[int, Call] = {call.address: call for call in calls.calls}
        self._behind = {call.behind for call in calls.calls}
        self._arguments, self._result = registers
        self._threads: dict[int, str | None] = {}
        self._arenas: dict[int, int] = {}
        self._free: dict[int, Free] = {}
        self._code: dict[int, tuple[SourceLine, ...]] = {}
        self._ended: Ended | None = None
        self._stops = 0
        self._event: gdb.Event | None = None
        self._allowance = Allowance(wishes.max_load / 100)

    def go_on(self, breakpoints: Sequence[gdb.Breakpoint]) -> None:
        """Let the process run until watching ends; these are gone where it calls exec."""
        self._breakpoints = breakpoints
        self._began = time.monotonic()
        self._standing = Standstill(Load(self._wishes.max_load / 100, self._began))
        gdb.events.stop.connect(self._stopped)
        gdb.events.exited.connect(self._stopped)
        try:
            with Ticks(self._tick):
                while self._ended is None:
                    self._continue()
        finally:
            gdb.events.stop.disconnect(self._stopped)
            gdb.events.exited.disconnect(self._stopped)

    def seen(self) -> Watched:
        assert self._ended is not None
        self._see_arenas()
        notebook = self._notebook
        return Watched(
            tuple(notebook.growths),
            self._libc,
            self._standing.until - self._began,
            self._ended,
            self._stops,
            self._standing.load.stood,
            notebook.failed,
            notebook.unfinished,
            self._by_request,
            self._arenas,
            self._threads,
            self._free,
            self._code,
        )

    def _see_arenas(self) -> None:
        """Learn which index each arena has by now; where the process is gone, what was known."""
        with suppress(OSError):
            self._arenas = self._notebook.malloc.ring()

    def _stopped(self, event: gdb.Event) -> None:
        self._event = event

    def _continue(self) -> None:
        """Let the process run to its next stop, and see what that is."""
        self._event = None
        line = self._line
        self._line = "continue"
        with held_back():  # an exception in what gdb calls meanwhile would be lost
            self._standing.ends()
            try:
                with nothing_printed():
                    said(line)
            except gdb.error as error:
                self._ended = Ended(SIGNAL, str(error))
            self._standing.begins()
            self._ended = self._ended or self._why_stopped()

    _line = "continue"

    def _why_stopped(self) -> Ended | None:
        """Return why watching ends; None where it goes on."""
        event = self._event
        if not self._inferior.pid or isinstance(event, gdb.ExitedEvent):
            return Ended(EXITED, _how_exited(event))
        if not self._breakpoints:
            return Ended(EXEC)
        if isinstance(event, gdb.SignalEvent):
            return self._by_signal(event.stop_signal)
        place = int(gdb.newest_frame().pc())
        if place in self._before or place in self._behind:
            self._stops += 1
            return self._noted(place)
        if _by_trap():  # the program's own: gdb tells no signal then (python/py-stopevent.c)
            self._line = "signal SIGTRAP"
            return None
        return Ended(SIGNAL, "gdb tells no reason")

    def _by_signal(self, name: str) -> Ended | None:
        if name == "SIGSTOP" and (over := self._over() or self._interrupted()):
            said("queue-signal 0")  # it was heapx's own: nobody else gets it
            return over
        return Ended(ASKED) if name == "SIGINT" else Ended(SIGNAL, name)

    def _noted(self, place: int) -> Ended | None:
        """Note a stop before a call or behind one."""
        thread = gdb.selected_thread()
        lwp, frame = thread.ptid[1] or thread.ptid[0], gdb.newest_frame()
        if lwp not in self._threads:
            self._threads[lwp] = thread_name(self._pid, lwp)
        if place in self._behind:
            growth = self._notebook.leave(lwp, register(frame, self._result))
            if growth and growth.arena and growth.arena not in self._arenas:
                self._see_arenas()
        call = self._before.get(place)
        if call is not None:
            arguments = tuple(register(frame, name) for name in self._arguments)
            if self._notebook.wanted(call.callee, arguments):
                self._enter(call, lwp, frame, arguments)
                return None  # it returns soon
        if len(self._notebook.growths) >= self._wishes.stop_after:
            return Ended(COUNT)
        return self._over()

    def _enter(self, call: Call, lwp: int, frame: gdb.Frame, arguments: tuple[int, ...]) -> None:
        """Note a stop before a call; what lies free in all arenas only at the first."""
        at, stack = time.monotonic() - self._began, stack_of(frame)
        if not all(place in self._code for place in stack):
            self._code.update(code_of(frame))
        malloc, everywhere = self._notebook.malloc, self._allowance.allows(stack, at)
        began = time.monotonic()
        arenas: dict[int, int] | None = None
        with suppress(OSError):
            arenas = malloc.ring() if everywhere else None
            if arenas is not None and not self._free:
                self._free = free_at_once(malloc.read, malloc.layout, arenas, MOST_AT_ONCE)
        self._notebook.enter(Before(call.callee, at, lwp, stack, arguments), arenas)
        if everywhere:
            self._allowance.spend(time.monotonic() - began)

    def _over(self) -> Ended | None:
        """Return what ends it apart from the process itself, None without."""
        if not PACE.goes_on():
            return Ended(ASKED)
        if self._standing.too_much:
            return Ended(LOAD)
        return Ended(TIME) if time.monotonic() - self._began >= self._wishes.seconds else None

    def _interrupted(self) -> Ended | None:
        """Return that a signal waits that ends heapx; when it comes through, it raises what it
        does.
        """
        return Ended(ASKED) if signal.sigpending() & set(HELD_BACK) else None

    def _tick(self) -> None:
        """Stop the process, if it is time; where it has stopped meanwhile, the stop is swallowed.

        Not by SIGINT: a program may block it, and would get it when it is let go.
        """
        if self._ended is None and (self._over() or self._interrupted()):
            with suppress(OSError):
                os.kill(self._pid, signal.SIGSTOP)


def _by_trap() -> bool:
    """Tell whether SIGTRAP has stopped the selected thread, as the kernel tells it."""
    with suppress(gdb.error):
        return int(gdb.parse_and_eval("$_siginfo.si_signo")) == signal.SIGTRAP
    return False


def _how_exited(event: gdb.Event | None) -> str:
    code = getattr(event, "exit_code", None)
    return "" if code is None else str(code)
