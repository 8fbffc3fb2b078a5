"""heapx: the same commands from a shell, through gdb in batch mode."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import __version__
from .command import find, parse
from .completions import completions
from .errors import HeapxError, UsageError
from .manual import SHELL_ARGS, help_text
from .preferences import by_name

BUG = 4
INTERRUPTED = 130
FORWARDED = (signal.SIGINT, signal.SIGTERM)


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
    options.gdb = options.gdb or os.environ.get("HEAPX_GDB", "gdb")
    if others:  # options of the overview, which needs no name
        options.words = others + options.words
    return options


def loader() -> Path:
    """Return the file to source in gdb: beside the package, or where pip installed it."""
    beside = Path(__file__).resolve().parent.parent / "gdb_heapx.py"
    if beside.exists():
        return beside
    import importlib.metadata  # takes a while, and is needed only here

    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("gdb_heapx") or ():
            if file.name == "gdb_heapx.py":
                return Path(str(file.locate())).resolve()
    raise HeapxError("gdb_heapx.py was not installed", "Reinstall heapx with pip.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the shell command; return its exit status."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except HeapxError as error:
        print(f"heapx: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("heapx: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    if options.version or options.loader:
        print(__version__ if options.version else loader())
        return 0
    if options.completion:
        print(completions(options.completion), end="")
        return 0
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if options.help or words[:1] == ["help"] or words[-1:] in (["--help"], ["-h"]):
        topic = [word for word in words if word not in ("help", "heapx", "--help", "-h")]
        print(find(topic)[0].help() if topic else help_text())
        return 0
    parsed = parse(*find(words))  # a wrong command line doesn't stop the process
    if options.pid and parsed.get("now"):
        call = f"malloc_trim({parsed['pad'] or 0})"
        print(f"heapx: will call {call} in the process, unless it is unsafe", file=sys.stderr)
    return _through_gdb(options, words)


def _request(options: argparse.Namespace, words: Sequence[str]) -> dict[str, Any]:
    """Return what gdb's side is asked for; UsageError if it doesn't say what to look at."""
    given = [o for o in (options.pid, options.core, options.gdb_args) if o]
    if not given or (options.pid and options.core):
        raise UsageError("say what to look at: -p PID or --core CORE", "See: heapx --help")
    pid = None
    if options.pid:
        if not re.fullmatch(r"[0-9]{1,18}", options.pid):
            raise UsageError(f"{options.pid!r} is not a process id")
        pid = int(options.pid)
        if not os.path.exists(f"/proc/{pid}"):
            raise HeapxError(f"no process {pid}")
    for path in filter(None, (options.core, options.exe)):
        if not os.path.isfile(path):
            raise HeapxError(f"no file {path}")
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") in (None, "dumb")
    terminal = sys.stdout.isatty()
    return {
        "pid": pid,
        "core": options.core and os.path.abspath(options.core),
        "exe": options.exe and os.path.abspath(options.exe),
        "set": [_setting(text) for text in options.set],
        "words": list(words),
        "width": shutil.get_terminal_size().columns,
        "colour": terminal and not plain,
    }


def _setting(text: str) -> tuple[str, str]:
    """Return name and value of one --set."""
    name, equals, value = text.partition("=")
    known = by_name()
    if not equals or name not in known:
        names = ", ".join(known)
        raise UsageError(f"--set {text}: NAME=VALUE is needed, NAME one of {names}")
    known[name].parsed(value)
    return name, value


def _through_gdb(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Run the command inside gdb, and hand on the answer that it leaves in a private file."""
    request = _request(options, words)
    if shutil.which(options.gdb) is None:
        raise HeapxError(f"{options.gdb} was not found", "Install it: apt-get install gdb")
    with tempfile.TemporaryDirectory(prefix="heapx-") as directory:
        path, answer = Path(directory) / "request.json", Path(directory) / "answer"
        path.write_text(json.dumps({**request, "answer": str(answer)}), encoding="utf-8")
        messages = _run_gdb(options, str(path))
        result = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if "status" not in result:
            print(messages, file=sys.stderr)
            print(
                "heapx: this is a bug in heapx. Please report it with the messages above, "
                f"version {__version__}, and your gdb's and glibc's versions.",
                file=sys.stderr,
            )
            return BUG
        if result["error"]:
            print(result["error"], file=sys.stderr)
        if answer.exists():
            _print(answer)
    return int(result["status"])


def _run_gdb(options: argparse.Namespace, path: str) -> str:
    """Run gdb in batch mode; return what it said, which is of interest only if it failed."""
    before = ("set debuginfod enabled off", "set auto-load libthread-db off", "set confirm off")
    command = [options.gdb, "-nx", "-q", "-batch"]
    command += [word for line in before for word in ("-iex", line)]
    command += shlex.split(options.gdb_args or "")
    command += ["-ex", f"source {loader()}"]
    command += ["-ex", f"python from gdb_heapx.gdbside.batch import serve; serve({path!r})"]
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C reaches gdb once, from here
        ) as gdb,
        _forwarding(gdb),
    ):
        return gdb.communicate()[0]


@contextmanager
def _forwarding(gdb: subprocess.Popen[str]) -> Iterator[None]:
    """Hand SIGINT and SIGTERM on to gdb, which then lets go of the process and ends."""

    def forward(number: int, frame: object) -> None:
        interrupted.append(number)
        gdb.send_signal(number)

    interrupted: list[int] = []
    previous = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt


def _print(answer: Path) -> None:
    """Copy an answer, which may be long, to standard output."""
    try:
        with open(answer, encoding="utf-8", errors="surrogateescape") as file:
            shutil.copyfileobj(file, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
