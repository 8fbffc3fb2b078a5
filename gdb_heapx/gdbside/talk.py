"""The line from gdb's side to the shell command: lines of JSON, as shell/asking.py reads them."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from ..ending import EndedError, without_signals
from ..errors import HeapxError
from ..target.permission import why_not_permitted

PIECE = 1 << 16  # characters of text that are sent at once
KEPT, REFUSED = b"kept\n", b"refused\n"  # by shell/guard.py, which could put it back, or not
PATIENCE = 5.0  # seconds for that
TO_END = 30.0  # seconds that gdb has to let a process go, with thousands of threads or a busy host


class Talk:
    """That line, by its socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lines = self._socket.makefile("rb")
        self._answered = Event()
        self._kept = False
        self._pieces: list[str] = []
        self._size = 0

    def request(self) -> dict[str, Any]:
        """Return the request; EndedError if the shell command has ended before it said all."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise EndedError(signal.SIGTERM)
        request: dict[str, Any] = json.loads(line)
        return request

    def write(self, text: str) -> None:
        """Send a part of the answer, or keep it until there is more of it."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self.say(text="".join(self._pieces))
            self._pieces, self._size = [], 0

    def say(self, **message: Any) -> None:
        """Send a message; EndedError if nobody is there to read it."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)
        except ConnectionError:
            raise EndedError(signal.SIGTERM) from None

    def keep(self, pid: int, places: Sequence[tuple[int, bytes]]) -> None:
        """Tell where a process's text is about to change and what is there, and wait until that
        is kept; or, without places, that all is as it was. HeapxError if nobody could put it back.
        """
        self._answered.clear()
        self.say(pid=pid, places=[(f"{address:#x}", data.hex()) for address, data in places])
        if places and not self._answered.wait(PATIENCE):
            raise HeapxError("the heapx that started this gdb doesn't answer")
        if places and not self._kept:
            raise HeapxError(
                "heapx may not write to the process, to take out breakpoints if gdb were killed",
                *why_not_permitted(pid),
            )

    def watch(self, killable: bool) -> None:
        """Do as after a Ctrl-C when the shell command says a word; end this gdb as SIGTERM does
        when it hangs up, or is there no more. If it doesn't end by that, kill it where that does no
        harm: then the kernel lets the process go.
        """

        def wait() -> None:
            with suppress(OSError):
                for word in self._lines:
                    if word in (KEPT, REFUSED):
                        self._kept = word == KEPT
                        self._answered.set()
                    else:
                        os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(TO_END)
            if killable:
                os.kill(os.getpid(), signal.SIGKILL)

        with without_signals():
            Thread(target=wait, daemon=True).start()
