"""Write what came of the programs into docs/field.md, between its markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .program import Program
from .trial import Measured, Result
from .verdict import UNDECIDED

BEGIN, END = "<!-- begin: scripts/field -->", "<!-- end: scripts/field -->"
HEADS = (
    ("program", "RSS", "cause on the first screen", "remedy", "said", "RSS after", "verdict"),
    ("program", "version", "glibc", "RSS", "with all", "load"),
)
RIGHT_ALIGNED = ("RSS", "RSS after", "with all")

Rows = tuple[list[str], list[str]]  # a program's, of each table


def rows_of(page: str) -> dict[str, Rows]:
    """Return the rows of the page by program."""
    rows: dict[str, Rows] = {}
    which = -1
    for line in _between(page)[1].splitlines():
        name = line[2:].split(" |")[0]
        if name == HEADS[0][0]:
            which += 1
        elif line.startswith("| "):
            rows.setdefault(name, ([], []))[which].append(line)
    return rows


def rows_for(program: Program, result: Result) -> Rows:
    """Return a program's rows: its findings, and what it is."""
    found = [
        (program.name, _mib(result.rss), each.cause, each.remedy, *_measured(each.measured))
        for each in result.trials
    ]
    sizes = (_mib(result.rss), _mib(result.least))
    what = (program.name, result.version, result.glibc, *sizes, program.what)
    return [_line(each) for each in found], [_line(what)]


def failed_rows(program: Program, error: str) -> Rows:
    failed = (program.name, *[""] * 5, f"{UNDECIDED}: {error}")
    return [_line(failed)], [_line((program.name, "", "", "", "", program.what))]


def with_rows(page: str, rows: Mapping[str, Rows], order: Iterable[str]) -> str:
    """Return the page with these rows, in this order."""
    before, _, after = _between(page)
    names = [name for name in order if name in rows]
    tables = [
        "\n".join((_line(head), _rule(head), *(row for name in names for row in rows[name][which])))
        for which, head in enumerate(HEADS)
    ]
    return f"{before}{BEGIN}\n" + "\n\n".join(tables) + f"\n{END}{after}"


def update(path: Path, rows: Mapping[str, Rows], order: Iterable[str]) -> None:
    """Put these rows into the page; those of other programs stay."""
    page = path.read_text()
    path.write_text(with_rows(page, {**rows_of(page), **rows}, order))


def _between(page: str) -> tuple[str, str, str]:
    before, found, rest = page.partition(BEGIN)
    inside, ended, after = rest.partition(END)
    if not found or not ended:
        raise RuntimeError(f"the page lacks its markers, {BEGIN} and {END}")
    return before, inside, after


def _line(cells: Iterable[str]) -> str:
    clean = (re.sub(r"\s+", " ", cell.replace("|", "\\|")) for cell in cells)
    return "| " + " | ".join(clean) + " |"


def _rule(head: Iterable[str]) -> str:
    return "|" + "|".join("---:" if each in RIGHT_ALIGNED else "---" for each in head) + "|"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f}"


def _measured(measured: Measured | None) -> tuple[str, str, str]:
    """Return what was said, RSS, and the verdict."""
    if measured is None:
        return "", "", UNDECIDED
    said, fall = measured.said, measured.before - measured.after
    words = f"{'' if said.kind == 'exact' else said.kind} {_mib(said.bytes)}".strip()
    if said.likely is not None:
        words += f", likely {_mib(said.likely)}"
    verdict = f"{measured.verdict}: {'-' if fall >= 0 else '+'}{_mib(abs(fall))}"
    return "nothing" if said.kind == "nothing" else words, _mib(measured.after), verdict
