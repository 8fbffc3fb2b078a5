"""A command that a saved snapshot answers: without gdb, and without a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from ..cli.execute import Terminal, execute
from ..cli.preferences import Preferred, by_name
from ..commands import load_commands, load_for
from ..saved.saved import read_saved
from ..saved.session import SavedSession
from .streams import complain, print_pieces, terminal_of_text


def answer_from(path: str, words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Run a command on a file, with these settings by name; return the exit status."""
    if not load_for(words):
        load_commands()
    known = by_name()
    parsed = {known[name].key: known[name].parsed(value) for name, value in settings.items()}
    pieces: list[str] = []

    def opened(seconds: float | None, held: bool) -> AbstractContextManager[SavedSession]:
        return nullcontext(SavedSession(read_saved(path)))

    terminal = Terminal(**terminal_of_text())
    answer = execute(words, opened, terminal, pieces.append, Preferred.of(parsed))
    if answer.warning:
        complain(answer.warning)
    print_pieces(piece.encode(errors="surrogateescape") for piece in pieces)
    return answer.status
