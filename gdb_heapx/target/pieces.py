"""A long file of /proc, read in pieces that have whole records."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from queue import Empty, Queue
from threading import Thread

from ..ending import without_signals

# One call of the system fills many small parts, each whole: of a larger one it returns what the
# kernel has in its own page (fs/seq_file.c, seq_read_iter; fs/read_write.c, do_loop_readv_writev).
PART, PARTS = 2048, 256  # bytes, and how many are read at once
RECORD = 1 << 14  # bytes of one record at most
SOON = 0.0002  # seconds after which a thread that reads gets its turn


def pieces_of(path: str, head: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield a long file of /proc in pieces, each up to where one of its records begins, with such
    a `head`; OSError where it can't be read.
    """
    rest = b""
    with open(path, "rb", buffering=0) as file, closing(_read(file.fileno())) as read:
        for data in read:
            rest += data
            last = _last_record(rest, head)
            if last is not None:
                yield rest[:last]
                rest = rest[last:]
    yield rest


def whole(path: str) -> bytes:
    """Return a long file of /proc, read by few calls: at each of them other threads of Python may
    get their turn, and keep it for milliseconds. OSError where it can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(_reader(file.fileno()), b""))


def _last_record(data: bytes, head: re.Pattern[bytes]) -> int | None:
    """Return where the last line with such a head begins; None if there is none near the end."""
    end = len(data)
    while (end := data.rfind(b"\n", max(len(data) - RECORD, 0), end)) >= 0:
        if head.match(data, end + 1):
            return end + 1
    return None


def _read(descriptor: int) -> Generator[bytes, None, None]:
    """Yield what a file has, as much at once as one call returns."""
    more = _reader(descriptor)
    data = more()
    yield data
    if len(data) == PART * PARTS:  # it is long
        yield from _ahead(more)
    else:
        yield from iter(more, b"")


def _reader(descriptor: int) -> Callable[[], bytes]:
    """Return what reads as much as one call returns; nothing at the end of the file."""
    buffer = memoryview(bytearray(PART * PARTS))
    parts = [buffer[at : at + PART] for at in range(0, len(buffer), PART)]
    return lambda: bytes(buffer[: os.readv(descriptor, parts)])


def _ahead(more: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield what there is more, while another thread reads what comes next: meanwhile the kernel
    works for it, and Python for this one.
    """
    found: Queue[bytes | OSError] = Queue(1)
    over = False

    def go_on() -> None:
        data = b"more"
        try:
            while data and not over:
                data = more()
                found.put(data)
        except OSError as error:
            found.put(error)

    other, before = Thread(target=go_on, daemon=True), sys.getswitchinterval()
    sys.setswitchinterval(SOON)
    with without_signals():
        other.start()
    try:
        while data := found.get():
            if isinstance(data, OSError):
                raise data
            yield data
    finally:
        over = True
        with suppress(Empty):
            found.get_nowait()  # so that it doesn't wait for room
        other.join()
        sys.setswitchinterval(before)
