"""Which process a process was forked from, if it still is that program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from .facts import Parent
from .procfs import number_of, parse_flags, parse_maps, status_of, text_of

FORKED = 0x40  # PF_FORKNOEXEC of Linux, include/linux/sched.h: forked, and not executed anything


def parent_of(pid: int) -> Parent | None:
    """Return the process that another was forked from; None where it wasn't, or can't be told.

    Since then it has executed no program, and its parent is the same program. What it shares since
    a fork is from its own, or from further back: it has forked no child that still shares.
    """
    parent = number_of(status_of(pid).get("PPid"))
    with suppress(OSError):
        only = parent and _forked(pid) and not any(map(_forked, _children(pid)))
        if parent and only and _program(pid) == _program(parent):
            return Parent(parent, parse_maps(text_of(f"/proc/{parent}/maps")))
    return None


def _program(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/exe")


def _forked(pid: int) -> bool:
    """Tell whether a process was forked, and has executed no program since; OSError if gone."""
    return bool(parse_flags(text_of(f"/proc/{pid}/stat")) & FORKED)


def _children(pid: int) -> Iterator[int]:
    """Yield the children of a process; OSError where the kernel doesn't list them."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        yield from map(int, text_of(f"/proc/{pid}/task/{thread}/children").split())
