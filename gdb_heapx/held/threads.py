"""Work that two threads share."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

from ..ending import without_signals

GoesOn = Callable[[], bool]


def two_can_run() -> bool:
    """Tell whether there is more than one processor for this process."""
    return len(os.sched_getaffinity(0)) > 1


def in_two_threads(work: Callable[[GoesOn], bool], goes_on: GoesOn) -> None:
    """Let this thread and another do work, each until nothing of it is left, or it may not go on.

    `work` returns whether the other may finish alone; `goes_on` is asked in this thread only.
    """
    over = False
    other = Thread(target=work, args=(lambda: not over,), daemon=True)
    with without_signals():
        other.start()
    alone = False
    try:
        alone = work(goes_on)
    finally:
        over = not alone
        other.join()
