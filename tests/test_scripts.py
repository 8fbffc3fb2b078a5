"""What the scripts say where something is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from live import ROOT, environment, run

NOBODY = {"user": 65534, "group": 65534, "extra_groups": ()} if os.geteuid() == 0 else {}
TOOLS = ("bash", "dirname")  # and no sudo


@pytest.fixture
def installing():
    """Return what a script says that misses gdb and make, to a user who isn't root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's are for its user alone
        directory = Path(name)
        directory.chmod(0o755)
        yield _installing(directory)


def _installing(directory):
    (directory / "scripts").mkdir(mode=0o755)
    shutil.copy(ROOT / "scripts" / "setup.sh", directory / "scripts")

    def says(*tools):
        for tool in (*TOOLS, *tools):
            (directory / tool).symlink_to(shutil.which(tool) or "/bin/true")
        line = f"source {directory}/scripts/setup.sh; missing=(gdb make); install_missing"
        return run(("bash", "-c", line), env=environment(PATH=str(directory)), cwd="/", **NOBODY)

    return says


def test_a_user_without_sudo_is_told_what_root_has_to_type(installing):
    done = installing("apt-get")
    assert (done.status, done.out) == (1, "")
    assert "only root may install packages, and there is no sudo" in done.err
    assert "As root: apt-get update && apt-get install gdb make. Then run this again." in done.err
    assert len(done.err.splitlines()) == 1


def test_where_there_is_no_apt_get_the_packages_are_named_as_debian_s(installing):
    done = installing()
    assert (done.status, done.out) == (1, "")
    assert "gdb make (this system has no apt-get)" in done.err
    assert "Debian's names; yours may differ" in done.err
