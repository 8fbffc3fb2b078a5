"""Which process a process was forked from, if it still is that program."""

from __future__ import annotations

import os
from contextlib import suppress

from .facts import Parent
from .maps import parse_maps
from .procfs import number_of, parse_flags, status_of, text_of

FORKED = 0x40  # PF_FORKNOEXEC of Linux, include/linux/sched.h: forked, and not executed anything


def parent_of(pid: int) -> Parent | None:
    """Return the process that another was forked from; None where it wasn't, or can't be told.

    Since then it has executed no program, and its parent is the same program.
    """
    parent = number_of(status_of(pid).get("PPid"))
    with suppress(OSError):
        if parent and _forked(pid) and _program(pid) == _program(parent):
            mappings = parse_maps(text_of(f"/proc/{parent}/maps"))
            return Parent(parent, mappings, _forked(parent))
    return None


def _program(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/exe")


def _forked(pid: int) -> bool:
    """Tell whether a process was forked, and has executed no program since; OSError if gone."""
    return bool(parse_flags(text_of(f"/proc/{pid}/stat")) & FORKED)
