"""How much memory heapx may take: of what is available to the machine, and to a cgroup."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from .procfs import available, number_of, text_of

ROOT = "/sys/fs/cgroup"
SHARE = 4  # of what is available: the part that a copy may take
# Where a controller tells its limit and its use: version 2, and version 1 below "memory".
FILES = (
    ("", "memory.max", "memory.current"),
    ("/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def affordable(pid: int | None) -> int:
    """Return how many bytes a copy may take: a quarter of what is available."""
    return available_beside(pid) // SHARE


def available_beside(pid: int | None) -> int:
    """Return how many bytes are available; to a process's cgroup, too, since heapx may run in the
    same one.
    """
    left = list(_left(pid)) if pid is not None else []
    return min(available(), *left, available())


def _left(pid: int) -> Iterator[int]:
    """Yield what is left of each limit on a process's memory: of its cgroup, and of those above."""
    with suppress(OSError):
        for line in text_of(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for below, limit, usage in FILES:
                if below and "memory" in controllers.split(","):
                    yield from _of(f"{ROOT}{below}", path, limit, usage)
                elif not below and not controllers:
                    yield from _of(ROOT, path, limit, usage)


def _of(root: str, path: str, limit: str, usage: str) -> Iterator[int]:
    while True:
        with suppress(OSError):
            place = root + path.rstrip("/")
            most, used = (number_of(text_of(f"{place}/{name}").strip()) for name in (limit, usage))
            if most is not None and used is not None:
                yield max(most - used, 0)
        if path in ("", "/"):
            return
        path = os.path.dirname(path)
