"""Commands are declared once; help, parsing, completion and the manual follow from it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .. import __version__
from ..errors import UsageError, escape
from ..inventory.catalogue import Catalogue
from ..locate.allocators import not_glibc
from ..report.arrange import arrange
from ..report.files import check_output, write_whole
from ..report.model import Report, Value
from ..report.render import FORMATS, Context, missing_libraries
from ..report.style import Style
from ..snapshots.malloc import Scope
from ..snapshots.take import Snapshot
from .arguments import OUTPUT_ARGS, SCOPE_ARGS, Arg, parse_words
from .preferences import NONE_PREFERRED, Preferred

DAMAGED = 1
HELP_WIDTH = 79


class Session(Protocol):
    """A target that is stopped, to read and, where the user asks for exactly that, to change."""

    def take(self, scope: Scope) -> Snapshot:
        """Return a snapshot; HeapxError where there is no glibc malloc to read."""

    def catalogue(self, scope: Scope) -> Catalogue:
        """Return a way to the single chunks, as long as the session lasts; HeapxError as above."""

    def evaluate(self, expression: str) -> int:
        """Return the address that an expression means; HeapxError where it means none."""

    def malloc_trim(self, pad: int) -> int:
        """Call malloc_trim(pad) in the process and return its result; HeapxError if it can't be."""


def hanging(label: str, words: Sequence[str]) -> str:
    """Return text behind a label, broken into lines that begin below its first word."""
    indent = " " * len(label)
    return textwrap.fill(
        " ".join(words),
        HELP_WIDTH,
        initial_indent=label,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


@dataclass(frozen=True)
class Command:
    """A declared command: `run` maps a snapshot and its own arguments to a Report.

    One about `chunks` gets a Catalogue instead of the snapshot: always, or where the argument of
    that name is given. A command that `acts` gets the session, too. One about the `whole` memory
    has an answer even if glibc malloc holds nothing, because another allocator serves the program.
    `limit` is how many rows text shows unless told otherwise.
    """

    name: str
    args: tuple[Arg, ...]
    run: Callable[..., Report]
    acts: bool = False
    whole: bool = False
    limit: int | None = None
    chunks: bool | str = False

    @property
    def all_args(self) -> tuple[Arg, ...]:
        return (*self.args, *OUTPUT_ARGS)

    @property
    def doc(self) -> str:
        """The help's text: paragraphs are filled, lines that are indented stay as they are."""
        paragraphs = (inspect.getdoc(self.run) or "").split("\n\n")
        return "\n\n".join(
            text if text.startswith(" ") else hanging("", text.split()) for text in paragraphs
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
        usage = hanging("Usage: ", [word.replace(" ", "\0") for word in words])
        width = max(len(arg.usage) for arg in self.all_args)
        rows = [hanging(f"  {a.usage:{width}}  ", [a.meaning]) for a in self.all_args]
        return "\n".join([self.doc, "", usage.replace("\0", " "), "", *rows])

    def awaits(self, words: Sequence[str], last: str) -> Arg | None:
        """Return the argument whose value is being typed after `words`, None for an option."""
        previous = next((a for a in self.all_args if words and a.name == words[-1]), None)
        if previous is not None and previous.kind != "flag":
            return previous
        positional = (arg for arg in self.args if not arg.name.startswith("-"))
        return None if last.startswith("-") else next(positional, None)

    def complete(self, words: Sequence[str], last: str) -> list[str]:
        """Return the possible whole words for the word being typed, after `words`."""
        awaited = self.awaits(words, last)
        if awaited is not None and awaited.name.startswith("-"):
            return [choice for choice in awaited.choices if choice.startswith(last)]
        return [a.name for a in self.all_args if a.name.startswith("-") and a.name.startswith(last)]


REGISTRY: dict[str, Command] = {}  # filled when `commands` is loaded


Run = Callable[..., Report]


def command(name: str, *args: Arg, **more: Any) -> Callable[[Run], Run]:
    """Declare a function as a command: its docstring is the help, its arguments `args`.

    `more` are the other fields of Command.
    """

    def declare(function: Run) -> Run:
        REGISTRY[name] = Command(name, args, function, **more)
        return function

    return declare


def parse(declared: Command, words: Sequence[str]) -> dict[str, Any]:
    """Return a command's arguments by key; UsageError if they make no sense."""
    options = parse_words(declared.name, declared.all_args, words)
    check_output(options["output"])
    return options


@dataclass(frozen=True)
class Terminal:
    """Where text goes: its width in columns and whether it wants colour."""

    width: int
    colour: bool


@dataclass(frozen=True)
class Answer:
    """The exit status, and what to say on stderr."""

    status: int
    warning: str | None = None


def find(words: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command that a command line names, and its arguments."""
    commands = REGISTRY
    if words and f"heapx {words[0]}" in commands:
        return commands[f"heapx {words[0]}"], list(words[1:])
    if words[:1] == ["help"]:
        line = " ".join(("help heapx", *words[1:]))
        raise UsageError("heapx has no command 'help'", f"In gdb: {line}")
    if words and not words[0].startswith("-"):
        names = ", ".join(sorted(name.partition(" ")[2] for name in commands if " " in name))
        raise UsageError(f"heapx has no command {words[0]!r}", f"Commands: {names}")
    return commands["heapx"], list(words)


def execute(
    words: Sequence[str],
    opened: Callable[[], AbstractContextManager[Session]],
    terminal: Terminal,
    write: Callable[[str], object],
    preferred: Preferred = NONE_PREFERRED,
) -> Answer:
    """Run one command line, and `write` what it says, unless that goes to a file.

    `preferred` is what holds where the line says nothing.

    HeapxError for everything that the user can mend.
    """
    declared, rest = find(words)
    options = parse(declared, rest)
    columns = tuple(options["columns"].split(",")) if options["columns"] else None
    coloured = terminal.colour if preferred.color is None else preferred.color == "on"
    chosen = options["format"] or ("ansi" if coloured and not options["output"] else "text")
    is_text = chosen in ("text", "ansi")
    # Imports the libraries, if need be, while the process isn't stopped yet.
    warning = missing_libraries() if is_text else None
    limit = options["limit"]
    if limit is None and is_text:
        limit = declared.limit if preferred.limit is None else preferred.limit
    units = "bytes" if options["bytes"] else preferred.units
    style = Style(terminal.width, units, columns, preferred.table_format, preferred.style)

    def deliver(report: Report) -> None:
        context = Context(declared.name, __version__, target_facts(reading))
        pieces = FORMATS[chosen](report, context, style)
        if options["output"]:
            write_whole(options["output"], pieces)
            return
        for piece in pieces:
            write(piece)

    with opened() as session:
        reading = _read(declared, session, options)
        other = not_glibc(reading.allocators) if _is_foreign(reading) else None
        if other and not declared.whole:
            raise other
        report = _run(declared, session, reading, options)
        report = arrange(report, options["sort"], limit, columns, is_text)
        streamed = any(table.streamed for table in report.tables)
        if streamed:
            deliver(report)
    if not streamed:  # the process needs no longer stand still
        deliver(report)
    if other:
        return Answer(other.status, "\n".join(filter(None, (warning, escape(other.statement)))))
    damaged = any(problem.damage for problem in reading.problems)
    return Answer(DAMAGED if damaged else 0, warning)


def _scope(options: dict[str, Any]) -> Scope:
    walk = not options.get("no_walk", False)
    return Scope(walk, options["swap_in"], options.get("pad") or 0)


def _read(declared: Command, session: Session, options: dict[str, Any]) -> Snapshot | Catalogue:
    """Return what a command is about: the whole as a snapshot, or its single chunks."""
    chunks = declared.chunks
    if options[chunks] if isinstance(chunks, str) else chunks:
        return session.catalogue(_scope(options))
    return session.take(_scope(options))


def _run(
    declared: Command, session: Session, reading: Snapshot | Catalogue, options: dict[str, Any]
) -> Report:
    """Run a command with its own arguments; expressions by their values."""
    own = {arg.key: options[arg.key] for arg in declared.args if arg not in SCOPE_ARGS}
    for arg in declared.args:
        if arg.kind == "address":
            words = own[arg.key]
            text = words if isinstance(words, str) else " ".join(words or ())
            own[arg.key] = session.evaluate(text) if text else None
    acting = {"session": session, "scope": _scope(options)} if declared.acts else {}
    return declared.run(reading, **acting, **own)


def _is_foreign(reading: Snapshot | Catalogue) -> bool:
    """Tell whether the program's malloc is another one, and glibc's serves nobody."""
    return reading.unused and bool(reading.allocators)


def target_facts(reading: Snapshot | Catalogue) -> dict[str, Value]:
    """Return what JSON says of the target."""
    target = reading.target
    return {
        "pid": target.pid,
        "exe": target.exe,
        **reading.identity._asdict(),
        "word": target.word,
        "architecture": target.architecture,
        "page": target.page,
        "live": target.live,
        "walked": reading.walked,
    }
