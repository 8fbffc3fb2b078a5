"""What of the user's would stop the process, out of the way for a while: signals, breakpoints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import gdb

from .values import setting

DEBUGGERS = ("SIGTRAP", "SIGINT")  # `handle all` leaves them out


@contextmanager
def breakpoints_off() -> Iterator[None]:
    """Let no breakpoint of the user's stop the process."""
    listed = gdb.execute("info breakpoints", to_string=True)
    numbers = " ".join(re.findall(r"^(\d+)\s.*?\s(?:keep|del|dis)\s+y\s", listed, re.M))
    if numbers:
        gdb.execute(f"disable {numbers}", to_string=True)
    try:
        yield
    finally:
        if numbers:
            gdb.execute(f"enable {numbers}", to_string=True)


@contextmanager
def nothing_printed() -> Iterator[None]:
    """Let gdb print nothing of its own: that a signal has stopped the process it prints even where
    a line's output is a string.
    """
    gdb.flush()
    stdout = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        gdb.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


@contextmanager
def signals_passed(*others: str) -> Iterator[None]:
    """Let signals reach the program, instead of stopping it; `others` are handled as these say."""
    table = re.findall(
        r"^([A-Z]\w+)\s+(Yes|No)\s+(Yes|No)\s+(Yes|No)",
        gdb.execute("info signals", to_string=True),
        re.M,
    )
    with setting("confirm", "off"):
        for line in ("all nostop noprint pass", *others):
            gdb.execute(f"handle {line}", to_string=True)
    try:
        yield
    finally:
        _restore(table, {line.split()[0] for line in others})


def _restore(table: Sequence[tuple[str, ...]], others: set[str]) -> None:
    with setting("confirm", "off"):
        for name, *values in table:
            words = zip(values, ("stop", "print", "pass"))
            actions = " ".join(word if value == "Yes" else f"no{word}" for value, word in words)
            passed = actions == "nostop noprint pass" or name in DEBUGGERS
            if name in others or not passed:
                gdb.execute(f"handle {name} {actions}", to_string=True)
