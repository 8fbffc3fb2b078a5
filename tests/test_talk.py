"""What gdb's side does when the shell command is there no more."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

# It doesn't end by SIGTERM, as a gdb that waits for something that never comes.
STUCK = """
import signal, sys, time
from gdb_heapx.gdbside import talk
talk.TO_END = 0.05
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
talk.Talk(int(sys.argv[1])).watch(killable=sys.argv[2] == "True")
signal.sigwait([signal.SIGTERM])
time.sleep(2)
"""


@pytest.mark.few(1)
@pytest.mark.parametrize(("killable", "status"), [(True, -signal.SIGKILL), (False, 0)])
def test_what_doesnt_end_is_killed_unless_it_has_changed_the_process(killable, status):
    ours, theirs = socket.socketpair()
    with (
        theirs,
        subprocess.Popen(
            [sys.executable, "-c", STUCK, str(theirs.fileno()), str(killable)],
            pass_fds=[theirs.fileno()],
        ) as process,
    ):
        ours.close()
        assert process.wait() == status
