"""An image says the same as the process that it was recorded from."""

from __future__ import annotations

import pytest
import recorded
from live import ROOT, reports, run, table, without_others

from gdb_heapx.cli.command import REGISTRY

pytestmark = [pytest.mark.live, pytest.mark.slow]

APART = ("chunk", "refs", "growth", "save", "load", "compare", "report")
COMMANDS = sorted(command.word for command in REGISTRY.values() if command.word not in APART)
RECORD = ROOT / "scripts" / "record_image"


@pytest.fixture
def pair(start, tmp_path, monkeypatch):
    """Return a process and its image."""
    inferior = start("scene", counted=True)
    monkeypatch.setattr(recorded, "IMAGES", tmp_path)
    result = run((RECORD, inferior.pid, tmp_path / "live.zip"))
    assert (result.status, result.err) == (0, "")
    return inferior, recorded.load("live")


def alone(report):
    """Return a report without what other processes decide."""
    return {**report, "tables": without_others(report["tables"])}


def test_an_image_says_what_its_process_says(pair, tmp_path):
    inferior, image = pair
    rows = table(image.report("chunks --limit 30"))
    commands = [*COMMANDS, *(f"chunk {row['address']}" for row in rows)]
    lines = [f"heapx {command} --limit 1000" for command in commands]
    live = reports(lines, tmp_path / "live", ("-p", inferior.pid))
    said = {line: image.report(line.partition(" ")[2]) for line in lines}
    pairs = {line: (alone(live[line]), alone(said[line])) for line in lines}
    assert {line: pair for line, pair in pairs.items() if pair[0] != pair[1]} == {}
