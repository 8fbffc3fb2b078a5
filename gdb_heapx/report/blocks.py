"""The kinds of blocks that a report has: how each is text, and what JSON says of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import escape, spaced, unbroken
from .model import Bar, Dump, Finding, Findings, Notes, Steps, counted, shortened, size_text
from .notes import sentence
from .pictures import Picture, picture_tokens
from .schema import Table
from .stacks import Traces
from .style import BARS, COMMAND, HEADING, NOTE, Style, Tokens, library
from .tables import GAP, table_tokens


def sentence_tokens(kind: str, text: str, style: Style, first: str = "", rest: str = "") -> Tokens:
    for line in textwrap.wrap(
        unbroken(escape(text)),
        max(style.width, 40),
        break_long_words=False,
        break_on_hyphens=False,
        initial_indent=first,
        subsequent_indent=rest,
    ):
        yield kind, f"{spaced(line)}\n"


def _note_tokens(block: Notes, style: Style) -> Tokens:
    for note in block.notes:
        yield from sentence_tokens("" if block.leads else NOTE, sentence(note), style)


def _step_tokens(block: Steps, style: Style) -> Tokens:
    room = {step: style.width - len(GAP) - len(purpose) for step, purpose in block.steps}
    width = max((len(step) for step in room if len(step) <= room[step]), default=0)
    for step, purpose in block.steps:
        fits = max(width, len(step)) <= room[step]
        yield COMMAND, step.ljust(width) if fits else step
        yield NOTE, f"{GAP if fits else chr(10) + GAP}{purpose}\n"


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


def _dump_tokens(dump: Dump, style: Style) -> Tokens:
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


def _findings_tokens(block: Findings, style: Style) -> Tokens:
    number, leader = 0, None
    for finding in block.findings:
        if number and not block.brief:
            yield "", "\n"
        if leader is None or finding.reason_of != leader.code:
            number, leader = number + 1, finding
        yield from _finding_tokens(number, finding, finding is not leader, block.brief, style)


def _finding_tokens(
    number: int, finding: Finding, is_reason: bool, brief: bool, style: Style
) -> Tokens:
    """Yield a finding: how much, what, the evidence, and what to do. A reason has no number, and if
    brief no remedy, unless that is worth something by itself.
    """
    statement, remedy = finding.statement, finding.remedy or ""
    if brief:
        statement = _first_sentence(statement)
        remedy = "" if is_reason and not finding.worth else _first_sentence(remedy)
    indent = " " * len(f"{number}. ")
    first = f"{indent}The same, " if is_reason else f"{number}. "
    size = how_much(finding)
    size = size if is_reason else size[:1].upper() + size[1:]
    yield from sentence_tokens(HEADING, f"{size}{statement}", style, first, indent)
    room = max(style.width, 40) - len(indent) - 2
    for line in () if brief else finding.evidence:
        line = " ".join(shortened(word, room) for word in line.split(" "))  # a file's path
        yield from sentence_tokens(NOTE, line, style, indent + "- ", indent + "  ")
    yield from sentence_tokens(COMMAND, remedy, style, indent + "> ", indent + "  ")


def how_much(finding: Finding) -> str:
    """Return how much a finding is about: what its remedy is worth, or else the bytes at stake.

    A bound far beyond what is likely says nothing, and so isn't said.
    """
    worth = finding.worth
    if worth is None:
        return "" if finding.bytes is None else f"{size_text(finding.bytes)}: "
    size, likely = size_text(worth.bytes), ""
    if worth.likely is not None:
        expected = size_text(worth.likely)
        if 0 < FAR_BEYOND * worth.likely < worth.bytes:
            return f"likely {expected}: "
        likely = f", likely {'all of it' if expected == size else expected}"
    return f"{'' if worth.exact else 'at most '}{size}{likely}: "


def _first_sentence(text: str) -> str:
    first, stop, _ = text.partition(". ")
    return first + stop.strip()


SHOWN_FRAMES = 16  # of a backtrace
FAR_BEYOND = 100  # times what is likely: such a bound isn't said


def _trace_tokens(block: Traces, style: Style) -> Tokens:
    for number, trace in enumerate(block.traces):
        if number:
            yield "", "\n"
        yield from sentence_tokens(HEADING, trace.heading, style)
        for frame in trace.frames[:SHOWN_FRAMES]:
            yield "", f"{GAP}{shortened(escape(frame), max(style.width, 40) - len(GAP))}\n"
        more = len(trace.frames) - SHOWN_FRAMES
        if more > 0:
            yield NOTE, f"{GAP}and {counted(more, 'frame')} more\n"


def _dump_data(dump: Dump) -> dict[str, Any]:
    return {"dump": {"address": f"{dump.address:#x}", "hex": dump.data.hex()}}


def _findings_data(block: Findings) -> dict[str, Any]:
    found = [
        {
            "code": finding.code,
            "bytes": finding.bytes,
            "statement": finding.statement,
            "evidence": list(finding.evidence),
            "remedy": finding.remedy,
            "worth": finding.worth.bytes if finding.worth else None,
            "worth_is": finding.worth.kind if finding.worth else None,
            "likely": finding.worth.likely if finding.worth else None,
            "in_force": finding.in_force,
            "reason_of": finding.reason_of,
            "told_before": finding.told_before,
        }
        for finding in block.findings
    ]
    return {"findings": found}


class Shown(NamedTuple):
    """How a kind of block is shown: its tokens, with a blank line before them if it is `apart`,
    and what it adds to JSON behind the tables, by key: to a list, where there is one already.
    """

    tokens: Callable[[Any, Style], Tokens]
    data: Callable[[Any], Mapping[str, Any]] = lambda block: {}
    apart: bool = True


BLOCKS: dict[type, Shown] = {
    Table: Shown(table_tokens),  # JSON has them before all else
    Bar: Shown(_bar_tokens, apart=False),
    Dump: Shown(_dump_tokens, _dump_data),
    Findings: Shown(_findings_tokens, _findings_data),
    Notes: Shown(_note_tokens, lambda block: {"notes": [sentence(note) for note in block.notes]}),
    Steps: Shown(_step_tokens),
    Traces: Shown(_trace_tokens),  # in JSON a table has them
    Picture: Shown(picture_tokens),  # the same
}
