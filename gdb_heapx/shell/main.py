"""The shell command: its arguments, and the answer of the gdb that it runs in batch mode.

What isn't needed before gdb is started is imported after that, or only where it is needed: gdb
takes as long to start as Python, and both at once take half.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from typing import IO, Any

from .. import __version__
from ..cli.arg import SHELL_ARGS
from ..cli.asides import VERSION, help_topic
from ..ending import EndedError, end_by_exception, let_through
from ..errors import HeapxError, UsageError
from .asking import Reply, ask
from .starting import HEAPX_GDB, gdb_words, loader, unable
from .streams import (
    complain,
    complain_exactly,
    open_standard_files,
    print_line,
    print_pieces,
    show_work,
    shows_work,
    terminal_of_text,
    width_of_errors,
)

BUG = 4
KEPT_IN_MEMORY = 16 << 20  # bytes of an answer; a longer one goes to a file without name
# What the user's gdb may say where it can't run heapx.
UNFIT = re.compile("heapx needs gdb.*|.*scripting is not supported.*")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(message, "See: heapx --help")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="heapx", add_help=False, allow_abbrev=False)
    for arg in SHELL_ARGS:
        names = [name for name in (arg.short, arg.name) if name]
        if arg.kind == "flag":
            parser.add_argument(*names, action="store_true")
        elif arg.kind == "setting":
            parser.add_argument(*names, action="append", default=[])
        else:
            parser.add_argument(*names, choices=arg.choices or None)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options, others = parser.parse_known_args(list(arguments))
    options.gdb_by = "--gdb" if options.gdb else HEAPX_GDB if os.environ.get(HEAPX_GDB) else None
    options.gdb = options.gdb or os.environ.get(HEAPX_GDB) or "gdb"
    if others:  # options of the overview, which needs no name
        options.words = others + options.words
    return options


def run(arguments: Sequence[str]) -> int:
    """Run the shell command; return its exit status."""
    open_standard_files()
    end_by_exception()
    try:
        with let_through():  # scripts/heapx holds them back until now
            return _run(arguments)
    except HeapxError as error:
        complain(f"heapx: {error}")
        return error.status
    except EndedError as ended:
        return _ended(ended)
    except RuntimeError as error:
        if isinstance(error.__cause__, EndedError):
            return _ended(error.__cause__)  # while a class was made: to 3.11 Python wraps that
        raise


def _ended(ended: EndedError) -> int:
    """Say which signal it was, if there is anything to say; return the exit status."""
    if ended.statement:
        complain(f"heapx: {ended.statement}")
    return ended.status


def _run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    words = options.words = _command(options)
    topic = help_topic(["help", *words] if options.help else words)
    if options.version or options.loader:
        print_line(VERSION if options.version else loader())
        return 0
    if options.completion or topic is not None:
        _see_libraries()
        from .manual import completion, help_of

        known = (
            completion(options.completion) if options.completion else f"{help_of(topic or ())}\n"
        )
        print_pieces([known.encode()])
        return 0
    if options.snapshot or _names_snapshot(words):
        return _from_file(options, words)
    if words[:1] == ["load"]:
        raise UsageError("heapx load is for gdb", "In a shell: heapx --snapshot FILE COMMAND")
    acts = "--now" in words and _announced(options, words)
    watches = words[:1] == ["growth"] and bool(_parsed(words))
    request = {"words": words, "acts": acts or watches, "watches": watches}
    return _through_gdb(options, {**request, "progress": shows_work()})


def _command(options: argparse.Namespace) -> list[str]:
    """Return the words of the command. Before it may stand which process it is about, where no
    option says what to look at.
    """
    words = options.words[1:] if options.words[:1] == ["--"] else list(options.words)
    given = (options.pid, options.core, options.gdb_args, options.snapshot, options.help)
    if any(given) or not words or words[0].startswith("-") or words[0] == "help":
        return words
    from .finding import process_before

    pid = process_before(words, width_of_errors())
    if pid is not None:
        options.pid = f"{pid}"
    return words


def _see_libraries() -> None:
    """See what is installed, which takes a while; scripts/heapx starts without: it names styles and
    formats of tables.
    """
    if sys.flags.no_site:
        import site

        site.main()


def _announced(options: argparse.Namespace, words: Sequence[str]) -> bool:
    """Say what will be done in the process, if the words ask for that; tell whether they do."""
    parsed = _parsed(words)
    if options.pid and parsed.get("now"):
        call = f"malloc_trim({parsed['pad'] or 0})"
        complain(f"heapx: will call {call} in the process, unless it is unsafe")
    return bool(parsed.get("now"))


def _parsed(words: Sequence[str]) -> dict[str, Any]:
    """Return a command's arguments by key; UsageError if they make no sense."""
    from ..cli.command import find, parse
    from ..commands import load_commands, load_for

    if not load_for(words):
        load_commands()
    return parse(*find(words))


def _names_snapshot(words: Sequence[str]) -> bool:
    """Tell whether a command is about two files, so that there is no process to look at."""
    return words[:1] == ["compare"] and _parsed(words)["new"] is not None


def _from_file(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a command on a saved snapshot: that needs no gdb, and no process."""
    if options.pid or options.core or options.exe or options.gdb_args:
        raise UsageError(
            "a saved snapshot is all that is looked at", "Leave out the process or core."
        )
    settings = dict(_setting(text) for text in options.set)
    _see_libraries()
    from .on_file import answer_from

    return answer_from(options.snapshot, words, settings)


def _target(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be looked at; UsageError if the options don't say so."""
    given = [o for o in (options.pid, options.core, options.gdb_args) if o]
    if not given or (options.pid and options.core):
        _parsed(options.words)  # what is wrong there may tell more
        raise UsageError("say what to look at: -p PID or --core CORE", "See: heapx --help")
    pid = None
    if options.pid:
        from .finding import process_id

        pid = process_id(options.pid, width_of_errors())
    for path in filter(None, (options.core, options.exe)):
        if not os.path.isfile(path):
            raise HeapxError(f"no file {path}")
    return {
        "pid": pid,
        "core": options.core and os.path.abspath(options.core),
        "exe": options.exe and os.path.abspath(options.exe),
    }


def _setting(text: str) -> tuple[str, str]:
    """Return name and value of one --set."""
    _see_libraries()
    from ..cli.preferences import by_name

    name, equals, value = text.partition("=")
    known = by_name()
    if not equals or name not in known:
        names = ", ".join(known)
        raise UsageError(f"--set {text}: NAME=VALUE is needed, NAME one of {names}")
    known[name].parsed(value)
    return name, value


def _through_gdb(options: argparse.Namespace, command: dict[str, Any]) -> int:
    """Run a command inside gdb, and hand on its answer; the process no longer waits for that."""
    settings = [_setting(text) for text in options.set]
    request = {**_target(options), **command, **terminal_of_text(), "set": settings}
    words = gdb_words(options)
    serve = "python from gdb_heapx.gdbside.batch import serve; serve({})"
    with closing(_Answer()) as answer:
        try:
            reply = ask(words, serve, request, answer.take, show_work, complain)
        except OSError as error:
            raise unable(options.gdb, options.gdb_by, error) from None
        with _ended_by(reply.asked_by):
            result = _result(options.gdb, reply)
            if result is None:
                return BUG
            if result["error"]:
                complain(result["error"])
            if result["whole"]:
                print_pieces(answer.pieces())
    if result["status"] == 128 + signal.SIGINT:
        raise EndedError(signal.SIGINT)
    return int(result["status"])


@contextmanager
def _ended_by(number: int | None) -> Iterator[None]:
    """In here an answer is handed on: one that a signal asked for, unless that is None. Then heapx
    ends by it, also where nobody is left to read what it says.
    """
    try:
        yield
    except (HeapxError, EndedError):
        if number is None:
            raise
    if number is not None:
        raise EndedError(number)


class _Answer:
    """The text of an answer, kept until all of it is there."""

    @cached_property
    def _file(self) -> IO[bytes]:
        from tempfile import SpooledTemporaryFile

        return SpooledTemporaryFile(KEPT_IN_MEMORY)

    def take(self, text: str) -> None:
        self._file.write(text.encode(errors="surrogateescape"))

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(lambda: self._file.read(1 << 20), b"")

    def close(self) -> None:
        self._file.close()


def _result(gdb: str, reply: Reply) -> dict[str, Any] | None:
    """Return what gdb's side has said; None, after the messages, where only a bug explains them."""
    result = reply.result
    if result is not None and "ended" in result:
        raise EndedError(result["ended"])
    if result is not None:
        return result
    if reply.killed_by:
        name = signal.Signals(reply.killed_by).name
        raise HeapxError(f"{gdb} was ended by {name}", *reply.mended)
    if not reply.began:
        unfit = UNFIT.search(reply.messages)
        said = unfit[0] if unfit else "\n  ".join(reply.messages.strip().splitlines()[-4:])
        raise HeapxError(f"{gdb} can't run heapx", said or "It ended without a word.")
    complain_exactly(reply.messages)
    for line in reply.mended:
        complain(f"heapx: {line}")
    complain(
        "heapx: this is a bug in heapx. Please report it with the messages above, "
        f"version {__version__}, and your gdb's and glibc's versions."
    )
    return None
