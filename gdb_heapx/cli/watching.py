"""heapx watch, declared: a command of the shell's, which no gdb has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..records import dataclass
from .arg import Arg
from .command import hanging

if TYPE_CHECKING:
    from ..report.schema import Schema

HELP = """\
Look at a process again and again, shortly, and say at the end what has changed.

A line for each look: the time (UTC), RSS, what is in use, what is free and resident in malloc, what
malloc_trim(0) would return of that, what isn't malloc's, how RSS went so far, and how long the
process stood still. In between nobody is attached to it, and it runs. At the end: what the looks
cost it, and what has grown and shrunk from the first look to the last (heapx compare).

Looks come at fixed times. Where the process would stand still for more than a tenth of the time,
they come less often, and heapx says so. If the process ends, by Ctrl-C and by SIGTERM the end comes
at once, and the process runs on. A look that fails is told, and the next one comes at its time.

With --save DIR each look is kept there as a file, named by its time and the process, for heapx
compare and heapx --snapshot: as heapx save --brief writes it. With --full each look is at all that
heapx save keeps: what is in use by type is compared at the end, and the process stands still for
longer. JSON is a line for each look, and one for the comparison; CSV is a row for each look.

Exit status: 0, also if some looks failed; 3 if the process ended before the last look, or none
succeeded; 130 and 143 by Ctrl-C and SIGTERM.
"""


@dataclass(frozen=True)
class ShellCommand:
    """A command that only the shell has."""

    word: str
    args: tuple[Arg, ...]
    doc: str

    @property
    def name(self) -> str:
        return f"heapx {self.word}"

    @property
    def all_args(self) -> tuple[Arg, ...]:
        return self.args

    @property
    def tables(self) -> tuple[Schema, ...]:
        """Those whose columns can be chosen: none."""
        return ()

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    @property
    def usage(self) -> str:
        return " ".join([self.name, "-p PID", *(arg.synopsis for arg in self.args)])

    def help(self) -> str:
        """Return the help text."""
        words = [self.name, "-p PID", *(arg.synopsis for arg in self.args)]
        usage = hanging("Usage: ", " ".join(word.replace(" ", "\0") for word in words))
        width = max(len(arg.usage) for arg in self.args)
        rows = [hanging(f"  {a.usage:{width}}  ", a.meaning) for a in self.args]
        return "\n".join([self.doc, usage.replace("\0", " "), "", *rows])


FORMATS = ("text", "json", "csv")
WATCH = ShellCommand(
    "watch",
    (
        Arg("--every", "the time from look to look: 30s, 5m, 1h (default: 10s)", "period"),
        Arg("--count", "so many looks; without it until Ctrl-C", "count"),
        Arg("--save", "keep each look as a file in this directory", "file", metavar="DIR"),
        Arg(
            "--full",
            "look at all that heapx save keeps, types too: the process stands still longer",
        ),
        Arg("--format", "output format", "choice", choices=FORMATS),
    ),
    HELP,
)
