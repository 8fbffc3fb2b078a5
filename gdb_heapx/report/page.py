"""A page: what several commands answer, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HeapxError, UsageError
from ..records import dataclass
from .arrange import arrange, for_reader, told_apart, without_echoes
from .context import Context
from .model import Report
from .render import render_json
from .style import Style, is_there, library
from .views import BlockView, block_views, once, problem_view

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("chartist.umd.js", "page.js")
PROBLEMS = 200  # that are listed
# What ends a script's text, or is a line's end for JavaScript; in JSON it is inside of a string.
ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Chapter:
    """A part of a page: a command line, and what it answers."""

    title: str
    line: str
    report: Report

    @property
    def anchor(self) -> str:
        """What links to it: the line, without `heapx` and dashes."""
        return "-".join(self.line.replace("--", "").split()[1:]) or "heapx"

    @property
    def command(self) -> str:
        """The command that the line names."""
        return " ".join(self.line.split()[:2])


@dataclass(frozen=True)
class Page:
    """What is in a page: of which program, facts about it, the chapters, and the libcs by name; of
    each table so many rows at most, its first ones.
    """

    program: str
    facts: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    libcs: tuple[str, ...]
    limit: int | None = None


class _ChapterView(NamedTuple):
    chapter: Chapter
    blocks: list[BlockView]
    json: str


def check_page(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what a page has not: another format, a screen to go to, one table to sort. HeapxError
    also where the library is missing that makes it.
    """
    if not options["output"]:
        raise UsageError(f"{name} needs a file", f"{name} --output FILE.html")
    if options["format"]:
        raise UsageError(
            f"{name} writes HTML: it has no --format {options['format']}",
            "The page has the JSON of its commands in it.",
        )
    given = next((option for option in ("sort", "columns") if options[option]), None)
    if given:
        raise UsageError(
            f"{name} has many tables: --{given} can't be for all of them",
            "In the page a click sorts a table.",
        )
    if not is_there("jinja2"):
        raise HeapxError("heapx report needs Jinja2, which is not installed", "pip install jinja2")


def arrange_page(report: Report, limit: int | None) -> Report:
    """Return a report whose page has so many rows of each table at most, its first ones."""
    pages = (block for block in report.blocks if isinstance(block, Page))
    return replace(report, blocks=tuple(replace(page, limit=limit) for page in pages))


def render_page(report: Report, context: Context, style: Style) -> Iterator[str]:
    """Yield a report's page as HTML. Whatever is of the target is text there: the template escapes
    it, and should that fail, the page runs no script but its own.
    """
    jinja = library("jinja2")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [_script(name) for name in SCRIPTS]
    (page,) = (block for block in report.blocks if isinstance(block, Page))
    chapters = [_chapter_view(each, page, context, style) for each in page.chapters]
    once(each.blocks for each in chapters)
    yield from environment.get_template("page.html").generate(
        page=page,
        context=context,
        chapters=chapters,
        problems=[problem_view(each) for each in report.problems[:PROBLEMS]],
        unlisted=max(len(report.problems) - PROBLEMS, 0),
        css=_asset("page.css"),
        licence=_asset("chartist.LICENSE"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )


def _script(name: str) -> str:
    """Return a script; without the line that says where its source lies, which isn't here."""
    return _asset(name).partition("\n//# sourceMappingURL=")[0]


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return what a content security policy calls a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _chapter_view(chapter: Chapter, page: Page, context: Context, style: Style) -> _ChapterView:
    """Return what people see of a chapter, and what scripts do."""
    seen, data = (
        arrange(for_reader(chapter.report, for_people, ()), None, page.limit, None, False)
        for for_people in (True, False)
    )
    shown = told_apart(without_echoes(seen), page.libcs)
    return _ChapterView(chapter, block_views(shown, style), _json_of(chapter, data, context))


def _json_of(chapter: Chapter, report: Report, context: Context) -> str:
    """Return what the command says as JSON, to stand in a script's place."""
    pieces: Any = render_json(report, replace(context, command=chapter.command), Style())
    return "".join(pieces).translate(ESCAPED)
