"""Files to write what is answered into."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from ..ending import held_back
from ..errors import HeapxError, UsageError


def check_output(path: str | None) -> None:
    """Refuse a file that can't be written before the target is looked at."""
    directory = os.path.dirname(os.path.abspath(path)) if path else None
    if directory and not os.path.isdir(directory):
        raise UsageError(f"cannot write {path}: there is no directory {directory}")


def write_whole(path: str, pieces: Iterable[str | bytes]) -> None:
    """Write a file whole or not at all; into a pipe or device, as it comes."""
    temporary = None
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as device:
                device.writelines(map(_as_bytes, pieces))
            return
        import tempfile  # takes a while, and is needed only here

        directory = os.path.dirname(os.path.abspath(path))
        with held_back():  # a signal here would leave the file behind
            descriptor, temporary = tempfile.mkstemp(dir=directory)
        with open(descriptor, "wb") as file:
            file.writelines(map(_as_bytes, pieces))
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise HeapxError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary:
            with suppress(FileNotFoundError):  # a signal came right behind os.replace
                os.unlink(temporary)


def _as_bytes(piece: str | bytes) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece
