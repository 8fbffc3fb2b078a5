"""The gdb that is run: with which words, and why it can't be."""

from __future__ import annotations

import argparse
import os
import shlex
from contextlib import suppress

from ..errors import HeapxError, UsageError

HEAPX_GDB = "HEAPX_GDB"  # the variable that names one


def loader() -> str:
    """Return the file to source in gdb: beside the package, or where pip installed it."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    beside = f"{package}.py"
    if os.path.exists(beside):
        return beside
    import importlib.metadata

    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("gdb_heapx") or ():
            if file.name == "gdb_heapx.py":
                return os.path.realpath(str(file.locate()))
    raise HeapxError("gdb_heapx.py was not installed", "Reinstall heapx with pip.")


def gdb_words(options: argparse.Namespace) -> list[str]:
    """Return the words that run gdb in batch mode, with heapx in it.

    Nothing is run there that the user didn't name: no .gdbinit, and no script beside a library.
    """
    try:
        more = shlex.split(options.gdb_args or "")
    except ValueError as error:
        raise UsageError(f"--gdb-args {options.gdb_args}: {error}") from None
    before = ("set debuginfod enabled off", "set auto-load off", "set confirm off")
    early = [word for line in (*before, "set $_heapx_shell = 1") for word in ("-iex", line)]
    return [options.gdb, "-nx", "-q", "-batch", *early, *more, "-ex", f"source {loader()}"]


def unable(gdb: str, by: str | None, error: OSError) -> HeapxError:
    """Say why gdb can't be started, `by` whom it was named, or where its answer finds no room."""
    from shutil import which
    from tempfile import gettempdir

    if isinstance(error, FileNotFoundError) and which(gdb) is None:
        if by is None:
            return HeapxError("gdb was not found", "Install it: apt-get install gdb")
        return HeapxError(f"{gdb}, which {by} names, was not found", f"Without {by} it is gdb.")
    if error.filename == gdb:
        named = f", which {by} names" if by else ""
        return HeapxError(f"cannot run {gdb}{named}: {error.strerror}")
    return HeapxError(
        f"there is no room for the answer in {gettempdir()}: {error.strerror}",
        "TMPDIR=DIRECTORY names another place; --output FILE writes it right there.",
    )
