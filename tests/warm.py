"""A gdb that stays: it attaches, answers and lets go, in a tenth of the time of a new one."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MANY = 100  # answers, after which it is another gdb's turn
TIMEOUT = 120

Answer = dict[str, Any]


class Warm:
    """A gdb that was started with these words and has heapx sourced; `left` answers are left."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._out, self._err = (_file() for _ in range(2))
        lines = (
            f"python import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})",
            f"python import answering; answering.serve({requests}, {answers})",
        )
        self._gdb = subprocess.Popen(
            [*command, *(word for line in lines for word in ("-ex", line))],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            pass_fds=(requests, answers),
            env=env,
            start_new_session=True,  # a Ctrl-C isn't its own
        )
        os.close(requests)
        os.close(answers)
        self.pid = self._gdb.pid
        self.left = MANY

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Return the answer to a request, and what gdb wrote meanwhile as `out` and `err`."""
        self.left -= 1
        for file in (self._out, self._err):  # its offset is gdb's, too
            file.seek(0)
            file.truncate()
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        answer: Answer = json.loads(self._line() or '{"result": null, "clean": false}')
        return {**answer, "out": _whole(self._out), "err": _whole(self._err)}

    def _line(self) -> bytes:
        """Return a line of the answers; nothing where gdb has ended, or takes too long."""
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], TIMEOUT)
            piece = os.read(self._answers, 1 << 20) if ready else b""
            if not piece:
                return b""
            line += piece
        return line

    def end(self) -> None:
        """End gdb; one that still doesn't is killed."""
        os.close(self._requests)
        try:
            self._gdb.wait(5)
        except subprocess.TimeoutExpired:
            self._gdb.kill()
            self._gdb.wait()
        os.close(self._answers)
        self._out.close()
        self._err.close()


def _file() -> IO[str]:
    return tempfile.TemporaryFile("w+", errors="replace")


def _whole(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


STAYING: dict[tuple[str, ...], Warm] = {}  # by the words that they were started with


def ask(command: Sequence[str], env: Mapping[str, str], request: Mapping[str, Any]) -> Answer:
    """Ask the gdb that these words started; after a failure, and after many answers, a new one."""
    warm = STAYING.pop(tuple(command), None) or Warm(command, env)
    answer = warm.ask(request)
    if answer["clean"] and warm.left:
        STAYING[tuple(command)] = warm
    else:
        warm.end()
    return answer


def end_all() -> None:
    """End every gdb that stays."""
    while STAYING:
        STAYING.popitem()[1].end()
