"""The shell command: its arguments, and the answer of the gdb that it runs in batch mode.

What isn't needed before gdb is started is imported after that, or only where it is needed: gdb
takes as long to start as Python, and both at once take half.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from ..cli.asides import VERSION, help_topic
from ..ending import EndedError, end_by_exception, let_through
from ..errors import HeapxError, UsageError
from .answers import AnswerText, result_of
from .asking import Reply, ask
from .options import choose_gdb, options_of, parser_of_options
from .starting import gdb_words, loader, unable
from .streams import (
    announce,
    complain,
    open_standard_files,
    print_line,
    print_pieces,
    show_work,
    shows_work,
    terminal_of_text,
    width_of_errors,
)

BUG = 4


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
        if ended.statement:
            complain(f"heapx: {ended.statement}")
        return ended.status


def _run(arguments: Sequence[str]) -> int:
    options = options_of(arguments)
    before = arguments[: len(arguments) - len(options.words)]
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
    if words[:1] == ["watch"]:
        return _watch(before, words[1:], options.pid)
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


def _watch(before: Sequence[str], words: Sequence[str], pid: str | None) -> int:
    """Look at a process again and again, each time with a gdb of its own; return the exit status.

    The options may stand before the word `watch` and behind it.
    """
    _see_libraries()
    from ..cli.arguments import VALUES
    from ..cli.execute import has_unicode
    from ..cli.watching import WATCH
    from .shown import LookPrinter
    from .watch import LookWishes, watch

    parser = parser_of_options()
    for arg in WATCH.args:
        if arg.kind == "flag":
            parser.add_argument(*arg.options, action="store_true")
            continue
        parser.add_argument(
            *arg.options, type=VALUES.get(arg.kind, str), choices=arg.choices or None
        )
    options = parser.parse_args([*before, *words])
    choose_gdb(options)
    options.pid = options.pid or pid
    if not options.pid or options.core or options.snapshot:
        raise UsageError("heapx watch needs a process: -p PID", "See: heapx watch --help")
    shown = LookPrinter(
        options.format or "text", **terminal_of_text(), unicode=has_unicode(os.environ)
    )

    def look(line: list[str]) -> dict[str, Any] | None:
        with closing(AnswerText()) as answer:
            reply = _reply(options, {"words": line, "acts": False, "progress": False}, answer)
            if reply.asked_by is not None:
                raise EndedError(reply.asked_by)
            return result_of(options.gdb, reply)

    every = 10.0 if options.every is None else options.every
    return watch(
        _target(options)["pid"],
        LookWishes(every, options.count, options.save, options.full),
        look,
        shown,
    )


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
    with closing(AnswerText()) as answer:
        reply = _reply(options, command, answer)
        with _ended_by(reply.asked_by):
            result = result_of(options.gdb, reply)
            if result is None:
                return BUG
            if result["error"]:
                complain(result["error"])
            if result["whole"]:
                print_pieces(answer.pieces())
    if result["status"] == 128 + signal.SIGINT:
        raise EndedError(signal.SIGINT)
    return int(result["status"])


def _reply(options: argparse.Namespace, command: dict[str, Any], answer: AnswerText) -> Reply:
    """Run a command inside gdb; return how that ended."""
    settings = [_setting(text) for text in options.set]
    request = {**_target(options), **command, **terminal_of_text(), "set": settings}
    words = gdb_words(options)
    serve = "python from gdb_heapx.gdbside.batch import serve; serve({})"
    try:
        return ask(words, serve, request, answer.take, show_work, announce)
    except OSError as error:
        raise unable(options.gdb, options.gdb_by, error) from None


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
