"""Ask heapx about a process, and find what a machine can apply of its remedies."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAPX = Path(__file__).resolve().parent.parent / "heapx"
NAMES = r"MALLOC_(?:ARENA_MAX|ARENA_TEST|MMAP_MAX_|MMAP_THRESHOLD_|TOP_PAD_|TRIM_THRESHOLD_)"
SETTING = re.compile(rf"\b({NAMES}|GLIBC_TUNABLES)=([\w.:=-]*\w)")
FREE = ("returnable", "kept", "free", "overhead")  # parts of the overview
NO_HUGE_PAGES = "prctl(PR_SET_THP_DISABLE)"
TRIM = re.compile(r"heapx trim --now|malloc_trim\(0\)")


@dataclass(frozen=True)
class Answer:
    """What heapx says of a process; or why it says nothing, and the rest is empty."""

    screen: str = ""
    why: str = ""
    findings: Sequence[dict[str, Any]] = ()  # of the first screen
    retained: int = 0  # bytes in RAM that the first screen calls free in malloc, or its own
    refusal: str = ""


@dataclass(frozen=True)
class Remedy:
    """What a machine can apply, in words, and how."""

    words: str
    settings: Mapping[str, str] = field(default_factory=dict)
    trims: bool = False
    tool: str = ""  # one of the program's own


def ask(pid: int) -> Answer:
    """Return heapx's first screen, what it is made of, and what `heapx why` says.

    Only that has an estimate of what is likely.
    """
    told = _heapx(pid, "--format", "json")
    if not told.stdout:  # with 3 there is an answer, too, where another allocator serves malloc
        return Answer(refusal=told.stderr.strip().removeprefix("heapx: "))
    overview, screen = json.loads(told.stdout), _heapx(pid)
    rows = overview["tables"][0]["rows"]
    free = sum(row["resident"] or 0 for row in rows if row["key"] in FREE)
    every = json.loads(_heapx(pid, "why", "--format", "json").stdout)["findings"]
    likely = {each["code"]: each["likely"] for each in every}
    findings = [{**each, "likely": likely.get(each["code"])} for each in overview["findings"]]
    return Answer(screen.stdout, _heapx(pid, "why").stdout, findings, free)


def trim_now(pid: int) -> bool:
    """Let heapx call malloc_trim; tell whether it could."""
    return _heapx(pid, "trim", "--now").returncode == 0


def _heapx(pid: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HEAPX), "-p", str(pid), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", "LC_ALL": "C.UTF-8"},
        timeout=120,
    )


def remedy_of(finding: Mapping[str, Any], tools: Iterable[str] = ()) -> Remedy | None:
    """Return what a machine can apply of a finding's remedy; None if that is nothing.

    It is a tool of the program's own; malloc_trim(0), if that is what it begins with; or the
    settings of the first sentence that has one.
    """
    text = finding["remedy"] or ""
    if NO_HUGE_PAGES in text:
        return Remedy(NO_HUGE_PAGES, {"FIELD_NO_HUGE_PAGES": "1"})  # hold.c's library makes it so
    for tool in tools:
        if tool in text:
            return Remedy(tool, tool=tool)
    if TRIM.match(text):
        return Remedy("malloc_trim(0)", trims=True)
    for sentence in re.split(r"(?<=[.:]) ", text):
        settings = dict(SETTING.findall(sentence))
        if settings:
            words = " ".join(f"{name}={value}" for name, value in settings.items())
            return Remedy(words, settings)
    return None
