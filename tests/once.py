"""What is made once in a run of the tests, by the worker that needs it first."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """No other worker makes what belongs into a directory, in here."""
    with open(directory.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(directory: Path, make: Callable[[Path], object]) -> Path:
    """Return a directory that `make` has filled, now or for another test."""
    with alone(directory):
        if not directory.exists():
            new = directory.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)  # of one that failed
            new.mkdir()
            make(new)
            new.rename(directory)
    return directory
