"""What commands run in: the selected inferior, to read and, if asked for, to trim."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gdb

from ..errors import UNSHOWN, HeapxError, UsageError, wrapped
from ..growth.watched import announced
from ..inventory.catalogue import Catalogue
from ..locate.libcs import glibc_images
from ..snapshots.take import Snapshot, snapshot_of, told_apart
from ..target.pace import cut_short
from .calls import call, refuse_remote
from .frames import inside_malloc
from .inferior import core_path
from .loaded import load
from .pacing import PACE
from .parameters import given, preferred
from .standing import How, forget, held, is_held, opened
from .values import evaluated

if TYPE_CHECKING:
    from ..growth.watched import Tried, Watched, Wishes
    from ..held.held import Held
    from ..held.hidden import Way
    from ..held.room import Room
    from ..saved.saved import Saved
    from ..snapshots.malloc import Scope
    from ..snapshots.opened import Opened
    from .breakpoints import Keep


def _to_stderr(text: str) -> None:
    gdb.write(f"{wrapped(text, gdb.parameter('width') or UNSHOWN)}\n", gdb.STDERR)
    gdb.flush(gdb.STDERR)


class GdbSession:
    """The selected inferior, while it is stopped; a copy of its chunks goes into `room`.

    `keep` is told where the process's text is changed: None at gdb's prompt, where nobody could
    put it back if gdb were killed. `tell` says at once what is about to be done. `stood_still` is
    for how many seconds the process stood still, None as long as it does.
    """

    stood_still: float | None = None
    saved: Saved | None = None

    def __init__(
        self,
        room: Room | None = None,
        keep: Keep | None = None,
        tell: Callable[[str], object] = _to_stderr,
    ) -> None:
        self._room, self._keep, self._tell = room, keep, tell
        self._taken: tuple[Snapshot, Opened] | None = None  # what `take` returned last, and of what

    def load(self, path: str | None) -> Saved:
        return load(path)

    def take(self, scope: Scope) -> Snapshot:
        opened = _opened(scope)
        found = snapshot_of(opened, scope)
        self._taken = found, opened
        return found

    def told_apart(self, snapshot: Snapshot) -> Snapshot:
        taken, opened = self._taken or (None, None)
        return told_apart(snapshot, opened) if opened and taken is snapshot else snapshot

    def catalogue(self, scope: Scope) -> Catalogue:
        def hold(_: Opened, passes: bool) -> Held:
            return self.hold(scope, shared=False, passes=passes)

        found = _opened(scope)
        return Catalogue(found, hold, is_held(found))

    def hold(self, scope: Scope, shared: bool, passes: bool, ways: Sequence[Way] = ()) -> Held:
        settings, how = preferred(), How(shared, passes, tuple(ways))
        swap_in = settings.swap_in if scope.swap_in is None else scope.swap_in
        return held(swap_in, settings.compiled != "off", given(), how, self._room)

    @contextmanager
    def working(self) -> Iterator[None]:
        PACE.resume()
        try:
            with cut_short(PACE):
                yield
        finally:
            PACE.end()

    def evaluate(self, expression: str) -> int:
        try:
            return evaluated(expression)
        except (gdb.error, ValueError) as error:
            raise HeapxError(
                f"{expression} is no address: {error}", "Give a number, or an expression of gdb's."
            ) from None

    def growth(self, catalogue: Catalogue, wishes: Wishes) -> Watched:
        """Let the process run, and note what makes its malloc grow."""
        from .watching import watch

        def announce(tried: Tried) -> None:
            inferior, guarded = gdb.selected_inferior(), self._keep is not None
            self._tell(announced(wishes, inferior.pid, len(inferior.threads()), tried, guarded))

        for image in catalogue.source.objects:
            image.keep_symbols()
        try:
            return watch(catalogue.opened, wishes, self._keep or (lambda places: None), announce)
        finally:
            forget()

    def malloc_trim(self, scope: Scope) -> int:
        """Call malloc_trim of every libc in one thread, while all others stand still."""
        inferior = gdb.selected_inferior()
        if core_path() is not None:
            raise HeapxError("a core can't be trimmed", "malloc_trim needs a living process.")
        refuse_remote(inferior)
        for lwp, function in inside_malloc(inferior).items():
            raise HeapxError(
                f"thread {lwp} is inside {function}: malloc_trim could wait for it forever",
                "Let the process run on, and try again.",
            )
        opened, pad = _opened(scope), scope.pad
        target, debug = opened.target, (m.libc.image for m in opened.mallocs if m.libc.debugs)
        if pad >> 8 * target.space.word:
            raise UsageError(f"--pad {pad} is more than any memory of this process")
        found = (image.function("malloc_trim") for image in (*glibc_images(target), *debug))
        addresses = [address for address in found if address is not None]
        if not addresses:
            raise HeapxError("libc has no function malloc_trim")
        try:
            return max(call(inferior, addresses, pad))
        finally:
            forget()


def _opened(scope: Scope) -> Opened:
    """Return the selected inferior, opened as the user has set."""
    settings = preferred()
    swap_in = settings.swap_in if scope.swap_in is None else scope.swap_in
    return opened(swap_in, settings.compiled != "off", given(), scope.figures)
