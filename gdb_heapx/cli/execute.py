"""A command line is run: it is parsed, the target is read, and the report written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from .. import __version__
from ..errors import INTERRUPTED, STOPPED, TIME_IS_UP, CutShortError, HeapxError, Problem, escape
from ..records import dataclass
from ..report.arrange import arrange, for_reader, told_apart, without_totals
from ..report.chosen import with_one_table
from ..report.context import Context
from ..report.files import write_whole
from ..report.notes import note, sentence
from ..report.render import FORMATS, Renderer, missing_libraries
from ..report.style import Style
from .command import Command, Function, Needs, find, parse
from .from_file import from_file, in_its_place
from .given import given_to, holds, in_passes, read, told
from .offers import named_columns
from .preferences import NONE_PREFERRED, Preferred
from .scope import scope_of

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..report.model import Report
    from ..report.schema import Value
    from ..snapshots.take import Snapshot
    from .session import Session

DAMAGED = 1
ENDED = 130  # as of a program that SIGINT ends
# These hold all: the process needs no longer stand still.
AFTERWARDS = (
    *(Needs.SNAPSHOT, Needs.HELD, Needs.LIVE, Needs.GROWTH),
    *(Needs.ASKED, Needs.FILE),
)


@dataclass(frozen=True)
class Terminal:
    """Where text goes: its width in columns, whether it wants colour, and can have Unicode."""

    width: int
    colour: bool
    unicode: bool = False


def has_unicode(environ: Mapping[str, str]) -> bool:
    """Tell whether text is UTF-8 by the locale that the environment names."""
    names = (environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    chosen = next(filter(None, names), "")
    return chosen.lower().replace("-", "").endswith("utf8")


@dataclass(frozen=True)
class Answer:
    """The exit status, and what to say on stderr."""

    status: int
    warning: str | None = None


def execute(
    words: Sequence[str],
    opened: Callable[[float | None, bool], AbstractContextManager[Session]],
    terminal: Terminal,
    write: Callable[[str], object],
    preferred: Preferred = NONE_PREFERRED,
) -> Answer:
    """Run one command line, and `write` what it says, unless that goes to a file.

    `preferred` is what holds where the line says nothing. `opened` gets how many seconds the
    target may stand still, None for any, and whether its chunks in use will be held.

    HeapxError for everything that the user can mend.
    """
    declared, rest = find(words)
    options = parse(declared, rest)
    opened = in_its_place(declared, options) or opened
    args = [arg for arg in declared.args if options[arg.key]]
    columns = named_columns(declared, args, filter(None, (options["columns"] or "").split(",")))
    sorting = named_columns(declared, args, filter(None, [options["sort"]]))
    asked, sort = (*columns, *sorting), next(iter(sorting), None)
    coloured = terminal.colour if preferred.color is None else preferred.color == "on"
    chosen = options["format"] or ("ansi" if coloured and not options["output"] else "text")
    is_text = chosen in ("text", "ansi") and not declared.page
    renderer = _page_renderer(declared, options) if declared.page else FORMATS[chosen]
    warning = missing_libraries() if is_text else None
    limit = options["limit"]
    if limit is None and is_text:
        limit = declared.limit if preferred.limit is None else preferred.limit
    units = "bytes" if options["bytes"] else preferred.units
    blocks = chosen == "ansi" and terminal.unicode
    style = Style(
        terminal.width, units, columns or None, preferred.table_format, preferred.style, blocks
    )

    def deliver(report: Report, reading: Snapshot | Catalogue) -> None:
        facts = target_facts(reading)
        context = Context(declared.name, __version__, facts, session.stood_still)
        pieces = renderer(report, context, style)
        if options["output"]:
            rows = _whole(pieces, reading) if streamed else pieces
            write_whole(options["output"], rows)
            if declared.page:
                write(f"{escape(sentence(note('page_written', path=options['output'])))}\n")
            return
        for piece in pieces:
            write(piece)

    def answered(reading: Snapshot | Catalogue) -> Report:
        report = for_reader(_run(run, reading, told(needs, given)), is_text, asked)
        if any(problem.code in STOPPED for problem in report.problems):
            report = without_totals(report)
        if declared.page:
            return _page_arranged(report, options["limit"] or declared.limit)
        few = options["limit"] is sort is None
        if chosen == "csv":
            report = with_one_table(report, declared.tables, asked)
        report = arrange(report, sort, limit, columns, is_text, few, declared.tables)
        return told_apart(report, reading.libcs) if is_text else report

    report, streamed, (run, needs) = None, False, declared.way(options)
    reading: Snapshot | Catalogue | None = None
    try:
        with opened(options["max_pause"], holds(needs, options)) as session:
            saved, given = session.saved, dict[str, Any]()
            if saved is not None:
                run, given = from_file(
                    declared, session, saved, scope_of(declared, options), options
                )
            loaded = session.load(options["file"]) if needs is Needs.FILE else None
            reading = loaded.snapshot if loaded else read(declared, session, options)
            other = _other(reading)
            if other and not declared.whole:
                raise other
            if saved is None:
                given = given_to(declared, needs, session, options, reading)
            if loaded is not None:
                given.update(loaded=loaded)
            if needs not in AFTERWARDS or in_passes(given):
                reading = _completed(reading, session)
                report = answered(reading)
                streamed = any(table.streamed for table in report.tables)
            if report and streamed:
                deliver(report, reading)
        if needs is Needs.ASKED and saved is None:
            given.update(stood_still=session.stood_still)
        if report is None:
            with session.working():
                reading = _completed(reading, session)
                report = answered(reading)
    except CutShortError as cut:
        if reading is None or needs is not Needs.HELD:
            raise
        report = _cut_short(declared, reading, cut)
    if not streamed:
        deliver(report, reading)
    if other:
        return Answer(other.status, "\n".join(filter(None, (warning, escape(other.statement)))))
    return Answer(_status((*reading.problems, *report.problems)), warning)


def _completed(reading: Snapshot | Catalogue, session: Session) -> Snapshot | Catalogue:
    """Return a reading with what was left of it to be done when the target needn't stand still."""
    from ..snapshots.take import Snapshot

    return session.told_apart(reading) if isinstance(reading, Snapshot) else reading


def _run(run: Function, reading: Snapshot | Catalogue, given: dict[str, Any]) -> Report:
    return run(reading, **given)


def _page_arranged(report: Report, limit: int | None) -> Report:
    from ..report.page import arrange_page

    return arrange_page(report, limit)


def _page_renderer(declared: Command, options: dict[str, Any]) -> Renderer:
    """Return what writes pages; HeapxError where it can't, or has not what is asked for."""
    from ..report.page import check_page, render_page

    check_page(declared.name, options)
    return render_page


def _cut_short(declared: Command, reading: Snapshot | Catalogue, cut: CutShortError) -> Report:
    """Return what is known where reading was stopped before what is in use was looked through."""
    from .cut import cut_report

    return cut_report(declared.tables[0], cast("Snapshot", reading), cut)


def _whole(pieces: Iterable[str], reading: Snapshot | Catalogue) -> Iterator[str]:
    """Yield what is written while chunks are read; CutShortError where that was stopped: rows are
    missing, and CSV couldn't say so.
    """
    yield from pieces
    for problem in reading.problems:
        if problem.code in STOPPED:
            raise CutShortError(problem)


def _status(problems: Iterable[Problem]) -> int:
    """Return the exit status where there is a report with these problems."""
    codes = {problem.code for problem in problems}
    if INTERRUPTED in codes:
        return ENDED
    damaged = any(problem.damage for problem in problems)
    return DAMAGED if damaged or TIME_IS_UP in codes else 0


def _other(reading: Snapshot | Catalogue) -> HeapxError | None:
    """Return who serves the program's malloc, where glibc's serves nobody."""
    if not (reading.unused and reading.allocators):
        return None
    from ..locate.allocators import not_glibc

    return not_glibc(reading.allocators)


def target_facts(reading: Snapshot | Catalogue) -> dict[str, Value]:
    """Return what JSON says of the target."""
    target = reading.target
    return {
        "pid": target.pid,
        "exe": target.exe,
        **reading.identity._asdict(),
        "word": target.word,
        "architecture": target.architecture,
        "page": target.page,
        "live": target.live,
        "walked": reading.walked,
    }
