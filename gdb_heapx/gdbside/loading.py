"""A session on a saved snapshot that is loaded."""

from __future__ import annotations

from ..saved.saved import Saved
from ..saved.session import SavedSession
from .loaded import load


class LoadedSession(SavedSession):
    """It answers at gdb's prompt, where another file may be loaded."""

    def load(self, path: str | None) -> Saved:
        return load(path)
