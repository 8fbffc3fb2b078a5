"""What may be typed in a command line: options, choices, columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..report.chosen import chosen_of, columns_in, named
from .arg import Arg
from .command import Command
from .watching import ShellCommand

if TYPE_CHECKING:
    from ..report.schema import Schema


def columns_of(
    command: Command | ShellCommand, words: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return the names of the columns that a command's tables may have, each once, those of the
    first one first; of all its tables, or of those that it shows with these words.
    """
    typed = {word.partition("=")[0] for word in words or ()}
    given = [arg for arg in command.args if typed.intersection(arg.options)]
    tables = command.tables if words is None else tables_of(command, given)
    return tuple(dict.fromkeys(column.name for table in tables for column in table.columns))


def tables_of(command: Command | ShellCommand, given: Sequence[Arg]) -> tuple[Schema, ...]:
    """Return the tables that a command may show where these arguments are given."""
    chosen = {name for arg in given for name in arg.tables}
    others = {name for arg in command.args for name in arg.tables}
    return tuple(
        t for t in command.tables if (t.name in chosen if chosen else t.name not in others)
    )


def named_columns(command: Command, given: Sequence[Arg], names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that are meant, by their names or by what text has above them; UsageError,
    with the columns that there are, where no table that a command may show with these arguments has
    one.
    """
    shown = tables_of(command, given)
    meant = tuple(named(shown, name) for name in names)
    _check_columns(command, given, shown, meant)
    return meant


def _check_columns(
    command: Command, given: Sequence[Arg], shown: Sequence[Schema], names: Iterable[str]
) -> None:
    for name in names if shown else ():
        if any(chosen_of(table, [name]) for table in shown):
            continue
        having = {table.name for table in command.tables if chosen_of(table, [name])}
        without = [
            f" without {arg.name}" for arg in command.args if having.intersection(arg.tables)
        ]
        instead = [f" with {arg.name}" for arg in given if arg.tables and having]
        where = "".join([*instead, *without][:1])
        raise UsageError(f"{command.name} has no column {name!r}{where}", *columns_in(shown))


def awaited(command: Command, words: Sequence[str], last: str) -> Arg | None:
    """Return the argument whose value is being typed after `words`, None for an option."""
    positional = (arg for arg in command.args if not arg.name.startswith("-"))
    begun = _begun(command, words)
    return begun or (None if last.startswith("-") else next(positional, None))


def _begun(command: Command, words: Sequence[str]) -> Arg | None:
    """Return the argument whose option is the last of these words, None if it has no value."""
    valued = (arg for arg in command.all_args if arg.kind != "flag")
    return next((arg for arg in valued if words and words[-1] in arg.options), None)


def completed(command: Command, words: Sequence[str], last: str) -> list[str]:
    """Return the possible whole words for the word being typed, after `words`."""
    begun = _begun(command, words)
    options = (option for arg in command.all_args for option in arg.options)
    offered = options if begun is None else values_of(command, begun, last, words)
    return [each for each in offered if each.startswith(last)]


def values_of(
    command: Command | ShellCommand,
    arg: Arg,
    typed: str = "",
    words: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Return what the value of an argument can be, where that is known; of a list of columns,
    behind what is typed of it. Columns are of all tables, or of those that these words show.
    """
    if arg.kind == "column":
        return columns_of(command, words)
    if arg.kind == "columns":
        before = typed.rpartition(",")[0].split(",") if "," in typed else []
        return tuple(",".join((*before, c)) for c in columns_of(command, words) if c not in before)
    return arg.choices
