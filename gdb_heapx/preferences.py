"""What the user sets once for all commands: set heapx NAME VALUE, in a shell --set NAME=VALUE."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preference:
    """One setting: `kind` is address (any expression of gdb's) or release; empty means unset."""

    name: str
    kind: str
    help: str
    detail: str


PREFERENCES = (
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
