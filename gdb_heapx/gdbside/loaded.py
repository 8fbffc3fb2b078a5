"""The saved snapshot that commands at gdb's prompt answer from, if the user has loaded one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import HeapxError

if TYPE_CHECKING:
    from ..saved.saved import Saved


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
        from ..saved.saved import read_saved  # takes longer than all of `source gdb_heapx.py`

        _loaded[:] = [Loaded(path, read_saved(path))]
        return _loaded[-1].saved
    if not _loaded:
        raise HeapxError("no saved snapshot is loaded", "heapx load FILE loads one.")
    return _loaded.pop().saved
