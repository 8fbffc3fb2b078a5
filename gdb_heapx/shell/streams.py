"""What the shell command writes to, however it is closed or full: the three standard streams."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..ending import EndedError
from ..errors import UNSHOWN, HeapxError, wrapped


def open_standard_files() -> None:
    """Open those of the first three descriptors that are closed, so that nothing else gets their
    numbers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def complain(text: str) -> None:
    """Write lines to standard error, broken at words where a terminal shows them; where it is
    closed or full there is nobody to tell.
    """
    complain_exactly(wrapped(text, width_of_errors()))


def announce(text: str) -> None:
    """Write lines to standard error, broken at words, whoever reads them."""
    complain_exactly(wrapped(text, width_of_errors() or UNSHOWN))


def complain_exactly(text: str) -> None:
    """Write lines to standard error as they are."""
    with suppress(OSError):
        os.write(2, text.encode(errors="backslashreplace") + b"\n")


def width_of_errors() -> int | None:
    """Return how wide the terminal is that shows errors, None where they go to none."""
    with suppress(OSError):
        return os.get_terminal_size(2).columns or None
    return None


def print_pieces(pieces: Iterable[bytes]) -> None:
    """Write to standard output, which the user may have closed, or whose reader may have left."""
    for piece in pieces:
        if sys.stdout is None:
            raise HeapxError("standard output is closed", "Redirect it, or use --output FILE.")
        _write(piece)


def _write(piece: bytes) -> None:
    """Write a piece. SIGPIPE waits until what can't be written is out of the way: Python would try
    once more at its end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
    try:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise EndedError(signal.SIGPIPE) from None
        raise HeapxError(f"cannot write to standard output: {error.strerror}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def print_line(text: str) -> None:
    print_pieces([text.encode() + b"\n"])


def shows_work() -> bool:
    """Tell whether standard error is a terminal, to show there how far long work is."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def show_work(line: str) -> None:
    """Write a line over the one before, "" to erase it."""
    with suppress(OSError):
        width = os.get_terminal_size(2).columns - 1
        os.write(2, f"\r\033[K{line[:width]}".encode())


def terminal_of_text() -> dict[str, Any]:
    """Return how wide text may be, and whether it is wanted in colour."""
    from shutil import get_terminal_size

    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") in (None, "dumb")
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return {"width": get_terminal_size().columns, "colour": terminal and not plain}
