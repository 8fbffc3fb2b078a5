"""What commands run in: the selected inferior, to read and, if asked for, to trim."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gdb

from .. import snapshots
from ..catalogue import Catalogue
from ..errors import HeapxError, UsageError
from ..locate import glibc_images
from ..malloc import Scope
from ..snapshots import Snapshot
from ..target import Target
from .frames import inside_malloc, selection_kept
from .inferior import core_path, current_target
from .parameters import given, preferred
from .values import evaluated, setting


class GdbSession:
    """The selected inferior, while it is stopped."""

    def take(self, scope: Scope) -> Snapshot:
        return snapshots.take(_target(scope), scope)

    def catalogue(self, scope: Scope) -> Catalogue:
        return Catalogue(_target(scope), scope)

    def evaluate(self, expression: str) -> int:
        try:
            return evaluated(expression)
        except (gdb.error, ValueError) as error:
            raise HeapxError(
                f"{expression} is no address: {error}", "Give a number, or an expression of gdb's."
            ) from None

    def malloc_trim(self, pad: int) -> int:
        """Call malloc_trim of every libc in the first thread, while all others stand still."""
        inferior = gdb.selected_inferior()
        if core_path() is not None:
            raise HeapxError("a core can't be trimmed", "malloc_trim needs a living process.")
        for lwp, function in inside_malloc(inferior).items():
            raise HeapxError(
                f"thread {lwp} is inside {function}: malloc_trim could wait for it forever",
                "Let the process run on, and try again.",
            )
        target = _target(Scope())
        if pad >> 8 * target.word:
            raise UsageError(f"--pad {pad} is more than any memory of this process")
        found = (image.function("malloc_trim") for image in glibc_images(target))
        addresses = [address for address in found if address is not None]
        if not addresses:
            raise HeapxError("libc has no function malloc_trim")
        thread = inferior.threads()[0]
        gdb.write(f"heapx: calling malloc_trim({pad}) in thread {thread.num}\n", gdb.STDERR)
        calls = (f"((int (*)(unsigned long)) {address})({pad})" for address in addresses)
        with selection_kept(), setting("scheduler-locking", "on"), _signals_passed():
            thread.switch()
            try:
                return max([int(gdb.parse_and_eval(call)) for call in calls])
            except gdb.error as error:
                raise HeapxError(f"malloc_trim did not return: {error}") from None


def _target(scope: Scope) -> Target:
    """Return the selected inferior, with what the user has set."""
    swap_in = preferred().swap_in if scope.swap_in is None else scope.swap_in
    return current_target(swap_in, given())


@contextmanager
def _signals_passed() -> Iterator[None]:
    """Let waiting signals reach the program, instead of stopping a called function half-way."""
    table = re.findall(
        r"^(SIG\w+)\s+(Yes|No)\s+(Yes|No)\s+(Yes|No)",
        gdb.execute("info signals", to_string=True),
        re.M,
    )
    gdb.execute("handle all nostop noprint pass", to_string=True)
    try:
        yield
    finally:
        for name, *values in table:
            words = zip(values, ("stop", "print", "pass"))
            actions = " ".join(word if value == "Yes" else f"no{word}" for value, word in words)
            if actions != "nostop noprint pass" and name not in ("SIGTRAP", "SIGINT"):
                gdb.execute(f"handle {name} {actions}", to_string=True)
