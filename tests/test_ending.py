"""How Python code ends when a signal asks for it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# It imports what takes a while, in which the signal comes; the member's class is made then.
BEGINS = """
import os, sys
from gdb_heapx.ending import EndedError, end_by_exception
sys.path.insert(0, sys.argv[1])
end_by_exception()
try:
    import slow
    while True:
        os.read(0, 1)
except EndedError as ended:
    print(sys.modules["slow"].whole, ended.statement)
"""
SLOW = """
import os, sys
class Member:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), int(sys.argv[2]))
class Record:
    member = Member()
whole = True
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_no_import_halfway(number, tmp_path):
    """Its locks would stay held, and to 3.11 Python makes what is raised there a RuntimeError."""
    (tmp_path / "slow.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "-c", BEGINS, tmp_path, str(int(number))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.read().startswith("True ")
        assert process.wait() == 0
