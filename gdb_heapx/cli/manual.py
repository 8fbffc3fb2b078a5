"""The shell command's own arguments, its help, and its man page: from the declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import __version__
from .arg import SHELL_ARGS, Arg
from .arguments import OUTPUT_ARGS
from .command import REGISTRY, Command, hanging
from .preferences import PREFERENCES
from .watching import WATCH, ShellCommand

SYNOPSES = (
    "heapx PID|NAME [COMMAND ...]",
    "heapx -p PID|NAME [COMMAND ...]",
    "heapx --core CORE [--exe PROGRAM] [COMMAND ...]",
    "heapx --snapshot FILE [COMMAND ...]",
    'heapx --gdb-args "ARGUMENTS" [COMMAND ...]',
    "heapx --help | --version | --loader | --completion SHELL",
    "heapx help COMMAND",
)
SUMMARY = "Show where the memory of a process sits inside glibc malloc."
WHAT = (
    f"{SUMMARY} The process stands still for as long as it takes to read its heap, and runs on "
    "afterwards; nothing is written to it."
)
IN_GDB = (
    "Without a command it prints the overview. In gdb the same commands are typed as `heapx "
    "COMMAND`, once the file that --loader prints is sourced."
)
STATUS = (
    ("0", "all is well"),
    ("1", "the heap is damaged, or --max-pause ended the reading"),
    ("2", "the command line is wrong"),
    ("3", "it can't be done: no such process, not permitted, no glibc malloc, no room"),
    ("4", "a bug in heapx"),
    ("130", "ended by SIGINT (Ctrl-C): what was read until then is printed"),
    ("129, 141, 143", "ended by SIGHUP, SIGPIPE, SIGTERM"),
)
ENVIRONMENT = (
    ("HEAPX_GDB", "the gdb to run"),
    ("NO_COLOR", "no colour, if it is set"),
    ("COLUMNS", "how wide text may be"),
)


def sub_commands() -> list[Command | ShellCommand]:
    """Return the commands that have a name behind heapx, in alphabetical order."""
    named = [command for name, command in REGISTRY.items() if " " in name]
    return sorted([*named, WATCH], key=lambda command: command.word)


def help_text() -> str:
    """Return the help of the shell command, with a line for each command."""
    usages = [f"{'' if i else 'Usage: '}{line}" for i, line in enumerate(SYNOPSES)]
    options = _listed((_usage(arg), arg.meaning) for arg in SHELL_ARGS)
    settings = _listed((preference.name, preference.help) for preference in PREFERENCES)
    status = "; ".join(f"{number} {meaning}" for number, meaning in STATUS)
    commands = _listed((command.word, command.summary) for command in sub_commands())
    return "\n".join(
        [
            "\n       ".join(usages),
            "",
            hanging("", WHAT),
            "",
            *options,
            "",
            "Settings for --set:",
            *settings,
            "",
            hanging("Exit status: ", f"{status}."),
            "",
            "Commands (without one: the overview):",
            *commands,
        ]
    )


def _usage(arg: Arg) -> str:
    return f"{arg.short}, {arg.usage}" if arg.short else arg.usage


def _listed(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return lines of words with their meaning, one below the other."""
    listed = list(pairs)
    width = max(len(word) for word, _ in listed)
    return [hanging(f"  {word:{width}}  ", meaning) for word, meaning in listed]


def man_page() -> str:
    """Return the man page heapx(1), in roff."""
    return "\n".join(_roff()) + "\n"


def _roff() -> Iterator[str]:
    yield ".\\\" Made by scripts/make_docs from the declarations; don't edit it."
    yield f'.TH HEAPX 1 "" "heapx {__version__}" "User Commands"'
    yield from (".SH NAME", f"heapx \\- {_escaped(SUMMARY[0].lower() + SUMMARY[1:-1])}")
    yield ".SH SYNOPSIS"
    for number, line in enumerate(SYNOPSES):
        yield from (*((".br",) if number else ()), _escaped(line))
    yield from (".SH DESCRIPTION", _escaped(WHAT), ".PP")
    yield _escaped(IN_GDB)
    yield ".SH OPTIONS"
    yield from _terms((_usage(arg), arg.meaning) for arg in SHELL_ARGS)
    yield ".SH COMMANDS"
    for command in (REGISTRY["heapx"], *sub_commands()):
        yield f'.SS "{_escaped(command.usage)}"'
        for number, paragraph in enumerate(command.doc.split("\n\n")):
            kept = paragraph.startswith(" ")
            yield from ((".PP",) if number else ())
            yield from (".nf", _escaped(paragraph), ".fi") if kept else (_escaped(paragraph),)
        yield from _terms((arg.usage, arg.meaning) for arg in command.args)
    yield ".SH OUTPUT OPTIONS"
    yield "Every command has them."
    yield from _terms((arg.usage, arg.meaning) for arg in OUTPUT_ARGS)
    yield ".SH SETTINGS"
    yield _escaped("For --set NAME=VALUE, and `set heapx NAME VALUE` in gdb.")
    yield from _terms((each.name, f"{each.help}. {each.detail}") for each in PREFERENCES)
    yield from (".SH EXIT STATUS", *_terms(STATUS))
    yield from (".SH ENVIRONMENT", *_terms(ENVIRONMENT))
    yield from (".SH SEE ALSO", ".BR gdb (1),", ".BR malloc (3),", ".BR mallopt (3),")
    yield ".BR malloc_trim (3)"


def _terms(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for word, meaning in pairs:
        yield from (".TP", f".B {_escaped(word)}", _escaped(meaning))


def _escaped(text: str) -> str:
    """Return text that roff takes as it is; no line may begin with a dot or an apostrophe."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    lines = (line.strip() for line in plain.splitlines())
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in lines)
