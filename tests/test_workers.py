"""How scripts/test divides the tests between workers."""

from __future__ import annotations

import re
import sys

from live import ROOT, run

MODULE = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(8))
def test(number):
    with open(pathlib.Path(__file__).with_suffix(".txt"), "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_the_tests_of_a_module_run_on_one_worker(tmp_path):
    """Its fixtures are made there, and nowhere else."""
    (options,) = re.findall(r"-m pytest (-n .*) \"\$@\"", (ROOT / "scripts" / "test").read_text())
    for name in ("first", "second"):
        (tmp_path / f"test_{name}.py").write_text(MODULE)
    done = run((sys.executable, "-m", "pytest", *options.split(), tmp_path), cwd=tmp_path)
    assert done.status == 0, done.out
    for name in ("first", "second"):
        workers = (tmp_path / f"test_{name}.txt").read_text().split()
        assert (len(workers), len(set(workers))) == (8, 1)
