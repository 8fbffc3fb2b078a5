"""What may be typed next in a command line: options, choices, columns."""

from __future__ import annotations

from collections.abc import Sequence

from .arg import Arg
from .command import Command
from .watching import ShellCommand


def columns_of(command: Command | ShellCommand) -> tuple[str, ...]:
    """Return the names of the columns that a command's tables may have, each once, those of the
    first one first.
    """
    names = (column.name for table in command.tables for column in table.columns)
    return tuple(dict.fromkeys(names))


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
    offered = options if begun is None else values_of(command, begun, last)
    return [each for each in offered if each.startswith(last)]


def values_of(command: Command | ShellCommand, arg: Arg, typed: str = "") -> tuple[str, ...]:
    """Return what the value of an argument can be, where that is known; of a list of columns,
    behind what is typed of it.
    """
    if arg.kind == "column":
        return columns_of(command)
    if arg.kind == "columns":
        before = typed.rpartition(",")[0].split(",") if "," in typed else []
        return tuple(",".join((*before, c)) for c in columns_of(command) if c not in before)
    return arg.choices
