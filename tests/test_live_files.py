"""Files, names and threads of any kind: what can't be read costs only what it alone tells."""

from __future__ import annotations

import shutil

import pytest
from elffiles import move_headers_to_the_end
from live import gcore, heapx, kernel_core, running, table
from test_live_nosymbols import Elsewhere, equal_to_the_oracle

pytestmark = pytest.mark.live


@pytest.fixture
def moved(inferiors, tmp_path):
    """Run `mixed` on a libc, stripped, whose headers lie at the end of the file."""
    elsewhere = Elsewhere(tmp_path / "elsewhere", inferiors)
    move_headers_to_the_end(elsewhere.libraries / "libc.so.6")
    program = elsewhere.root / "mixed"
    shutil.copy(inferiors / "mixed", program)
    command = elsewhere.command(program)
    with running(inferiors / "mixed", directory=tmp_path / "run", command=command) as inferior:
        yield inferior, elsewhere


BUILD_ID = bytes(range(20)).hex()


def names_its_libc(elsewhere, *target):
    """Check that the build-id of libc is known, wherever the note lies."""
    result = heapx(*target, "about", "--format", "json")
    assert (result.status, result.err) == (0, "")
    found = {row["what"]: row["value"] for row in table(result.report)}
    assert found["libc"] == str(elsewhere.libraries / "libc.so.6")
    assert found["build-id"] == BUILD_ID


def test_headers_may_lie_at_the_end_of_a_file(moved):
    inferior, elsewhere = moved
    equal_to_the_oracle(inferior, "-p", inferior.pid)
    names_its_libc(elsewhere, "-p", inferior.pid)


def test_a_file_that_is_gone_costs_only_what_it_alone_tells(moved, tmp_path):
    """The core holds neither its program headers nor its build-id, but all data."""
    inferior, elsewhere = moved
    core = gcore(inferior.pid, tmp_path / "core")
    (elsewhere.libraries / "libc.so.6").unlink()
    names_its_libc(elsewhere, "-p", inferior.pid)
    equal_to_the_oracle(inferior, "--core", core)


def test_headers_that_a_core_does_not_hold_are_read_from_the_file(moved):
    inferior, elsewhere = moved
    core = kernel_core(inferior)
    equal_to_the_oracle(inferior, "--core", core)
    names_its_libc(elsewhere, "--core", core)
