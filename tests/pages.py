"""Pages of heapx report, as tests read them: their parts, and what a browser makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gdb_heapx.commands.report import CHAPTERS

LINES = tuple(line for _, line in CHAPTERS)
HOSTILE = "</script><img src=x onerror=fail()>"
PHONE, DESKTOP = (390, 844), (1280, 900)


def anchor(line: str) -> str:
    """Return the id of the part of a page that a command line answers."""
    return "-".join(line.replace("--", "").split()[1:]) or "heapx"


@dataclass
class Parts(HTMLParser):
    """The elements of a page, its text, and the JSON in it, by the id of its script."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    _inside: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.texts.append(data)
        else:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data

    def report(self, line: str) -> dict[str, Any]:
        """Return what the page has as JSON of a command line."""
        return json.loads(self.scripts[f"json-{anchor(line)}"])

    def names(self) -> set[str]:
        return {name for name, _ in self.elements}


def parts(page: str) -> Parts:
    """Return the parts of a page."""
    found = Parts()
    found.feed(page)
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium without a screen; skip where it, or what drives it, is missing."""
    driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the tests of pages need chromium: apt-get install chromium")
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=quiet)
        yield chromium
        chromium.close()


@dataclass
class Seen:
    """A page in a browser: what it complained of, and what it asked for."""

    view: Any
    complaints: list[str]
    asked: list[str]


def show(chromium: Any, file: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Seen:
    """Open a page from disk."""
    width, height = size
    view = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    seen = Seen(view, [], [])
    view.on("console", lambda message: seen.complaints.append(message.text))
    view.on("pageerror", lambda error: seen.complaints.append(str(error)))
    view.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    view.on("request", lambda request: seen.asked.append(request.url))
    view.goto(file.as_uri())
    return seen
