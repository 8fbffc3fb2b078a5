"""An argument of a command, declared; and those of the shell command: it starts with no more."""

from __future__ import annotations

from typing import Any

from ..records import dataclass

# A file is written, an input is read. pid and setting are for the shell command only.
KINDS = (
    *("flag", "text", "count", "bits", "percent", "bytes", "seconds", "choice", "arena", "address"),
    *("column", "columns", "file", "input", "period", "pid", "request", "setting", "thread"),
)

FILES = ("file", "input")


@dataclass(frozen=True)
class Arg:
    """One argument: `--name` or, without dashes, a positional one. An arena is both.

    `kind` is what its value is, one of KINDS. An address may be any expression of gdb's; the
    command gets its value. A saved snapshot may be looked at `instead` of the target. Where it is
    given, reports have only the `tables` with these names, which no other report has. ValueError
    where this contradicts itself.
    """

    name: str
    help: str
    kind: str = "flag"
    default: Any = None
    choices: tuple[str, ...] = ()
    required: bool = False
    short: str | None = None
    metavar: str | None = None  # how its value is called, if not by its kind
    instead: bool = False
    tables: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: no kind is called {self.kind}")
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError(f"{self.name}: a choice has choices, and nothing else has")
        if self.choices and self.default not in (None, *self.choices):
            raise ValueError(f"{self.name}: its default {self.default} is none of its choices")
        if (self.kind == "arena") != (self.name == "ARENA"):
            raise ValueError(f"{self.name}: an arena is called ARENA, and nothing else is")

    @property
    def key(self) -> str:
        return self.name.lstrip("-").lower().replace("-", "_")

    @property
    def options(self) -> tuple[str, ...]:
        """Its names on a command line; none if its place there is all that tells it."""
        if self.name.startswith("-"):
            return tuple(filter(None, (self.short, self.name)))
        return (f"--{self.key}",) if self.kind == "arena" else ()

    @property
    def is_file(self) -> bool:
        """Whether it is the place of a file on a command line, which shells complete."""
        return self.kind in FILES and not self.options

    @property
    def usage(self) -> str:
        if self.kind == "arena":
            return f"{self.name}, --{self.key} {self.name}"
        if not self.name.startswith("-") or self.kind == "flag":
            return self.name
        value = self.metavar or (self.key if self.choices else self.kind).upper()
        return f"{self.name} {value}"

    @property
    def synopsis(self) -> str:
        """How a usage line shows it."""
        shown = self.name if self.kind == "arena" else self.usage
        return shown if self.required else f"[{shown}]"

    @property
    def meaning(self) -> str:
        return f"{self.help}: {', '.join(self.choices)}" if self.choices else self.help


WHICH = "PID|NAME"  # how a process is told
SHELLS = ("bash", "zsh", "fish")
SHELL_ARGS = (  # of the shell command
    Arg("--pid", "attach to this process, by id or program", "pid", None, (), False, "-p", WHICH),
    Arg("--core", "open this core file", "file"),
    Arg("--snapshot", "answer from this file, which heapx save wrote", "file"),
    Arg("--exe", "the program of the core, or of the process if it can't be found", "file"),
    Arg("--set", "as `set heapx NAME VALUE` in gdb", "setting", metavar="NAME=VALUE"),
    Arg("--gdb", "the gdb to run (default: gdb, or $HEAPX_GDB)", "file"),
    Arg("--gdb-args", "more arguments for gdb, such as \"-iex 'set sysroot DIR'\"", "text"),
    Arg("--loader", "print the file to source in gdb"),
    Arg("--completion", "print completions for a shell", "choice", choices=SHELLS, metavar="SHELL"),
    Arg("--version", "print heapx's version"),
    Arg("--help", "print this, or with a command what it does", short="-h"),
)
