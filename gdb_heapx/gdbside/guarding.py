"""gdb's side of the guard (shell/guard.py), which is to learn of gdb's death at once."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import gdb

from ..lifeline import Lifeline
from .strings import said
from .talk import Talk

NO_CORE = 1  # bytes; the kernel then starts no program for one, either (core(5))


class Guarded:
    """A line to the shell command over which places are told where breakpoints will be."""

    def __init__(self, talk: Talk, lifeline: int) -> None:
        self._talk, self._lifeline = talk, Lifeline(lifeline)

    def keep(self, places: Sequence[tuple[int, bytes]]) -> None:
        """Have these kept, and hold the lifeline until there are none again. In gdb's main thread:
        its end is what lets the process go.
        """
        with ExitStack() as if_not_kept:
            if places and self._lifeline.hold():
                if_not_kept.callback(self._lifeline.let_go)
            self._talk.keep(gdb.selected_inferior().pid, places)
            if_not_kept.pop_all()
        if places:
            _die_quickly()
        else:
            self._lifeline.let_go()


def _die_quickly() -> None:
    """Let no core of gdb be written, and no backtrace of its own, while threads of the process may
    come to breakpoints.
    """
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(
            resource.RLIMIT_CORE, (min(NO_CORE, most) if most >= 0 else NO_CORE, most)
        )
    with suppress(gdb.error):  # since gdb 12
        said("maint set backtrace-on-fatal-signal off")
