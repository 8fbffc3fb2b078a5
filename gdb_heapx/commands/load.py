"""heapx load: answers from a saved snapshot, in gdb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli.arg import Arg
from ..cli.command import Needs, command
from ..heap.states import Search
from ..report.model import Notes, Report
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema

if TYPE_CHECKING:
    from ..saved.saved import Saved
    from ..snapshots.take import Snapshot

LOAD = Schema(
    "load",
    (
        Column("time", Kind.TEXT, DATA_ONLY),
        Column("host", Kind.TEXT, DATA_ONLY),
        Column("heapx", Kind.TEXT, DATA_ONLY),
    ),
)


@command(
    "heapx load",
    Arg("FILE", "a file that heapx save wrote; the process again if absent", "input"),
    needs=Needs.FILE,
    whole=True,
    tables=(LOAD,),
    search=Search.NONE,
)
def load(snapshot: Snapshot, loaded: Saved, file: str | None) -> Report:
    """Let all commands answer from a saved snapshot, or from the process again.

    In gdb, until heapx load alone, without FILE. Commands about single chunks, and about the memory
    that is in use, can't be answered from a file. In a shell: heapx --snapshot FILE COMMAND.

    Examples:

        heapx load old.json.gz  heapx, heapx why and the others are about that
        heapx load              about the process again
    """
    taken, target = loaded.taken, snapshot.target
    said = note(
        "loaded",
        file=file,
        target=target.name,
        program=target.exe,
        time=taken.time,
        host=taken.host,
    )
    return Report((Notes((said,), leads=True), LOAD.of([taken])), snapshot.problems)
