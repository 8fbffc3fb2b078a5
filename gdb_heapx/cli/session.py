"""What a command may ask of the target, whoever runs it: gdb at a prompt, a shell, a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..growth.watched import Watched, Wishes
    from ..held.held import Held
    from ..held.hidden import Way
    from ..inventory.catalogue import Catalogue
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot


class Session(Protocol):
    """A target that is stopped, to read and, where the user asks for exactly that, to change."""

    @property
    def stood_still(self) -> float | None:
        """For how many seconds the target stood still, once it runs on; None where that isn't
        known, as of a core.
        """

    @property
    def saved(self) -> Saved | None:
        """The file that answers; None where a target does."""

    def load(self, path: str | None) -> Saved:
        """Let this file answer from now on, and return it; for None the target again, and return
        what was loaded. HeapxError where that can't be.
        """

    def take(self, scope: Scope) -> Snapshot:
        """Return a snapshot, of which told_apart makes a whole one; HeapxError where there is no
        glibc malloc to read.
        """

    def told_apart(self, snapshot: Snapshot) -> Snapshot:
        """Return what `take` returned last with its regular bins told apart; for that the target
        needn't stand still any more.
        """

    def catalogue(self, scope: Scope) -> Catalogue:
        """Return a way to the single chunks, as long as the session lasts; HeapxError as above."""

    def hold(self, scope: Scope, shared: bool, passes: bool, ways: Sequence[Way] = ()) -> Held:
        """Return the chunks in use and the roots, shared memory too if asked for, to look at when
        the target runs on, with what leads to chunks in these ways. Where they are too many for
        that, HeapxError, unless `passes` over them are wanted, meanwhile; also as above, and where
        reading was stopped.
        """

    def working(self) -> AbstractContextManager[None]:
        """In here what was held is looked at: long work shows itself, and can be stopped."""

    def evaluate(self, expression: str) -> int:
        """Return the address that an expression means; HeapxError where it means none."""

    def growth(self, catalogue: Catalogue, wishes: Wishes) -> Watched:
        """Let the process run, and return what made its malloc grow; HeapxError if it can't be
        watched.
        """

    def malloc_trim(self, scope: Scope) -> int:
        """Call malloc_trim (of the scope's pad) in the process and return its result; HeapxError if
        it can't be.
        """
