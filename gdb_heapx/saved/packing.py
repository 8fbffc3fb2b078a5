"""Bytes packed as a file's name says, and unpacked as they begin."""

from __future__ import annotations

import gzip
import io
import subprocess
import zlib
from tempfile import TemporaryFile

from ..errors import HeapxError
from ..report.model import size_text
from .foreign import GZIP, ZSTD, is_damaged, read_most

MOST = 1 << 30  # bytes of an unpacked file


def packed(path: str, data: bytes) -> bytes:
    """Return data as it is written to a file of this name."""
    if path.endswith(".gz"):
        return gzip.compress(data, 6, mtime=0)
    return _zstd(path, ["-q", "-c"], data) if path.endswith(".zst") else data


def unpacked(path: str, data: bytes) -> bytes:
    """Return what is in a file; HeapxError where it is damaged, or larger than any snapshot."""
    if data.startswith(GZIP):
        found = _gunzipped(path, data)
    elif data.startswith(ZSTD):
        found = _zstd(path, ["-q", "-d", "-c", f"-M{MOST}"], data)
    else:
        found = data
    if len(found) > MOST:
        raise HeapxError(f"{path} is no snapshot: it has more than {size_text(MOST)}")
    return found


def _gunzipped(path: str, data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return read_most(file, MOST + 1)
    except (OSError, EOFError, zlib.error):
        raise is_damaged(path) from None


def _zstd(path: str, options: list[str], data: bytes) -> bytes:
    """Return what zstd makes of data, MOST bytes and one more at most: the command, since it fits
    every Python, gdb's too.
    """
    try:
        with TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            unsaid, pipe = subprocess.DEVNULL, subprocess.PIPE
            words = ["zstd", *options]
            with subprocess.Popen(words, stdin=file, stdout=pipe, stderr=unsaid) as zstd:
                assert zstd.stdout is not None
                made = read_most(zstd.stdout, MOST + 1)
    except FileNotFoundError:
        raise HeapxError(
            f"{path}: the command zstd was not found",
            "Install it: apt-get install zstd. Or name the file .gz, which needs nothing.",
        ) from None
    if zstd.returncode and len(made) <= MOST:  # else it found nobody to go on for
        raise is_damaged(path)
    return made
