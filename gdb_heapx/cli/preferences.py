"""What the user sets once for all commands: set heapx NAME VALUE, in a shell --set NAME=VALUE."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError
from ..records import dataclass
from ..report.style import AUTOMATIC, OWN, UNIT_NAMES, styles, table_formats
from .arguments import VALUES

COLOURS = (AUTOMATIC, "on", "off")
SWITCH = ("on", "off")


@dataclass(frozen=True)
class Preference:
    """One setting. `kind` is choice (of how text looks), switch, count, bytes, release, or address
    (any expression of gdb's).

    Choices begin with what holds where nothing is set; where there are none, that is nothing.
    """

    name: str
    kind: str
    help: str
    detail: str
    choices: Callable[[], tuple[str, ...]] = tuple

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def documentation(self) -> str:
        if self.kind == "choice":
            return f"{self.detail} It is for the text that heapx prints."
        if self.kind == "switch":
            return self.detail
        return f"{self.detail} `set heapx {self.name}` without a value unsets it."

    def parsed(self, text: str) -> Any:
        """Return the value of what the user typed, None for nothing or the first choice.

        UsageError if it makes no sense; an address is returned as it is.
        """
        text = text.strip()
        if not text or self.kind == "address":
            return text or None
        try:
            return self._value(text)
        except (ValueError, ArgumentTypeError) as error:
            raise UsageError(f"{self.name}: {error}") from None

    def _value(self, text: str) -> Any:
        if self.kind == "release":
            return _release(text)
        if not self.choices():
            return VALUES[self.kind](text)
        if text not in self.choices():
            raise ValueError(f"{text!r} is none of {', '.join(self.choices())}")
        return None if text == self.choices()[0] else text


def by_name() -> dict[str, Preference]:
    """Return the preferences by name."""
    return {preference.name: preference for preference in PREFERENCES}


def _release(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    if not match:
        raise ValueError(f"{text!r} is not a release of glibc, such as 2.36")
    return int(match[1]), int(match[2])


PREFERENCES = (
    Preference(
        "color",
        "choice",
        "whether text has colour",
        "auto: on a terminal, as gdb's own `set style enabled` and NO_COLOR say.",
        lambda: COLOURS,
    ),
    Preference(
        "units",
        "choice",
        "the unit of sizes in text",
        "auto: the largest that shows three digits of the largest size in the table.",
        lambda: (AUTOMATIC, *UNIT_NAMES),
    ),
    Preference(
        "table-format",
        "choice",
        "how tables are drawn in text",
        "heapx: aligned, without lines. The others are tabulate's: github and grid are two.",
        lambda: (OWN, *table_formats()),
    ),
    Preference(
        "style",
        "choice",
        "the colours of text",
        "heapx: few, for light and dark terminals. The others are pygments' styles.",
        lambda: (OWN, *styles()),
    ),
    Preference(
        "progress",
        "choice",
        "whether long work shows itself",
        "auto: on a terminal, after half a second, in a line that goes when it is done.",
        lambda: (AUTOMATIC, "off"),
    ),
    Preference(
        "limit",
        "count",
        "how many rows of a table text shows",
        "Unset, each command has its own. --limit goes before it; JSON and CSV have all rows.",
    ),
    Preference(
        "swap-in",
        "bytes",
        "how much a command may bring back from swap",
        "Such as 100M. Unset: 64 MiB, but a tenth of the free memory at most. --swap-in goes "
        "before it.",
    ),
    Preference(
        "compiled",
        "switch",
        "whether heaps are walked by compiled code",
        "on: where heapx was installed with it, as `heapx about` tells. off: in Python, which "
        "finds the same, and takes longer.",
        lambda: SWITCH,
    ),
    Preference(
        "main-arena",
        "address",
        "the address of main_arena",
        "For a glibc without debug symbols whose malloc isn't found. The chunks must add up, else "
        "it is refused.",
    ),
    Preference(
        "mp",
        "address",
        "the address of mp_, malloc's parameters",
        "For a glibc without debug symbols whose malloc isn't found.",
    ),
    Preference(
        "release",
        "release",
        "glibc's release, such as 2.36",
        "For a glibc that doesn't tell, as in a static program, or whose release is read wrongly.",
    ),
)


@dataclass(frozen=True)
class Preferred:
    """What is set, for the commands; None where nothing is."""

    color: str | None = None
    units: str | None = None
    table_format: str | None = None
    style: str | None = None
    progress: str | None = None
    limit: int | None = None
    swap_in: int | None = None
    compiled: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Preferred:
        """Return what these values by key say."""
        return cls(**{key: values[key] for key in cls.__annotations__ if key in values})


NONE_PREFERRED = Preferred()
