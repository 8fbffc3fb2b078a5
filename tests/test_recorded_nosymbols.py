"""Without debug info every figure of a recorded image is the same, on every release."""

from __future__ import annotations

import pytest
from live import table
from recorded import NAMES, load

COMMANDS = ("", *("arenas", "heaps", "top", "bins", "tcache", "mmapped", "ledger", "trim", "why"))


def images():
    """Yield all images; by default those of every release, and each third of the other scenes."""
    releases = [name for name in NAMES if name.count("-") == 1]
    others = [name for name in NAMES if name not in releases]
    yield from releases
    for number, name in enumerate(others):
        yield pytest.param(name, marks=pytest.mark.slow if number % 3 else ())


@pytest.fixture(scope="module", params=[*images()])
def image(request):
    return load(request.param)


def figures(image):
    """Return reports without the sentences that tell how things were found, and what holders are
    called.
    """
    reports = {command: image.report(command) for command in (*COMMANDS, "check")}
    for finding in (each for report in reports.values() for each in report.get("findings", ())):
        if finding["code"] == "live":
            finding["statement"] = ""
    return {c: {k: v for k, v in report.items() if k != "notes"} for c, report in reports.items()}


@pytest.mark.few(2)
def test_figures_are_the_same_without_symbols(image):
    assert figures(image.without_symbols) == figures(image)


@pytest.mark.few(6)
def test_all_was_found_by_structure(image):
    how = {row["what"]: row["how"] for row in table(image.without_symbols.report("about"))}
    assert (how["main_arena"], how["mp_"]) == ("structure", "structure")
