"""Commands on a snapshot that was taken before, without a process."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from unittest import mock

from heapbuilder import AMD64, PAGE, HeapBuilder, fill, usual

from gdb_heapx.cli import execute as executing
from gdb_heapx.cli.command import REGISTRY, Command, Needs
from gdb_heapx.cli.execute import Terminal, _run, execute
from gdb_heapx.cli.given import OF_CHUNKS
from gdb_heapx.cli.preferences import NONE_PREFERRED, Preferred
from gdb_heapx.errors import HeapxError
from gdb_heapx.growth.free import Free
from gdb_heapx.growth.watched import TIME, Ended, Growth, SourceLine, Watched, Wishes
from gdb_heapx.held.held import Held, hold
from gdb_heapx.held.hidden import Way
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.report.model import Report
from gdb_heapx.report.schema import Table
from gdb_heapx.saved.saved import Saved, write_saved
from gdb_heapx.saved.taken import Taken as At
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import Snapshot, take
from gdb_heapx.target.target import Target

# Two requests of one thread: addresses of their frames in no file.
WATCHED = Watched(
    (
        Growth(0.1, 7, "extend", 16, 4096, 135_168, Free(70_000, 9, 2048), (0x1000, 0x2000)),
        Growth(0.2, 7, "mmap", None, 200_016, 204_800, None, (0x1000, 0x3000)),
    ),
    *("/lib/libc.so.6", 1.5, Ended(TIME), 4, 0.006, 0, 1, False, {16: 0}, {7: "worker"}),
    *(
        {16: Free(70_000, 9, 2048), 32: Free(1 << 20, 3, 1 << 19)},
        {0x3000: (SourceLine("f", "/s/f.c", 7),)},
    ),
)


SAVED_AT = At("2026-11-27T02:40:00Z", "host", "0.1.0", 0.25)


def catalogue_of(target: Target) -> Catalogue:
    """Return the chunks of a target."""
    return Catalogue(open_target(target))


@dataclass
class Taken:
    """A session whose every answer is one snapshot; `asked` are the scopes it was asked for.

    Single chunks are those of `target`.
    """

    snapshot: Snapshot
    asked: list[Scope] = field(default_factory=list)
    target: Target | None = None
    stood_still: float | None = None
    saved: Saved | None = None

    def load(self, path: str | None) -> Saved:
        return Saved(SAVED_AT, self.snapshot)

    def take(self, scope: Scope) -> Snapshot:
        self.asked.append(scope)
        return self.snapshot

    def told_apart(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def catalogue(self, scope: Scope) -> Catalogue:
        self.asked.append(scope)
        return catalogue_of(self.target or usual().target())

    def hold(self, scope: Scope, shared: bool, passes: bool, ways: Sequence[Way] = ()) -> Held:
        self.asked.append(scope)
        return hold(open_target(self.target or usual().target()), shared, ways=ways)

    @contextmanager
    def working(self) -> Iterator[None]:
        yield

    def evaluate(self, expression: str) -> int:
        return int(expression, 0)

    def growth(self, catalogue: Catalogue, wishes: Wishes) -> Watched:
        return WATCHED

    def malloc_trim(self, scope: Scope) -> int:
        raise HeapxError("there is no process to change")

    @contextmanager
    def opened(self, seconds: float | None = None, held: bool = False) -> Iterator[Taken]:
        yield self


@functools.cache
def saved_file() -> str:
    """Return a file with a heap of one arena, as it was saved."""
    heap = HeapBuilder(AMD64, (2, 36))
    fill(heap.main, heap.thread(heap.main, 100, "worker-0"))
    heap.main.close(16 * PAGE)
    snapshot, types = take(heap.target()), REGISTRY["heapx types"]
    (table,) = report_of(types, snapshot, heap.target()).tables
    path = f"{_DIRECTORY.name}/old.json"
    write_saved(path, Saved(SAVED_AT, snapshot, {"types": table}))
    return path


_DIRECTORY = tempfile.TemporaryDirectory()


class Said(NamedTuple):
    """What a command line printed, and its answer."""

    text: str
    status: int
    warning: str | None


def said(
    line: str, session: Taken, terminal: Terminal, preferred: Preferred = NONE_PREFERRED
) -> Said:
    """Run a command line as the user types it, without `heapx`."""
    pieces: list[str] = []
    answer = execute(line.split(), session.opened, terminal, pieces.append, preferred)
    return Said("".join(pieces), answer.status, answer.warning)


def answer(
    line: str,
    snapshot: Snapshot,
    width: int = 80,
    colour: bool = False,
    target: Target | None = None,
) -> Said:
    """Run a command line on a snapshot, and the chunks of its target."""
    return said(line, Taken(snapshot, target=target), Terminal(width, colour))


def shown(line: str, snapshot: Snapshot, target: Target) -> tuple[Said, Report]:
    """Run a command line on a snapshot; return what it says, and the report that it says it of."""
    reports: list[Report] = []

    def run(*args: Any) -> Report:
        reports.append(_run(*args))
        return reports[-1]

    with mock.patch.object(executing, "_run", run):
        said = answer(line, snapshot, target=target)
    (report,) = reports
    return said, report


def report_of(declared: Command, snapshot: Snapshot, target: Target | None = None) -> Report:
    """Return the report of a command without arguments; its stream, if it has one, is read."""
    own = {arg.key: arg.default for arg in declared.own_args}
    if declared.needs is Needs.BOTH:
        own.update(catalogue=Taken(snapshot, target=target).catalogue(Scope()))
    if declared.needs is Needs.LIVE:
        own.update(brief=None)
    if declared.ceilings:
        own.update(ceilings=())
    if declared.needs is Needs.HELD:
        held = Taken(snapshot, target=target).hold(Scope(), shared=False, passes=False)
        if "address" in own:
            own["address"] = next(held.index.each()).user
        asked = {"asked": declared.asks(held, **own)} if declared.asks else {}
        own.update(held=held, **asked)
    if declared.needs is Needs.SESSION:
        own.update(session=Taken(snapshot), scope=Scope())
    if declared.needs is Needs.FILE:
        own.update(loaded=Saved(SAVED_AT, snapshot))
    if declared.needs is Needs.ASKED:
        made = {"file": "/dev/null", "old": saved_file()}
        own.update({key: value for key, value in made.items() if key in own})
        session = Taken(snapshot, target=target)
        options = {arg.key: own[arg.key] for arg in declared.own_args}
        asked = declared.asks(snapshot, session, Scope(), **options)
        own.update(asked=asked, stood_still=None)
    if declared.needs is Needs.GROWTH:
        own.update(watched=WATCHED)
    if declared.needs not in OF_CHUNKS:
        return declared.run(snapshot, **own)
    catalogue = catalogue_of(usual().target())
    if "address" in own:
        own["address"] = next(catalogue.chunks()).address
    report = declared.run(catalogue, **own)
    return replace(report, blocks=tuple(map(_read, report.blocks)))


def _read(block: object) -> object:
    """Return a block as it is, a table with its rows."""
    return replace(block, rows=list(block.rows)) if isinstance(block, Table) else block
