"""What each command says of recorded images, word for word: tests/goldens.

`pytest tests/test_goldens.py --update-goldens` writes them again. Read the diff before you commit.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import twice
from live import table
from recorded import load

from gdb_heapx.cli.command import REGISTRY

GOLDENS = Path(__file__).parent / "goldens"
FULL, DAMAGED = ("2.36-amd64", "2.41-i386"), "2.36-amd64-damaged-tcache"
IMAGES = (*FULL, "2.31-amd64", "2.44-amd64", DAMAGED, "2.36-amd64-why-small-blocks")
# Of one address, too long, only of what runs, or about files.
APART = ("chunk", "chunks", "refs", "growth", "save", "load", "compare", "report")
PLAIN = sorted(c.word for c in REGISTRY.values() if c.word not in APART)
MORE = (
    *(
        "arenas 1",
        "arenas --no-walk",
        "heaps --no-walk",
        "top --no-walk",
        "bins --no-walk --limit 500",
    ),
    *("arenas --bytes", "bins --chunks --limit 40", "chunks --limit 40", "chunks --count"),
    *("sizes --group", "trim 1", "trim --pad 300000", "fit 5000"),
)
STATES = ("in-use", "tcache", "fast", "binned", "top", "overhead", "mmapped")
WIDE = ("", "arenas", "heaps", "ledger", "top", "trim", "threads", "mmapped", "chunks --limit 40")
JSON = ("", "arenas", "check", "threads", "trim", "why")
METRICS = ("", "arenas", "ledger")
FORMATS = {"json": " --format json", "prom": " --format openmetrics"}
# Versions, and whether a compiler was there.
MACHINE = re.compile(
    r"^(heapx +\S+ +Python|walk +\S).*\n(?: {8}.*\n)*|^ \"heapx\": .*\n|,heapx=\"[^\"]*\"", re.M
)


COMPARED = ("compare", "compare --by heap", "compare --by bin")
TWICE = "twice"  # instead of an image: two saved snapshots of one process


class Golden(NamedTuple):
    """A command on an image; the state is that of the chunk that `heapx chunk` shows."""

    image: str
    line: str
    kind: str = "txt"
    state: str = ""

    @property
    def file(self) -> Path:
        words = (self.line or "overview").replace("--", "").split() + self.state.split()
        return GOLDENS / self.image / f"{'-'.join(words)}.{self.kind}"

    def text(self) -> str:
        width = 140 if self.kind == "wide.txt" else 80
        if self.image == TWICE:
            return twice.compared(self.line.partition(" ")[2], width)
        image, line = load(self.image), self.line
        if self.state:
            first = table(image.report(f"chunks --state {self.state} --limit 1"))
            if not first:
                return "no such chunk\n"
            line += f" {first[0]['address']}"
        line += FORMATS.get(self.kind, "")
        return MACHINE.sub("", image.text(line, width))


EVERY = (
    *(Golden(image, line) for image in IMAGES for line in PLAIN),
    *(Golden(image, "chunk", "txt", state) for image in IMAGES for state in STATES),
    *(Golden(image, line) for image in FULL for line in MORE),
    *(Golden(FULL[0], line, "wide.txt") for line in WIDE),
    *(Golden(image, line, "json") for image in (FULL[0], DAMAGED) for line in JSON),
    *(Golden(FULL[0], line, "prom") for line in METRICS),
    *(Golden(TWICE, line, kind) for line in COMPARED for kind in ("txt", "wide.txt")),
)


@pytest.mark.parametrize("golden", EVERY, ids=lambda golden: "/".join(golden.file.parts[-2:]))
def test_what_a_command_says_is_the_golden_text(golden, pytestconfig):
    text, file = golden.text(), golden.file
    if pytestconfig.getoption("update_goldens"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.exists(), "pytest --update-goldens writes it"
    lines = (each.splitlines(keepends=True) for each in (file.read_text(), text))
    diff = "".join(difflib.unified_diff(*lines, str(file), "now"))
    if diff:
        pytest.fail(f"{diff}\npytest --update-goldens takes what is said now", pytrace=False)


def test_no_golden_text_is_left_that_nothing_says(pytestconfig):
    left = {*GOLDENS.glob("*/*")} - {golden.file for golden in EVERY}
    if pytestconfig.getoption("update_goldens"):
        for file in left:
            file.unlink()
        left = set()
    assert not left
