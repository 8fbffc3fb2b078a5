"""The saved snapshot that commands at gdb's prompt answer from, if the user has loaded one."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import HeapxError
from ..saved.saved import Saved, read_saved
from ..saved.session import SavedSession


class Loaded(NamedTuple):
    """What was loaded, and from where."""

    path: str
    saved: Saved


_loaded: list[Loaded] = []  # one at most


def loaded() -> Loaded | None:
    """Return what commands answer from, None where that is the inferior."""
    return _loaded[-1] if _loaded else None


def load(path: str | None) -> Saved:
    """Let a file answer from now on, and return it; for None the inferior again, and return what
    was loaded. HeapxError where there is nothing of the kind.
    """
    if path is not None:
        _loaded[:] = [Loaded(path, read_saved(path))]
        return _loaded[-1].saved
    if not _loaded:
        raise HeapxError("no saved snapshot is loaded", "heapx load FILE loads one.")
    return _loaded.pop().saved


class LoadedSession(SavedSession):
    """A session on it, at gdb's prompt, where another file may be loaded."""

    def load(self, path: str | None) -> Saved:
        return load(path)
