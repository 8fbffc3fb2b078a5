"""heapx watch: short looks at a process, a line for each, and what has changed at the end."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import field
from datetime import datetime, timezone
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..commands._changes import look_of
from ..compare.look import Look
from ..ending import EndedError
from ..errors import HeapxError
from ..records import dataclass
from ..saved.saved import read_saved
from .looks import row_of
from .presence import Presence
from .shown import LookPrinter
from .streams import complain

SHARE = 10  # of the time the process stands still for no more than one part in so many
GONE = 3  # the exit status where the process ended, or no look succeeded
# Runs a command of heapx's in a gdb of its own; None where only a bug explains what came back.
Ask = Callable[[list[str]], "dict[str, Any] | None"]


class LookWishes(NamedTuple):
    """How often, and how many times, to look; where the looks are kept, None: nowhere; and whether
    at all that heapx save keeps.
    """

    every: float
    number: int | None
    directory: str | None
    full: bool = False


@dataclass
class Watching:
    """What was seen so far, and for how many seconds the process stood still at each look."""

    first: Look | None = None
    last: Look | None = None
    stood: list[float] = field(default_factory=list)
    failed: int = 0
    begun: float = field(default_factory=time.monotonic)


def watch(pid: int, wanted: LookWishes, ask: Ask, shown: LookPrinter) -> int:
    """Look at a process as often as is wanted, and say what has changed; return the exit status."""
    watching, status, ended = Watching(), 0, None
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(wanted.directory))
        presence = stack.enter_context(closing(Presence(pid)))
        try:
            if _look_on(
                pid, wanted, presence, watching, _looker(pid, directory, wanted, ask), shown
            ):
                complain(f"heapx: process {pid} was gone at {_now():%H:%M:%S} UTC")
                status = GONE
        except EndedError as error:
            if error.number == signal.SIGPIPE:  # nobody reads what would follow
                raise
            ended, status = error.statement, error.status
    if watching.first is None or watching.last is None:
        complain("heapx: no look succeeded: there is nothing to compare")
        return status or GONE
    elapsed = time.monotonic() - watching.begun
    shown.end(watching.first, watching.last, watching.stood, watching.failed, elapsed)
    if ended:
        complain(f"heapx: {ended}")
    return status


@contextmanager
def _directory(given: str | None) -> Iterator[str]:
    """Return where looks are written: one for this alone, if none is given."""
    if given is None:
        with TemporaryDirectory(prefix="heapx-") as own:
            yield own
        return
    try:
        os.makedirs(given, exist_ok=True)
    except OSError as error:
        raise HeapxError(f"cannot keep looks in {given}: {error.strerror}") from None
    yield given


_Looker = Callable[[], "tuple[Look, float | None, str | None]"]


def _looker(pid: int, directory: str, wanted: LookWishes, ask: Ask) -> _Looker:
    """Return what looks once; HeapxError where that fails, EndedError where it is interrupted."""

    def look() -> tuple[Look, float | None, str | None]:
        moment = f"{_now():%Y%m%dT%H%M%S.%f}"[:-3]
        kept = wanted.directory is not None
        path = os.path.join(directory, f"{moment}Z-{pid}.json{'.gz' if kept else ''}")
        extent = [] if wanted.full else ["--brief"]
        result = ask(["save", path, *extent, "--format", "json"])
        if result is not None and result["status"] == 128 + signal.SIGINT:
            with suppress(OSError):  # of a part only
                os.unlink(path)
            raise EndedError(signal.SIGINT)
        if result is None or not result["whole"]:
            raise HeapxError(
                result["error"].removeprefix("heapx: ") if result else "a bug in heapx"
            )
        saved = read_saved(path)
        if not kept:
            os.unlink(path)
        return look_of(saved), saved.taken.stood_still, path if kept else None

    return look


def _look_on(
    pid: int,
    wanted: LookWishes,
    presence: Presence,
    watching: Watching,
    look: _Looker,
    shown: LookPrinter,
) -> bool:
    """Look until there were enough looks; tell whether the process ended before."""
    due, every, number = time.monotonic(), wanted.every, 0
    while not presence.wait(due):
        try:
            seen, stood, file = look()
        except HeapxError as error:
            if presence.gone:
                return True
            if watching.first is None:  # nor would the next one work
                raise
            watching.failed += 1
            complain(f"heapx: no look at {_now():%H:%M:%S}: {error}")
        else:
            watching.first, watching.last = watching.first or seen, seen
            watching.stood += [] if stood is None else [stood]
            shown.look(row_of(seen, stood, file))
            every = _no_more(every, watching.stood)
        number += 1
        if number == wanted.number:
            return False
        late = time.monotonic() - due
        due += every * max(1, math.ceil(late / every))
    return True


def _no_more(every: float, stood: Sequence[float]) -> float:
    """Return how often to look: not so often that the process stands still for too much of the
    time, as long as a look takes.
    """
    cost = min(stood, default=0.0)  # what is more is the machine's load
    if SHARE * cost <= every:
        return every
    longer = math.ceil(10 * SHARE * cost) / 10
    complain(
        f"heapx: for a look the process stands still for {cost:.2f} s: looking every {longer:g} s, "
        f"not {every:g}, so that it does for a tenth of the time"
    )
    return longer


def _now() -> datetime:
    return datetime.now(timezone.utc)
