"""A session on a file: commands that need no more than a snapshot are answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NoReturn

from ..errors import HeapxError, UsageError
from .narrow import narrowed
from .saved import Saved

if TYPE_CHECKING:
    from ..growth.watched import Wishes
    from ..held.hidden import Way
    from ..inventory.catalogue import Catalogue
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot


class SavedSession:
    """What was saved, in place of a target that is stopped."""

    stood_still: float | None = None

    def __init__(self, saved: Saved) -> None:
        self.saved = saved

    def take(self, scope: Scope) -> Snapshot:
        """Return as much of the snapshot as is asked for; UsageError for what it doesn't tell."""
        if not scope.walk:
            raise UsageError("--no-walk: the chunks were walked over when this was saved")
        if scope.pad:
            raise UsageError("--pad needs the process: saved is what malloc_trim(0) would return")
        return narrowed(self.saved.snapshot, scope)

    def told_apart(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, path: str | None) -> Saved:
        raise UsageError("heapx load is for gdb", "In a shell: heapx --snapshot FILE COMMAND")

    def catalogue(self, scope: Scope) -> NoReturn:
        self._refuse("its chunks aren't in it")

    def hold(self, scope: Scope, shared: bool, passes: bool, ways: Sequence[Way] = ()) -> NoReturn:
        self._refuse("the memory that is in use isn't in it")

    def evaluate(self, expression: str) -> NoReturn:
        self._refuse("nothing lies at an address of it")

    def growth(self, catalogue: Catalogue, wishes: Wishes) -> NoReturn:
        self._refuse("it doesn't run")

    def malloc_trim(self, scope: Scope) -> NoReturn:
        self._refuse("nothing can be called in it")

    def _refuse(self, why: str) -> NoReturn:
        raise HeapxError(f"this is a saved snapshot: {why}", "Ask the process, or a core of it.")
