"""A report laid out as text: lines and tables as tokens, whose texts, joined, are what is shown."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from ..errors import escape
from .model import Bar, Dump, Finding, Report, counted, size_text
from .style import BARS, COMMAND, ERROR, HEADING, NOTE, Style, Tokens, library
from .tables import GAP, table_tokens

PROBLEMS = 20  # that are shown


def tokens(report: Report, style: Style) -> Tokens:
    """Yield the report as tokens; their texts, joined, are the plain text."""
    for problem in report.problems[:PROBLEMS]:
        what = "in motion" if problem.in_motion else "problem"
        where = "" if problem.arena is None else f" in arena {problem.arena}"
        kind = NOTE if problem.in_motion else ERROR
        yield from _sentence(kind, f"{what}{where}: {problem.statement}", style)
    more = len(report.problems) - PROBLEMS
    if more > 0:
        yield ERROR, f"{counted(more, 'more problem')}: --format json has them all\n"
    if report.problems:
        yield "", "\n"
    for line in report.lead:
        yield from _sentence("", line, style)
    above = bool(report.lead)
    for number, table in enumerate(report.tables):
        text = list(table_tokens(table, style if number == 0 else replace(style, columns=None)))
        if text and above:
            yield "", "\n"
        yield from text
        above = above or bool(text)
    if report.bar:
        yield from _bar_tokens(report.bar, style)
    if report.dump:
        yield "", "\n"
        yield from _dump_tokens(report.dump)
    for number, finding in enumerate(report.findings, 1):
        if number == 1 or not report.brief:
            yield "", "\n"
        yield from _finding_tokens(number, finding, report.brief, style)
    if report.notes:
        yield "", "\n"
    for note in report.notes:
        yield from _sentence(NOTE, note, style)
    if report.next_steps:
        yield "", "\n"
    width = max((len(step) for step, _ in report.next_steps), default=0)
    for step, purpose in report.next_steps:
        fits = width + len(GAP) + len(purpose) <= style.width
        yield COMMAND, step.ljust(width) if fits else step
        yield NOTE, f"{GAP if fits else chr(10) + GAP}{purpose}\n"


def _sentence(kind: str, text: str, style: Style, first: str = "", rest: str = "") -> Tokens:
    for line in textwrap.wrap(
        escape(text),
        max(style.width, 40),
        break_long_words=False,
        break_on_hyphens=False,
        initial_indent=first,
        subsequent_indent=rest,
    ):
        yield kind, f"{line}\n"


def _bar_tokens(bar: Bar, style: Style) -> Tokens:
    """Yield a stacked bar; every part that isn't empty gets a letter, large ones their share."""
    width, whole = min(style.width, 100) - 2, sum(size for _, size in bar.parts)
    parts = [(letter, size) for letter, size in bar.parts if size > 0]
    if not parts:
        return
    cells = [max(1, size * width // whole) for _, size in parts]
    cells[cells.index(max(cells))] += width - sum(cells)
    yield "", "["
    for (letter, _), count in zip(parts, cells):
        yield BARS.get(letter, ""), letter * count
    yield "", "]\n"


def _dump_tokens(dump: Dump) -> Tokens:
    """Yield a hex dump as hexdump -C writes it: 16 bytes a line, and their offset."""
    lines = []
    for start in range(0, len(dump.data), 16):
        row = dump.data[start : start + 16]
        halves = "  ".join(row[at : at + 8].hex(" ") for at in (0, 8))
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{dump.offset + start:08x}  {halves:48}  |{text}|\n")
    lexers = library("pygments.lexers")
    if lexers is None:
        yield "", "".join(lines)
        return
    for kind, text in lexers.get_lexer_by_name("hexdump").get_tokens("".join(lines)):
        yield ".".join(kind), text


def _finding_tokens(number: int, finding: Finding, brief: bool, style: Style) -> Tokens:
    """Yield a finding: how much, what, the evidence, and what to do."""
    size = "" if finding.bytes is None else f"{size_text(finding.bytes)}: "
    statement, remedy = finding.statement, finding.remedy or ""
    if brief:
        statement, remedy = _first_sentence(statement), _first_sentence(remedy)
    indent = " " * len(f"{number}. ")
    yield from _sentence(HEADING, f"{size}{statement}", style, f"{number}. ", indent)
    for line in () if brief else finding.evidence:
        yield from _sentence(NOTE, line, style, indent + "- ", indent + "  ")
    yield from _sentence(COMMAND, remedy, style, indent + "> ", indent + "  ")


def _first_sentence(text: str) -> str:
    first, stop, _ = text.partition(". ")
    return first + stop.strip()
