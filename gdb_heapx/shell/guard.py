"""What is done at once if gdb dies while it has breakpoints in a process: these are taken out."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from contextlib import suppress
from threading import Thread

from ..ending import without_signals
from ..lifeline import Lifeline, create
from ..target.procfs import is_dead
from ..target.putback import Survivor, forked_just_now, set_right

PATIENCE = 5.0  # seconds; a lifeline that isn't what it should be might never come free


class Guard:
    """It keeps what text had where gdb's side will set breakpoints, and waits for gdb's death.

    `descriptor` is the lifeline's, which gdb's main thread holds before it sets any.
    """

    def __init__(self, was_stopped: bool) -> None:
        self.descriptor = create()
        self._lifeline = Lifeline(self.descriptor)
        self._was_stopped = was_stopped
        self._process: Survivor | None = None
        self._places: dict[int, bytes] = {}
        self._waiting: Thread | None = None
        self._found: Set[int] | None = None  # where breakpoints were, when gdb was dead
        self._error: OSError | None = None
        self._whole = True

    def keep(self, pid: int, places: Sequence[tuple[str, str]]) -> bool:
        """Keep these addresses of a process with their bytes, as gdb tells them; forget all if
        there are none. Tell whether they could be put back.
        """
        self._places = {int(address, 16): bytes.fromhex(data) for address, data in places}
        if self._process is None and places:
            try:
                self._process = Survivor(pid)
            except OSError:
                return False
            with without_signals():
                self._waiting = Thread(target=self._wait, args=(self._process,), daemon=True)
                self._waiting.start()
        return True

    def end(self, died: bool) -> None:
        """Stop waiting, once gdb has ended; do what is to be done if nobody noticed its death."""
        if self._process is None or self._waiting is None:
            return
        self._waiting.join(PATIENCE)
        if died and self._found is None:
            self._put_right(self._process)
        self._process.close()

    def said(self) -> tuple[str, ...]:
        """Say in lines what was done, and whether the process runs on."""
        if self._process is None or self._found is None:
            return ()
        pid, where = self._process.pid, ", ".join(f"{each:#x}" for each in self._places)
        process = f"process {pid}"
        if is_dead(pid):
            return (f"Meanwhile {process} has ended: by SIGTRAP, if it came to a breakpoint.",)
        if self._error is not None:
            failed = f"Breakpoints are left in {process}: {self._error.strerror}."
            return (failed, f"It will end by SIGTRAP where it comes to one of {where}.")
        done = f"The breakpoints were taken out of {process}"
        if not self._found:
            done = f"No breakpoint was in {process}, which stood still"
        rest = "It runs on." if self._whole else "It may end by SIGTRAP: a thread was not let go."
        return (f"{done}. {rest}",)

    def _wait(self, process: Survivor) -> None:
        with suppress(OSError):  # not permitted: then others may come first
            first = os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO))
            os.sched_setscheduler(0, os.SCHED_FIFO, first)
        if self._lifeline.outlived():
            self._put_right(process)

    def _put_right(self, process: Survivor) -> None:
        """Take the breakpoints out before the kernel lets the process go, then let it run."""
        if not self._places:
            return
        if not self._was_stopped:
            process.stop()
        self._found = frozenset()
        try:
            self._found = process.put_back(self._places)
        except OSError as error:
            self._error = error
        self._whole = set_right(process.pid, self._places)
        if not self._was_stopped:
            process.let_run()
        left = {address: self._places[address] for address in self._found}
        for child in forked_just_now(process.pid, left) if left else ():
            with suppress(OSError):
                child.put_back(left)
            set_right(child.pid, left)
            child.let_run()
