"""Strings of gdb's that the target controls: names of files, threads and functions.

gdb decodes them strictly, by its host-charset or as UTF-8, and a name can be any bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import gdb

Text = TypeVar("Text", str, "str | None")


def exact(get: Callable[[], Text]) -> Text | str:
    """Return the string that `get` gets from gdb, whatever its bytes are (surrogateescape)."""
    try:
        return get()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "surrogateescape")


def said(line: str) -> str:
    """Run a line of gdb's, and return what it says; gdb.error where that fails."""
    return exact(lambda: str(gdb.execute(line, to_string=True)))


def nameable(path: str) -> str:
    """Return a path that gdb can be told: the file itself, opened, where its name is no UTF-8, or
    has more than one line, of which gdb would take the second for another command.
    """
    if "\n" in path or any("\udc80" <= character <= "\udcff" for character in path):
        return f"/proc/self/fd/{os.open(path, os.O_RDONLY)}"  # open until gdb ends
    return path


def quoted(path: str) -> str:
    """Return a path as one word of a line of gdb's."""
    path = nameable(path)
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
