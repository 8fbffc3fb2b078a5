"""What the shell command says without a gdb: its help, and completions for a shell."""

from __future__ import annotations

from collections.abc import Sequence

from ..cli.command import find, no_command
from ..cli.completions import completions
from ..cli.manual import help_text
from ..cli.watching import WATCH
from ..commands import load_commands
from ..errors import UsageError


def completion(shell: str) -> str:
    """Return what completes its command lines in a shell."""
    load_commands()
    return completions(shell)


def help_of(topic: Sequence[str]) -> str:
    """Return the help of the command that these words name, or of heapx; UsageError if none."""
    load_commands()
    if list(topic) == [WATCH.word]:
        return WATCH.help()
    return find(topic)[0].help() if topic else help_text()


def unknown(word: str, more: str) -> UsageError:
    """Return the error that no command is called so, with those that there are."""
    load_commands()
    return no_command(word, more)
