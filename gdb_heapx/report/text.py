"""A report laid out as text: tokens, whose texts, joined, are what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from .blocks import BLOCKS, sentence_tokens
from .chosen import chosen_of
from .either import for_people
from .model import Report, counted
from .schema import Table
from .style import ERROR, NOTE, Style, Tokens

if TYPE_CHECKING:
    from ..errors import Problem

PROBLEMS = 20  # that are shown


def tokens(report: Report, style: Style) -> Tokens:
    """Yield the report as tokens; their texts, joined, are the plain text."""
    yield from _problem_tokens(report.problems, style)
    above, left = False, style.columns or ()
    for block in chain.from_iterable(map(for_people, report.blocks)):
        shown = BLOCKS[type(block)]
        if isinstance(block, Table):  # a column that is asked for is of the first table that has it
            own = chosen_of(block, left)
            left = tuple(name for name in left if name not in own)
            style = replace(style, columns=own or None)
        text = list(shown.tokens(block, style))
        if text and above and shown.apart:
            yield "", "\n"
        yield from text
        above = above or bool(text)


def _problem_tokens(problems: Sequence[Problem], style: Style) -> Tokens:
    for problem in problems[:PROBLEMS]:
        what = "in motion" if problem.in_motion else "problem"
        where = "" if problem.arena is None else f" in arena {problem.arena}"
        kind = NOTE if problem.in_motion else ERROR
        yield from sentence_tokens(kind, f"{what}{where}: {problem.statement}", style)
    more = len(problems) - PROBLEMS
    if more > 0:
        yield ERROR, f"{counted(more, 'more problem')}: --format json has them all\n"
    if problems:
        yield "", "\n"
