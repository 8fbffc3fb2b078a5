"""How text looks: what the user may choose, what tokens mean, and the libraries that draw it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from ..records import dataclass
from .model import UNITS
from .schema import Kind

AUTOMATIC, OWN = "auto", "heapx"  # what is chosen where the user doesn't choose
UNIT_NAMES = ("bytes", *(name for _, name in reversed(UNITS)))

# A token is the name of a pygments token type ("" for plain text) and its text.
Tokens = Iterable["tuple[str, str]"]

HEADING, TOTAL, ERROR, NOTE, COMMAND = (
    "Generic.Heading",
    "Generic.Strong",
    "Generic.Error",
    "Comment",
    "Keyword",
)
KIND_TOKENS = {
    Kind.BYTES: "Literal.Number",
    Kind.COUNT: "Literal.Number",
    Kind.TENTHS: "Literal.Number",
    Kind.INDEX: "Name.Label",
    Kind.ADDRESS: "Literal.Number.Hex",
    Kind.TEXT: "",
    Kind.BOOL: "",
}
# The tokens of a stacked bar's letters.
BARS = {".": "Name.Builtin", "#": "Generic.Deleted", "+": "Name.Attribute", "o": "Comment"}


@dataclass(frozen=True)
class Style:
    """How text is laid out: width in columns, the unit's name, chosen columns, tabulate's format
    and pygments' style; None where heapx chooses. Pictures are ASCII, or have `unicode` blocks.
    """

    width: int = 80
    units: str | None = None
    columns: tuple[str, ...] | None = None
    table_format: str | None = None
    colours: str | None = None
    unicode: bool = False


@functools.cache
def library(name: str) -> Any:
    """Return a library that gdb's Python may lack, None without it. Only text needs any."""
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError):  # a library for a newer Python than gdb's
        return None


def is_there(name: str) -> bool:
    """Tell whether a library that gdb's Python may lack is there; it isn't imported yet."""
    return importlib.util.find_spec(name) is not None


# tabulate's, from 0.9 on. They aren't asked for: it takes 25 ms to import.
TABLE_FORMATS = (
    *("asciidoc", "double_grid", "double_outline", "fancy_grid", "fancy_outline", "github", "grid"),
    *("heavy_grid", "heavy_outline", "html", "jira", "latex", "latex_booktabs", "latex_longtable"),
    *("latex_raw", "mediawiki", "mixed_grid", "mixed_outline", "moinmoin", "orgtbl", "outline"),
    *("pipe", "plain", "presto", "pretty", "psql", "rounded_grid", "rounded_outline", "rst"),
    *("simple", "simple_grid", "simple_outline", "textile", "tsv", "unsafehtml", "youtrack"),
)


def table_formats() -> tuple[str, ...]:
    """Return tabulate's table formats by name; none without it."""
    return TABLE_FORMATS if is_there("tabulate") else ()


def styles() -> tuple[str, ...]:
    """Return pygments' own styles by name; none without it."""
    known = library("pygments.styles")
    return tuple(sorted(known.STYLE_MAP)) if known else ()
