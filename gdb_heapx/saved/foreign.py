"""What is wrong with a file that isn't read as a snapshot: it is something else, or was cut."""

from __future__ import annotations

import errno
from gzip import GzipFile
from typing import IO

from ..errors import HeapxError

FORMAT = "heapx snapshot"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # how packed files begin
ELF, CORE = b"\x7fELF", (b"\x04\x00", b"\x00\x04")  # e_type, in both byte orders
OBJECT = b"{"  # what else a snapshot begins with
FIRST = 1 << 16  # bytes that tell what a file is
AT_ONCE = 1 << 20  # bytes read
WRITES = "heapx -p PID save FILE writes one."
AGAIN = "Copy it again, or write another: heapx -p PID save FILE."
REMEDIES = {
    errno.ENOENT: WRITES,
    errno.EISDIR: "Name a file that is in it.",
    errno.EACCES: "Read it as the user whose file it is, or as root.",
}


def read_file(path: str, most: int) -> bytes:
    """Return the bytes of a file, so many and one more at most; HeapxError where it can't be read,
    or doesn't begin as a snapshot does, packed or not.
    """
    try:
        with open(path, "rb") as file:
            first = file.read(FIRST)
            if not first.startswith((GZIP, ZSTD)):
                check_beginning(path, first)
            return first + read_most(file, most + 1 - len(first))
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "Name a file that heapx save has written.")
        raise HeapxError(f"cannot read {path}: {error.strerror}", remedy) from None


def read_most(file: IO[bytes] | GzipFile, most: int) -> bytes:
    """Return so many bytes of a file at most; read(most) would first get memory for all of them."""
    pieces = list[bytes]()
    while most > 0 and (piece := file.read(min(most, AT_ONCE))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def check_beginning(path: str, data: bytes) -> None:
    """HeapxError where these aren't the first bytes of a snapshot."""
    if not data.strip():
        raise HeapxError(f"{path} is empty", AGAIN)
    if data.startswith(ELF):
        raise _is_elf(path, data[16:18] in CORE)
    if not data.lstrip().startswith(OBJECT):
        raise is_other(path)


def _is_elf(path: str, core: bool) -> HeapxError:
    if core:
        return HeapxError(
            f"{path} is a core, no snapshot of heapx",
            f"From a shell, to look at it: heapx --core {path}. In gdb: core-file {path}.",
        )
    return HeapxError(f"{path} is a program or a library, no snapshot of heapx", WRITES)


def is_other(path: str) -> HeapxError:
    """Return the error about a file of something else."""
    return HeapxError(f"{path} is no snapshot of heapx", WRITES)


def is_damaged(path: str, why: str | None = None) -> HeapxError:
    """Return the error about a snapshot that can't be read, and why where that is known."""
    if why is None:
        return HeapxError(f"{path} is damaged, or not all of it is there", AGAIN)
    return HeapxError(f"{path} is damaged: {why}", AGAIN)


def is_no_json(path: str, data: bytes) -> HeapxError:
    """Return the error about what begins as a snapshot does, and isn't one JSON object."""
    number = data.count(f'"{FORMAT}"'.encode())
    if number > 1:
        return HeapxError(
            f"{path} has {number:,} snapshots, and heapx looks at one",
            "Each is a line of the file, unpacked.",
        )
    return is_damaged(path) if number else is_other(path)
