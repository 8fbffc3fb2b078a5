"""Commands are declared once; help, parsing, completion and the manual follow from it."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from . import __version__
from .allocators import not_glibc
from .errors import HeapxError, UsageError
from .malloc import Scope
from .render import FORMATS, Context, Style, missing_libraries
from .report import Column, Report, Value
from .snapshot import Snapshot

DAMAGED = 1
HELP_WIDTH = 79


@dataclass(frozen=True)
class Arg:
    """One argument: `--name` or, without dashes, a positional one that may be absent.

    `kind` is what its value is: flag, text, count, bytes, choice, arena or file.
    """

    name: str
    help: str
    kind: str = "flag"
    default: Any = None
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.name.lstrip("-").lower().replace("-", "_")

    @property
    def usage(self) -> str:
        if not self.name.startswith("-") or self.kind == "flag":
            return self.name
        return f"{self.name} {self.key.upper() if self.choices else self.kind.upper()}"

    @property
    def meaning(self) -> str:
        return f"{self.help}: {', '.join(self.choices)}" if self.choices else self.help


ARENA = Arg("ARENA", "its index (0 = main) or address; all if absent", "arena")
NO_WALK = Arg("--no-walk", "read lists, not chunks: in use is then what remains")
PAD = Arg("--pad", "leave this much at top, as malloc_trim(BYTES) would", "bytes")
SCOPE_ARGS = (NO_WALK, PAD)  # what take is told
OUTPUT_ARGS = (
    Arg("--format", "output format", "choice", choices=tuple(FORMATS)),
    Arg("--output", "write to this file, whole or not at all", "file"),
    Arg("--sort", "sort by this column, largest first", "column"),
    Arg("--limit", "show this many rows at most", "count"),
    Arg("--bytes", "show sizes in bytes, exactly"),
    Arg("--columns", "show these columns: NAME,NAME,…", "columns"),
    Arg("--swap-in", "bring this much back from swap at most, such as 100M", "bytes"),
)


class Session(Protocol):
    """A target that is stopped, to read and, where the user asks for exactly that, to change."""

    def take(self, scope: Scope) -> Snapshot:
        """Return a snapshot; HeapxError where there is no glibc malloc to read."""

    def malloc_trim(self, pad: int) -> int:
        """Call malloc_trim(pad) in the process and return its result; HeapxError if it can't be."""


@dataclass(frozen=True)
class Command:
    """A declared command: `run` maps a snapshot and its own arguments to a Report.

    A command that `acts` gets the session, too. One about the `whole` memory has an answer even if
    glibc malloc holds nothing, because another allocator serves the program. `limit` is how many
    rows text shows unless told otherwise.
    """

    name: str
    args: tuple[Arg, ...]
    run: Callable[..., Report]
    acts: bool = False
    whole: bool = False
    limit: int | None = None

    @property
    def all_args(self) -> tuple[Arg, ...]:
        return (*self.args, *OUTPUT_ARGS)

    @property
    def doc(self) -> str:
        paragraphs = (inspect.getdoc(self.run) or "").split("\n\n")
        return "\n\n".join(textwrap.fill(paragraph, HELP_WIDTH) for paragraph in paragraphs)

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    def help(self) -> str:
        """Return the help text: summary line first, as gdb lists it."""
        usage = " ".join([self.name, *(f"[{arg.usage}]" for arg in self.args), "[OUTPUT OPTIONS]"])
        width = max(len(arg.usage) for arg in self.all_args)
        rows = [f"  {arg.usage:{width}}  {arg.meaning}" for arg in self.all_args]
        return "\n".join([self.doc, "", f"Usage: {usage}", "", *rows])

    def complete(self, words: Sequence[str], last: str) -> list[str]:
        """Return the possible whole words for the word being typed, after `words`."""
        previous = next((a for a in self.all_args if words and a.name == words[-1]), None)
        if previous is not None and previous.kind != "flag":
            return [choice for choice in previous.choices if choice.startswith(last)]
        return [a.name for a in self.all_args if a.name.startswith("-") and a.name.startswith(last)]


REGISTRY: dict[str, Command] = {}


Run = Callable[..., Report]


def command(
    name: str, *args: Arg, acts: bool = False, whole: bool = False, limit: int | None = None
) -> Callable[[Run], Run]:
    """Declare a function as a command: its docstring is the help, its arguments `args`."""

    def declare(function: Run) -> Run:
        REGISTRY[name] = Command(name, args, function, acts, whole, limit)
        return function

    return declare


def load_commands() -> dict[str, Command]:
    """Import every module of `commands`, and return what they declared."""
    from . import commands

    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")
    return REGISTRY


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"See: help {self.prog}")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMGT]?)(iB|B)?", text, re.I)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 4096, 64K or 100M")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


def _arena(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        message = f"{text!r} is neither an arena's index nor an address"
        raise argparse.ArgumentTypeError(message) from None


def parse(declared: Command, words: Sequence[str]) -> argparse.Namespace:
    """Return a command's arguments by key; UsageError with one clear message."""
    parser = _Parser(prog=declared.name, add_help=False, allow_abbrev=False)
    types: dict[str, Callable[[str], Any]] = {"count": _count, "bytes": _bytes, "arena": _arena}
    for arg in declared.all_args:
        if arg.kind == "flag":
            parser.add_argument(arg.name, dest=arg.key, action="store_true")
            continue
        options: dict[str, Any] = {"default": arg.default, "type": types.get(arg.kind, str)}
        if arg.choices:
            options["choices"] = arg.choices
        if arg.name.startswith("-"):
            options["dest"] = arg.key
        else:
            options["nargs"] = "?"
        parser.add_argument(arg.name if arg.name.startswith("-") else arg.key, **options)
    known = {arg.name for arg in declared.all_args}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in known:
            parser.error(f"{declared.name} has no option {word}")
    parsed = parser.parse_args(list(words))
    _check_output(parsed.output)
    return parsed


@dataclass(frozen=True)
class Terminal:
    """Where text goes: its width in columns and whether it wants colour."""

    width: int
    colour: bool


@dataclass(frozen=True)
class Answer:
    """What to print ("" if it went to a file), the exit status, and what to say on stderr."""

    text: str
    status: int
    warning: str | None = None


def find(words: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command that a command line names, and its arguments."""
    commands = load_commands()
    if words and f"heapx {words[0]}" in commands:
        return commands[f"heapx {words[0]}"], list(words[1:])
    if words and not words[0].startswith("-"):
        names = ", ".join(sorted(name.partition(" ")[2] for name in commands if " " in name))
        raise UsageError(f"heapx has no command {words[0]!r}", f"Commands: {names}")
    return commands["heapx"], list(words)


def execute(
    words: Sequence[str],
    opened: Callable[[], AbstractContextManager[Session]],
    terminal: Terminal,
) -> Answer:
    """Run one command line; HeapxError for everything that the user can mend."""
    declared, rest = find(words)
    options = vars(parse(declared, rest))
    columns = tuple(options["columns"].split(",")) if options["columns"] else None
    chosen = options["format"] or ("ansi" if terminal.colour and not options["output"] else "text")
    # Imports the libraries, if need be, while the process isn't stopped yet.
    warning = missing_libraries() if chosen in ("text", "ansi") else None
    walk = not options.get("no_walk", False)
    scope = Scope(walk, options["swap_in"], options.get("pad") or 0)
    own = {arg.key: options[arg.key] for arg in declared.args if arg not in SCOPE_ARGS}
    with opened() as session:
        snapshot = session.take(scope)
        other = not_glibc(snapshot.allocators) if _is_foreign(snapshot) else None
        if other and not declared.whole:
            raise other
        acting = {"session": session, "scope": scope} if declared.acts else {}
        report = declared.run(snapshot, **acting, **own)
    limit = options["limit"]
    if limit is None and chosen in ("text", "ansi"):
        limit = declared.limit
    report = _arrange(report, options["sort"], limit, columns)
    context = Context(declared.name, __version__, target_facts(snapshot))
    text = FORMATS[chosen](report, context, Style(terminal.width, options["bytes"], columns))
    if options["output"]:
        write_whole(options["output"], text)
        text = ""
    if other:
        return Answer(text, other.status, "\n".join(filter(None, (warning, other.statement))))
    damaged = any(problem.damage for problem in snapshot.problems)
    return Answer(text, DAMAGED if damaged else 0, warning)


def _is_foreign(snapshot: Snapshot) -> bool:
    """Tell whether the program's malloc is another one, and glibc's serves nobody."""
    return snapshot.unused and bool(snapshot.allocators)


def target_facts(snapshot: Snapshot) -> dict[str, Value]:
    """Return what JSON says of the target."""
    target, malloc = snapshot.target, snapshot.mallocs[0]
    return {
        "pid": target.pid,
        "exe": target.exe,
        "libc": malloc.libc,
        "build_id": malloc.build_id,
        "release": malloc.release,
        "word": target.word,
        "architecture": target.architecture,
        "page": target.page,
        "live": target.live,
        "walked": snapshot.walked,
    }


def _arrange(
    report: Report, sort: str | None, limit: int | None, columns: tuple[str, ...] | None
) -> Report:
    """Sort and cut the first table, and check the names of columns."""
    if not report.tables:
        return report
    table = report.tables[0]
    for name in (*(columns or ()), *((sort,) if sort else ())):
        if table.column(name) is None:
            known = ", ".join(column.name for column in table.columns)
            raise UsageError(f"{table.name} has no column {name!r}", f"Columns: {known}")
    rows = list(table.rows)
    if sort:
        rows = _sorted(rows, table.column(sort))
    notes = report.notes
    if limit is not None and limit < len(rows):
        notes = (*notes, f"{len(rows) - limit:,} more rows (--limit); the total is of all rows.")
        rows = rows[:limit]
    tables = (replace(table, rows=rows), *report.tables[1:])
    return replace(report, tables=tables, notes=notes)


def _sorted(rows: list[Any], column: Column | None) -> list[Any]:
    assert column is not None
    known = [row for row in rows if row[column.name] is not None]
    unknown = [row for row in rows if row[column.name] is None]
    descending = column.kind.value in ("bytes", "count")
    return sorted(known, key=lambda row: row[column.name], reverse=descending) + unknown


def _check_output(path: str | None) -> None:
    """Refuse a file that can't be written before the target is looked at."""
    directory = os.path.dirname(os.path.abspath(path)) if path else None
    if directory and not os.path.isdir(directory):
        raise UsageError(f"cannot write {path}: there is no directory {directory}")


def write_whole(path: str, text: str) -> None:
    """Write a file whole or not at all; into a pipe or device, as it comes."""
    temporary = None
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as device:
                device.write(text)
            return
        directory = os.path.dirname(os.path.abspath(path))
        with tempfile.NamedTemporaryFile(
            "w", dir=directory, delete=False, encoding="utf-8"
        ) as file:
            temporary = file.name
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise HeapxError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary:
            os.unlink(temporary)
