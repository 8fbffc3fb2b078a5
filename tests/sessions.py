"""Commands on a snapshot that was taken before, without a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gdb_heapx.command import SCOPE_ARGS, Answer, Command, Terminal, execute
from gdb_heapx.errors import HeapxError
from gdb_heapx.malloc import Scope
from gdb_heapx.report import Report
from gdb_heapx.snapshot import Snapshot


@dataclass
class Taken:
    """A session whose every answer is one snapshot; `asked` are the scopes it was asked for."""

    snapshot: Snapshot
    asked: list[Scope] = field(default_factory=list)

    def take(self, scope: Scope) -> Snapshot:
        self.asked.append(scope)
        return self.snapshot

    def malloc_trim(self, pad: int) -> int:
        raise HeapxError("there is no process to change")

    @contextmanager
    def opened(self) -> Iterator[Taken]:
        yield self


def answer(line: str, snapshot: Snapshot, width: int = 80, colour: bool = False) -> Answer:
    """Run a command line as the user types it, without `heapx`."""
    return execute(line.split(), Taken(snapshot).opened, Terminal(width, colour))


def report_of(declared: Command, snapshot: Snapshot) -> Report:
    """Return the report of a command without arguments."""
    own = {arg.key: None for arg in declared.args if arg not in SCOPE_ARGS}
    acting = {"session": Taken(snapshot), "scope": Scope()} if declared.acts else {}
    return declared.run(snapshot, **acting, **own)
