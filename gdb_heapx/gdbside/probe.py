"""What only gdb can answer of the selected inferior: who stands where, and what lies where."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import gdb

from ..target.procfs import kept_by_kernel
from ..target.spelling import spelled
from ..target.target import Local, Registers
from . import frames, registers, stackvars
from .strings import said


class InferiorProbe:
    """The selected inferior, asked by its frames and symbols; `pid` is None but for a process of
    this machine.
    """

    def __init__(self, inferior: gdb.Inferior, pid: int | None) -> None:
        self._inferior, self._pid = inferior, pid

    def inside_malloc(self) -> dict[int, str]:
        return frames.inside_malloc(self._inferior)

    def aborting(self) -> frozenset[int]:
        return frames.aborting(self._inferior)

    def thread_pointers(self) -> dict[int, int]:
        return frames.thread_pointers(self._inferior)

    def registers(self) -> dict[int, Registers]:
        return registers.all_registers(self._inferior)

    def kept_by_kernel(self) -> dict[str, tuple[int, ...] | None] | None:
        return kept_by_kernel(self._pid) if self._pid else None

    def locals(self, addresses: Mapping[int, int]) -> dict[int, Local]:
        return stackvars.locals_at(self._inferior, addresses)

    def symbol(self, address: int) -> str | None:
        """Return what lies there, such as `main_arena + 96 in libc.so.6`, None if unnamed."""
        line = said(f"info symbol {address:#x}")
        match = re.match(r"(.+) in section \S+( of (.+))?$", line)
        if not match:
            return None
        name = spelled(match[1])
        return f"{name} in {os.path.basename(match[3])}" if match[3] else name

    def demangled(self, symbol: str) -> str | None:
        """Return what a symbol means, None where gdb can't tell."""
        if not re.fullmatch(r"_Z[\w.$]+", symbol, re.ASCII):
            return None
        try:
            return spelled(said(f"demangle -l c++ -- {symbol}").rstrip("\n"))
        except gdb.error:
            return None
