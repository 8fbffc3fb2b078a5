"""The options of the shell command, parsed: what stands before the command's own words."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from ..cli.arg import SHELL_ARGS
from ..errors import UsageError
from .starting import HEAPX_GDB


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(message, "See: heapx --help")


def parser_of_options() -> Parser:
    parser = Parser(prog="heapx", add_help=False, allow_abbrev=False)
    for arg in SHELL_ARGS:
        names = [name for name in (arg.short, arg.name) if name]
        if arg.kind == "flag":
            parser.add_argument(*names, action="store_true")
        elif arg.kind == "setting":
            parser.add_argument(*names, action="append", default=[])
        else:
            parser.add_argument(*names, choices=arg.choices or None)
    return parser


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of_options()
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options, others = parser.parse_known_args(list(arguments))
    choose_gdb(options)
    if others:  # options of the overview, which needs no name
        options.words = others + options.words
    return options


def choose_gdb(options: argparse.Namespace) -> None:
    """Say in the options which gdb is run, and who names it."""
    options.gdb_by = "--gdb" if options.gdb else HEAPX_GDB if os.environ.get(HEAPX_GDB) else None
    options.gdb = options.gdb or os.environ.get(HEAPX_GDB) or "gdb"
