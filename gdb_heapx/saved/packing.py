"""Bytes packed as a file's name says, and unpacked as they begin."""

from __future__ import annotations

import gzip
import io
import subprocess
import zlib

from ..errors import HeapxError
from ..report.model import size_text
from .foreign import GZIP, ZSTD, is_damaged

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
            return file.read(MOST + 1)
    except (OSError, EOFError, zlib.error):
        raise is_damaged(path) from None


def _zstd(path: str, options: list[str], data: bytes) -> bytes:
    """Return what zstd makes of data: the command, since it fits every Python, gdb's too."""
    try:
        done = subprocess.run(["zstd", *options], input=data, capture_output=True)
    except FileNotFoundError:
        raise HeapxError(
            f"{path}: the command zstd was not found",
            "Install it: apt-get install zstd. Or name the file .gz, which needs nothing.",
        ) from None
    if done.returncode:
        raise is_damaged(path)
    return done.stdout
