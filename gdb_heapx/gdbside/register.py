"""The declared commands as gdb's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gdb

from ..cli.asides import VERSION, check_at_prompt, help_topic
from ..cli.command import find
from ..cli.execute import Terminal, execute, has_unicode
from ..cli.offers import awaited, completed
from ..commands import load_commands
from ..errors import HeapxError, wrapped
from . import functions, pacing, parameters, printers
from .asked import at_one_stop
from .loaded import loaded
from .pacing import at_a_terminal
from .strings import said

if TYPE_CHECKING:
    from ..cli.command import Command


def _terminal() -> Terminal:
    """Return gdb's terminal; through a pipe or to a string gdb has no width, and no colour."""
    from shutil import get_terminal_size

    width = gdb.parameter("width")
    colour = width is not None and gdb.parameter("style enabled") and at_a_terminal()
    return Terminal(
        width or get_terminal_size().columns,
        bool(colour and "NO_COLOR" not in os.environ),
        has_unicode(os.environ),
    )


def _is_program(name: str) -> bool:
    from shutil import which

    return bool(which(name))


class _GdbCommand(gdb.Command):
    """One declared command as gdb sees it."""

    def __init__(self, declared: Command) -> None:
        self.__doc__ = declared.help()
        self._declared = declared
        prefix = " " not in declared.name
        super().__init__(declared.name, gdb.COMMAND_DATA, prefix=prefix)

    def invoke(self, argument: str, from_tty: bool) -> None:
        words = [*self._declared.name.split()[1:], *gdb.string_to_argv(argument)]
        try:
            if self._answered_aside(words, f"{self._declared.name} {argument}".rstrip()):
                return
            settings = parameters.preferred()
            answer = execute(words, at_one_stop, _terminal(), pacing.write, settings)
        except HeapxError as error:
            raise gdb.GdbError(wrapped(str(error), gdb.parameter("width"))) from None
        except KeyboardInterrupt:  # `q` at the pager, or one more Ctrl-C: stop
            return
        _tell_of_file()
        if answer.warning and not _GdbCommand.warned:
            _complain(answer.warning)
            _GdbCommand.warned = True

    def _answered_aside(self, words: Sequence[str], line: str) -> bool:
        """Answer what needs no target; HeapxError for what only a shell understands."""
        topic = help_topic(words)
        if topic is not None:
            pacing.write(find(topic)[0].help() + "\n" if topic else said("help heapx"))
        elif words == ["--version"]:
            pacing.write(f"{VERSION}\n")
        else:
            expressions = any(arg.kind == "address" for arg in self._declared.args)
            check_at_prompt(words, line, expressions, _is_program)
            return False
        return True

    warned = False

    def complete(self, text: str, word: str | None) -> list[str] | int:
        """Complete the last word; gdb breaks words at `-` and replaces only what follows it."""
        before, _, last = text.rpartition(" ")
        arg = awaited(self._declared, before.split(), last)
        if arg is not None and arg.kind == "address":
            return int(gdb.COMPLETE_EXPRESSION)
        if arg is not None and arg.kind in ("file", "input"):
            return int(gdb.COMPLETE_FILENAME)
        matches = completed(self._declared, before.split(), last)
        if arg is not None and arg.kind == "thread":
            matches = [lwp for lwp in _lwps() if lwp.startswith(last)]
        if word is None:  # asked where the word begins
            return matches
        done = len(last) - len(word)
        return [match[done:] for match in matches]


def _tell_of_file() -> None:
    """Say what an answer was from, where that isn't the inferior."""
    known = loaded()
    if known is not None:
        when = f"{known.path}, saved {known.saved.taken.time}"
        _complain(f"heapx: from {when}. `heapx load` alone goes back to the process.")


def _complain(text: str) -> None:
    gdb.write(f"{wrapped(text, gdb.parameter('width'))}\n", gdb.STDERR)


def _lwps() -> list[str]:
    return [f"{thread.ptid[1] or thread.ptid[0]}" for thread in gdb.selected_inferior().threads()]


def register() -> None:
    """Make the declared commands, preferences, printers and functions gdb's."""
    parameters.register()
    printers.register()
    functions.register()
    commands = load_commands()
    for name in sorted(commands):  # the prefix first
        _GdbCommand(commands[name])
