"""What gdb's side has answered: its text, kept until all of it is there, and how it ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any

from .. import __version__
from ..ending import EndedError
from ..errors import HeapxError
from .asking import Reply
from .streams import complain, complain_exactly

KEPT_IN_MEMORY = 16 << 20  # bytes of an answer; a longer one goes to a file without name
# What the user's gdb may say where it can't run heapx.
UNFIT = re.compile("heapx needs gdb.*|.*scripting is not supported.*")


class AnswerText:
    """The text of an answer, kept until all of it is there."""

    @cached_property
    def _file(self) -> IO[bytes]:
        from tempfile import SpooledTemporaryFile

        return SpooledTemporaryFile(KEPT_IN_MEMORY)

    def take(self, text: str) -> None:
        self._file.write(text.encode(errors="surrogateescape"))

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(lambda: self._file.read(1 << 20), b"")

    def close(self) -> None:
        self._file.close()


def result_of(gdb: str, reply: Reply) -> dict[str, Any] | None:
    """Return what gdb's side has said; None, after the messages, where only a bug explains them."""
    result = reply.result
    if result is not None and "ended" in result:
        raise EndedError(result["ended"])
    if result is not None:
        return result
    if reply.killed_by:
        name = signal.Signals(reply.killed_by).name
        raise HeapxError(f"{gdb} was ended by {name}", *reply.mended)
    if not reply.began:
        unfit = UNFIT.search(reply.messages)
        said = unfit[0] if unfit else "\n  ".join(reply.messages.strip().splitlines()[-4:])
        raise HeapxError(f"{gdb} can't run heapx", said or "It ended without a word.")
    complain_exactly(reply.messages)
    for line in reply.mended:
        complain(f"heapx: {line}")
    complain(
        "heapx: this is a bug in heapx. Please report it with the messages above, "
        f"version {__version__}, and your gdb's and glibc's versions."
    )
    return None
