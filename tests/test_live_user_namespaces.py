"""Processes in other user namespaces: looked at where the kernel permits it, else told apart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from live import HEAPX, eventually, heapx, run

pytestmark = pytest.mark.live

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user")  # of the user who asks


@pytest.fixture
def namespaces():
    if subprocess.run((*IN_A_NAMESPACE, "true"), check=False, capture_output=True).returncode:
        pytest.skip("no user namespace may be made here")


@pytest.mark.slow
def test_a_process_in_a_user_namespace_below_is_looked_at(namespaces):
    with subprocess.Popen((*IN_A_NAMESPACE, "sleep", "600")) as process:
        try:
            executed = Path(f"/proc/{process.pid}/comm")
            eventually(lambda: executed.read_text() == "sleep\n", "the program runs")
            said = heapx("-p", process.pid, "arenas", "--format", "json")
            assert (said.status, said.err) == (0, "")
        finally:
            process.kill()


@pytest.mark.slow
def test_a_process_above_the_user_namespace_isn_t_and_that_is_said(namespaces, start):
    process = start("arenas", "2")
    said = run((*IN_A_NAMESPACE, HEAPX, "-p", process.pid))
    assert said.status == 3
    assert "another user namespace" in said.err
