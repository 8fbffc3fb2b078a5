"""The line from gdb's side to the shell command: lines of JSON, as shell/asking.py reads them."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from threading import Thread
from typing import Any

from ..ending import EndedError, without_signals

PIECE = 1 << 16  # characters of text that are sent at once


class Talk:
    """That line, by its socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lines = self._socket.makefile("rb")
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

    def watch(self) -> None:
        """Do as after a Ctrl-C when the shell command says a word; end this gdb as SIGTERM does
        when it hangs up, or is there no more.
        """

        def wait() -> None:
            with suppress(OSError):
                for _word in self._lines:
                    os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

        with without_signals():
            Thread(target=wait, daemon=True).start()
