"""The arguments of commands, declared: what they are called, what they take, and parsing them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..errors import UsageError
from ..report.render import FORMATS
from .arg import FILES, Arg

ARENA = Arg("ARENA", "its index (0 = main) or address; all if absent", "arena")
ADDRESS = Arg("ADDRESS", "an address, or any expression of gdb's", "address", required=True)
NO_WALK = Arg("--no-walk", "read lists, not chunks: in use is then what remains")
PAD = Arg("--pad", "leave this much at top, as malloc_trim(BYTES) would", "bytes")
PASSES = Arg("--passes", "let the process stand still where a copy of what is in use won't fit")
SCOPE_ARGS = (NO_WALK, PAD, PASSES)  # what is read, and how
OUTPUT_ARGS = (
    Arg("--format", "output format", "choice", choices=tuple(FORMATS)),
    Arg("--output", "write to this file, whole or not at all", "file"),
    Arg("--sort", "sort by this column, largest first", "column"),
    Arg("--limit", "show this many rows at most", "count"),
    Arg("--bytes", "show sizes in bytes, exactly"),
    Arg("--columns", "show these columns: NAME,NAME,…", "columns"),
    Arg("--swap-in", "bring this much back from swap at most, such as 100M", "bytes"),
    Arg("--max-pause", "let the process stand still no longer, such as 0.3", "seconds"),
)


class Asked(int):
    """An address that was asked for, and the words in which it was."""

    words: str

    def __new__(cls, address: int, words: str) -> Asked:
        asked = super().__new__(cls, address)
        asked.words = words
        return asked

    def __str__(self) -> str:
        """Return it as it was typed; behind an expression is what that is."""
        number = re.fullmatch(r"0x[0-9a-f]+|[0-9]+", self.words, re.I)
        return self.words if number else f"{self.words} ({int(self):#x})"


LACKING = "the following arguments are required: "  # as argparse says it


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if message.startswith(LACKING):
            message = f"{self.prog} needs {message[len(LACKING) :]}"
        raise UsageError(message, f"See: {self.prog} --help")


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, such as 20")
    return int(text)


def _bits(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bits from 1 to 32")
    return int(text)


def _percent(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}%?", text) or not 1 <= int(text.rstrip("%")) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no share in percent, from 1% to 100%")
    return int(text.rstrip("%"))


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(0x[0-9a-f]{1,16}|[0-9]{1,18})([KMGT]?)(iB|B)?", text, re.I)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 4096, 0x1000 or 100M")
    size = _in_units(match)
    if size >> 63:
        raise argparse.ArgumentTypeError(f"{text!r} is more than any memory")
    return size


def _in_units(match: re.Match[str]) -> int:
    number = int(match[1], 16 if match[1][:2] in ("0x", "0X") else 10)
    return number << 10 * " KMGT".index(match[2].upper() or " ")


def _request(text: str) -> int:
    match = re.fullmatch(r"(0x[0-9a-f]{1,16}|[0-9]{1,20})([KMGT]?)(iB|B)?", text, re.I)
    size = _in_units(match) if match else 1 << 64
    if size >> 64:
        message = f"{text!r} is nothing that malloc can be asked for, such as 4096 or 100M"
        raise argparse.ArgumentTypeError(message)
    return size


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds, such as 0.3")
    return float(text)


PERIODS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
SHORTEST = 0.1  # seconds


def _period(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|m|min|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 30s, 5m or 1h")
    seconds = float(match[1]) * PERIODS[match[2] or ""]
    if seconds < SHORTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is less than {SHORTEST} s: no look is so short")
    return seconds


def _arena(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        message = f"{text!r} is neither an arena's index nor an address"
        raise argparse.ArgumentTypeError(message) from None


# What makes a value of a word, by kind; ArgumentTypeError if it can't be one.
VALUES: dict[str, Callable[[str], Any]] = {
    "count": _count,
    "bits": _bits,
    "percent": _percent,
    "bytes": _bytes,
    "request": _request,
    "seconds": _seconds,
    "period": _period,
    "thread": _count,
    "arena": _arena,
}


def parse_words(name: str, args: Sequence[Arg], words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of the command `name` by key; UsageError with one clear message."""
    parser = _Parser(prog=name, add_help=False, allow_abbrev=False)
    for arg in args:
        _add(parser, arg)
    known = {option for arg in args for option in arg.options}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in known:
            parser.error(f"{name} has no option {word}")
    parsed = vars(parser.parse_args(list(words)))
    missing = [a.name for a in args if a.required and a.kind in FILES and not parsed[a.key]]
    if missing:
        parser.error(f"{name} needs {missing[0]}")
    placed = parsed.pop(ARENA.name, None)
    if placed is None:
        return parsed
    chosen = parsed[ARENA.key]
    if chosen not in (None, placed):
        parser.error(f"{name} was given two arenas, {_told(placed)} and --arena {_told(chosen)}")
    return {**parsed, ARENA.key: placed}


def _told(arena: int) -> str:
    """Return an arena as it is told: a small number is its index, a larger one its address."""
    return f"{arena}" if arena < 1 << 16 else f"{arena:#x}"


def _add(parser: argparse.ArgumentParser, arg: Arg) -> None:
    """Let a parser know an argument."""
    if arg.kind == "flag":
        parser.add_argument(arg.name, dest=arg.key, action="store_true")
        return
    options: dict[str, Any] = {"default": arg.default, "type": VALUES.get(arg.kind, str)}
    if arg.choices:
        options["choices"] = arg.choices
    if arg.options:
        parser.add_argument(*arg.options, dest=arg.key, required=arg.required, **options)
    if not arg.name.startswith("-"):
        several = "+" if arg.required else "*"
        single = None if arg.required else "?"
        options["nargs"] = several if arg.kind == "address" else single
        parser.add_argument(arg.name if arg.options else arg.key, metavar=arg.name, **options)
