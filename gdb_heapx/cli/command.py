"""Commands are declared once; help, parsing, completion and the manual follow from it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..heap.states import Search
from ..records import dataclass
from ..report.files import check_output
from ..report.metrics import OPENMETRICS
from ..report.model import Report
from ..report.openmetrics import no_metrics
from ..report.schema import Schema
from ..report.stacks import FOLDED, STACK
from .arg import Arg
from .arguments import OUTPUT_ARGS, SCOPE_ARGS, parse_words

if TYPE_CHECKING:
    pass

HELP_WIDTH = 79
CHUNKS_FLAG, ZOOM = "--chunks", "--zoom"


@cache  # since most commands share options
def hanging(label: str, text: str) -> str:
    """Return text behind a label, broken into lines that begin below its first word."""
    indent = " " * len(label)
    return textwrap.fill(
        text,
        HELP_WIDTH,
        initial_indent=label,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


class Needs(Enum):
    """What a command's function gets before its own arguments."""

    SNAPSHOT = "all of malloc, read at once: a Snapshot"
    CHUNKS = "its chunks, to be read one by one: a Catalogue"
    BOTH = "a Snapshot, and its chunks: `catalogue`, a Catalogue"
    HELD = "a Snapshot; and `held`, the chunks in use: the target may have run on"
    LIVE = "a Snapshot; and `brief`, what is in use in brief, where that is quick, else None"
    GROWTH = "a Catalogue; and `watched`, what was seen while the process ran on"
    SESSION = "a Snapshot; `session`, which may change the process; and the `scope`"
    FILE = "a Snapshot, of a file; and `loaded`, the Saved that it is of"
    ASKED = "a Snapshot; `asked`, what `asks` got of the session; and `stood_still`, in seconds"


Function = Callable[..., Report]


@dataclass(frozen=True)
class Command:
    """A declared command: `run` maps what it `needs` and its own arguments to a Report.

    Where its flag --chunks is given, the function `chunks` answers instead: from a Catalogue. Where
    --zoom is given, `closer` does, from a Snapshot and a Catalogue. A command about the `whole`
    memory has an answer even if glibc malloc holds nothing, because another allocator serves the
    program. `limit` is how many rows text shows unless told otherwise. `tables` are those that its
    reports may have, the first one first; without any it is a page. `search` is how far mmapped
    chunks are looked for. One that asks for `stale` headers gets a snapshot with what they tell,
    one that wants the regular bins `apart` each of them, one with a `census` how many chunks there
    are of each size, one with `outcomes` what malloc_trim and free() would return, one with
    `strips` what fills the heaps, cell by cell.
    One that asks for `ceilings` is also told what arenas can serve from what is free.
    With held chunks the function `asks` is called while the target still stands, with these and its
    own arguments: what it returns is `asked`. With Needs.ASKED it gets snapshot, session and scope.
    Where a file has what the command needs more than a snapshot, the function `filed` answers: from
    a Snapshot and the Saved that it is of.
    """

    name: str
    args: tuple[Arg, ...]
    run: Function
    needs: Needs
    whole: bool
    limit: int | None
    chunks: Function | None
    tables: tuple[Schema, ...]
    search: Search
    stale: bool
    apart: bool
    census: bool
    outcomes: bool
    strips: bool
    ceilings: bool
    asks: Callable[..., Any] | None
    filed: Function | None
    closer: Function | None

    @property
    def page(self) -> bool:
        return not self.tables

    def way(self, options: Mapping[str, Any]) -> tuple[Function, Needs]:
        """Return the function that answers with these options, and what it needs."""
        if self.chunks is not None and options["chunks"]:
            return self.chunks, Needs.CHUNKS
        if self.closer is not None and options["zoom"]:
            return self.closer, Needs.BOTH
        return self.run, self.needs

    @property
    def own_args(self) -> tuple[Arg, ...]:
        """The arguments that its functions get; the others say which one, and what is read."""
        return tuple(a for a in self.args if a not in SCOPE_ARGS and a.name != CHUNKS_FLAG)

    @property
    def all_args(self) -> tuple[Arg, ...]:
        return (*self.args, *OUTPUT_ARGS)

    @property
    def has_stacks(self) -> bool:
        """Whether its reports have a table of stacks."""
        return any(column.name == STACK for table in self.tables for column in table.columns)

    @property
    def has_metrics(self) -> bool:
        """Whether a table that its reports may have is one of metrics."""
        return any(table.metrics for table in self.tables)

    @property
    def doc(self) -> str:
        """The help's text: paragraphs are filled, lines that are indented stay as they are."""
        paragraphs = (inspect.getdoc(self.run) or "").split("\n\n")
        return "\n\n".join(
            text if text.startswith(" ") else hanging("", " ".join(text.split()))
            for text in paragraphs
        )

    @property
    def word(self) -> str:
        """Its name behind heapx, "" for heapx alone."""
        return self.name.partition(" ")[2]

    @property
    def usage(self) -> str:
        return " ".join([self.name, *(arg.synopsis for arg in self.args), "[OUTPUT OPTIONS]"])

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    def help(self) -> str:
        """Return the help text: summary line first, as gdb lists it."""
        words = [self.name, *(arg.synopsis for arg in self.args), "[OUTPUT OPTIONS]"]
        usage = hanging("Usage: ", " ".join(word.replace(" ", "\0") for word in words))
        width = max(len(arg.usage) for arg in self.all_args)
        rows = [hanging(f"  {a.usage:{width}}  ", a.meaning) for a in self.all_args]
        return "\n".join([self.doc, "", usage.replace("\0", " "), "", *rows])


REGISTRY: dict[str, Command] = {}  # filled when `commands` is loaded


def command(
    name: str,
    *args: Arg,
    needs: Needs = Needs.SNAPSHOT,
    whole: bool = False,
    limit: int | None = None,
    chunks: Function | None = None,
    tables: tuple[Schema, ...],
    search: Search = Search.MAPPINGS,
    stale: bool = False,
    apart: bool = False,
    census: bool = False,
    outcomes: bool = False,
    strips: bool = False,
    ceilings: bool = False,
    asks: Callable[..., Any] | None = None,
    filed: Function | None = None,
    closer: Function | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as a command: its docstring is the help, its arguments `args`.

    ValueError where the declaration contradicts itself, or the functions.
    """

    def declare(function: Function) -> Function:
        wanted = search, stale, apart, census, outcomes, strips, ceilings, asks, filed, closer
        declared = Command(name, args, function, needs, whole, limit, chunks, tables, *wanted)
        wrong = next(_faults(declared), None)
        if wrong:
            raise ValueError(f"{name}: {wrong}")
        REGISTRY[name] = declared
        return function

    return declare


def find(words: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command that a command line names, and its arguments."""
    commands = REGISTRY
    if words and f"heapx {words[0]}" in commands:
        return commands[f"heapx {words[0]}"], list(words[1:])
    if words and not words[0].startswith("-"):
        raise no_command(words[0])
    return commands["heapx"], list(words)


def no_command(word: str, more: str = "") -> UsageError:
    """Return the error that no command is called so; it lists those that there are."""
    if word == "watch":
        return UsageError("heapx watch is for a shell", "There: heapx watch -p PID --every 30s")
    declared = (name.partition(" ")[2] for name in REGISTRY if " " in name)
    names = ", ".join(sorted((*declared, "watch")))
    said = ", ".join(filter(None, (f"heapx has no command {word!r}", more)))
    return UsageError(said, f"Commands: {names}")


def parse(declared: Command, words: Sequence[str]) -> dict[str, Any]:
    """Return a command's arguments by key; UsageError if they make no sense."""
    options = parse_words(declared.name, declared.all_args, words)
    for arg in declared.all_args:
        if arg.kind == "file":
            check_output(options[arg.key])
    if options["format"] == FOLDED and not declared.has_stacks:
        raise UsageError(f"{declared.name} has no stacks to fold", "heapx growth has.")
    if options["format"] == OPENMETRICS and not declared.has_metrics:
        raise no_metrics(declared.name)
    if declared.needs is Needs.GROWTH and options["max_pause"] is not None:
        raise UsageError(
            f"{declared.name} can't promise --max-pause: the process stands still again and again",
            "--max-load bounds for how much of the time.",
        )
    return options


def _faults(declared: Command) -> Iterator[str]:
    """Yield what is wrong with a declaration."""
    if declared.name in REGISTRY:
        yield "declared twice"
    names = [name for arg in declared.all_args for name in dict.fromkeys((arg.name, *arg.options))]
    tables = [table.name for table in declared.tables]
    names += tables
    yield from (f"{name} twice" for name in names if names.count(name) > 1)
    shown = {name for arg in declared.args for name in arg.tables}
    yield from (f"has no table {name}" for name in shown.difference(tables))
    if (CHUNKS_FLAG in names) != (declared.chunks is not None):
        yield "--chunks and a function for it belong together"
    if declared.chunks and declared.needs is not Needs.SNAPSHOT:
        yield "--chunks chooses between a snapshot and chunks"
    yield from _misfits(declared, declared.run, declared.needs)
    if declared.chunks:
        yield from _misfits(declared, declared.chunks, Needs.CHUNKS)
    if (ZOOM in names) != (declared.closer is not None):
        yield f"{ZOOM} and a function for it belong together"
    if declared.closer:
        yield from _misfits(declared, declared.closer, Needs.BOTH)


def _misfits(declared: Command, function: Function, needs: Needs) -> Iterator[str]:
    """Yield the arguments that a function lacks, and those that nobody gives it."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    taken = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
    given = {arg.key for arg in declared.own_args}
    more = {Needs.SESSION: {"session", "scope"}, Needs.BOTH: {"catalogue"}, Needs.HELD: {"held"}}
    more[Needs.LIVE] = {"brief"}
    more[Needs.GROWTH] = {"watched"}
    more[Needs.ASKED] = {"stood_still"}
    more[Needs.FILE] = {"loaded"}
    given |= more.get(needs, set())
    given |= {"asked"} if declared.asks else set()
    given |= {"ceilings"} if declared.ceilings else set()
    yield from (f"nothing gives {name} to {function.__name__}" for name in taken - given)
    if not open_ended:
        yield from (f"{function.__name__} doesn't take {name}" for name in given - taken)
