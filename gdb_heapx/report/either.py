"""Blocks of a report that people see otherwise than scripts."""

from __future__ import annotations

from ..records import dataclass


@dataclass(frozen=True)
class Either:
    """A block for scripts, in JSON and CSV, and what text shows in its place: other blocks, or
    nothing.

    Where columns are asked for that only a table for scripts has, text shows that one.
    """

    data: object
    text: tuple[object, ...] = ()


def for_scripts(block: object) -> object:
    """Return the block that JSON and CSV have."""
    return block.data if isinstance(block, Either) else block


def for_people(block: object) -> tuple[object, ...]:
    """Return the blocks that text has."""
    return block.text if isinstance(block, Either) else (block,)
