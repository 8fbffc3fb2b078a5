"""Try a program: with its load, and again with each remedy of heapx's first screen."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .asking import Answer, Remedy, ask, remedy_of, trim_now
from .program import Program
from .running import running
from .verdict import Said, judge, said_of

# Where heapx says that no setting of malloc's helps: these, and malloc_trim.
EVERYTHING = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_TOP_PAD_": "0",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}


@dataclass(frozen=True)
class Measured:
    """What became of RSS, and what heapx had said of it."""

    before: int
    after: int
    said: Said
    noise: int | None = None  # by how much two runs without the remedy differ; None: one run

    @property
    def verdict(self) -> str:
        return judge(self.said, self.before, self.after, self.noise)


@dataclass(frozen=True)
class Trial:
    """A finding of the first screen, and what became of its remedy; a row of the page."""

    cause: str
    remedy: str  # what was applied
    measured: Measured | None = None  # None: a machine can't apply it


@dataclass(frozen=True)
class Result:
    """What came of a program."""

    version: str
    glibc: str
    rss: int
    least: int  # RSS with all of malloc's remedies at once
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Tools:
    """What trials need: a Python with what PyPI has, the library of hold.c."""

    python: str
    library: str


def run_trials(program: Program, tools: Tools) -> tuple[Result, Answer]:
    """Return what came of a program, and what heapx had said of it."""
    with running(program, tools.python, {}, tools.library) as first:
        rss, answer = first.rss(), ask(first.pid)
    bench = Bench(program, tools, rss, answer)
    bench.least = _with_everything(bench)
    findings = answer.findings or [{"code": "", "statement": answer.refusal, "remedy": ""}]
    trials = tuple(_trial(bench, finding, finding is findings[0]) for finding in findings)
    version = program.version_text(tools.python)
    return Result(version, platform.libc_ver()[1], rss, bench.least, trials), answer


@dataclass
class Bench:
    """A program that was seen, and how much two runs of it differ once that is known."""

    program: Program
    tools: Tools
    rss: int
    answer: Answer
    least: int = 0
    noise: int | None = None
    afters: dict[str, int] = field(default_factory=dict)  # RSS, by the settings

    def again(self, settings: Mapping[str, str], trims: bool = False) -> Any:
        return running(self.program, self.tools.python, settings, self.tools.library, trims)

    def measured(self, after: int, said: Said) -> Measured:
        """Return what a restart gave."""
        if self.noise is None:
            with self.again({}) as same:
                self.noise = abs(same.rss() - self.rss)
        return Measured(self.rss, after, said, self.noise)


def _trial(bench: Bench, finding: Mapping[str, Any], first: bool) -> Trial:
    """Try a finding's remedy. If the first has none: all of malloc's, which are to do nothing."""
    code = f"`{finding['code']}`: " if finding["code"] else ""
    cause = code + finding["statement"].split(". ")[0].rstrip(".")  # as on the first screen
    remedy = remedy_of(finding, bench.program.tools)
    if remedy is None and first:
        said = Said("in malloc", bench.answer.retained)
        return Trial(cause, "all of malloc's", bench.measured(bench.least, said))
    if remedy is None:
        return Trial(cause, "")
    if remedy.tool or remedy.trims:
        return Trial(cause, f"`{remedy.words}`", _applied(bench, finding, remedy))
    if remedy.words not in bench.afters:
        with bench.again(remedy.settings) as other:
            bench.afters[remedy.words] = other.rss()
    after = bench.afters[remedy.words]
    return Trial(cause, f"`{remedy.words}`", bench.measured(after, said_of(finding)))


def _applied(bench: Bench, finding: Mapping[str, Any], remedy: Remedy) -> Measured | None:
    """Apply a remedy to another run; what heapx says of that one counts."""
    with bench.again({}, trims=not bench.program.deaf) as other:
        same = [each for each in ask(other.pid).findings if each["code"] == finding["code"]]
        before = other.rss()
        if not same:
            return None
        if remedy.tool:
            bench.program.tools[remedy.tool](other.pid)
        elif not trim_now(other.pid):
            if bench.program.deaf:
                return None
            other.trim()
        return Measured(before, other.rss(), said_of(same[0]))


def _with_everything(bench: Bench) -> int:
    """Return RSS with all of malloc's settings, and after malloc_trim(0)."""
    trims = not bench.program.deaf
    with bench.again(EVERYTHING, trims) as other:
        if trims:
            other.trim()
        return other.rss()


def look(program: Program, tools: Tools) -> Answer:
    """Return what heapx says of a program after its load."""
    with running(program, tools.python, {}, tools.library) as first:
        return ask(first.pid)
