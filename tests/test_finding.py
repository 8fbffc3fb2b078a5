"""Which process a word means: by its id or its program's name, of the processes that run here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from live import GONE, eventually, run, status

from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.shell.finding import NotFoundError, process_id, processes_called

# Nobody else on this machine runs programs of these names.
SHORT, LONG = f"sleeps-{os.getpid()}", f"a-program-with-a-long-name-{os.getpid()}"
OTHER = f"other-{os.getpid()}"


@contextmanager
def sleeping(*command, **options):
    """Run a program that does nothing, until this ends; return its id."""
    with subprocess.Popen([str(word) for word in command], **options) as process:
        try:
            eventually(lambda: status(process.pid, "State") == "S", "it sleeps")
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def program(tmp_path):
    """Return what copies `sleep` under a name of its own, and its path."""

    def copied(name):
        return shutil.copy(shutil.which("sleep"), tmp_path / name)

    return copied


def test_a_number_is_a_process_id():
    assert process_id(f"{os.getpid()}") == os.getpid()
    with pytest.raises(HeapxError, match=f"no process {GONE}"):
        process_id(f"{GONE}")


@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "long"])
def test_a_program_is_found_by_its_name_however_long(name, program):
    with sleeping(program(name), "60") as pid:
        assert process_id(name) == pid
        with pytest.raises(NotFoundError):
            process_id(name[:-1])


def test_a_program_is_found_by_the_name_that_it_was_started_by(program):
    with sleeping(OTHER, "60", executable=program(SHORT)) as pid:
        assert process_id(OTHER) == process_id(SHORT) == pid


def test_a_script_is_found_by_its_name(tmp_path):
    script = tmp_path / f"{LONG}.py"
    script.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    script.chmod(0o755)
    with sleeping(script) as pid:
        assert process_id(script.name) == pid


def test_a_program_whose_file_is_gone_is_found(program):
    file = program(SHORT)
    with sleeping("other", "60", executable=file) as pid:
        Path(file).unlink()
        assert process_id(SHORT) == pid


def test_neither_this_process_nor_its_parents_are_found():
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in (os.getpid(), os.getppid())}
    found = {process.pid for name in names for process in processes_called(name)}
    assert not found & {os.getpid(), os.getppid()}


def test_several_are_listed_with_what_the_kernel_tells_of_each(program):
    file = program(SHORT)
    with ExitStack() as stack:
        pids = {stack.enter_context(sleeping(file, f"{60 + n}", "0" * 500)) for n in range(3)}
        with pytest.raises(UsageError, match=f"3 processes run {SHORT}: say") as caught:
            process_id(SHORT, 80)
        head, *rows = caught.value.remedies
        assert head.split() == ["pid", "RSS", "user", "command"]
        assert {int(row.split()[0]) for row in rows} == pids
        for row in rows:
            pid, size, unit, user, _ = row.split(None, 4)
            rss = int(status(int(pid), "VmRSS")) / {"KiB": 1, "MiB": 1024}[unit]
            assert abs(float(size) - rss) < 0.1
            assert user == run(("stat", "-c", "%U", f"/proc/{pid}")).out.strip()
            assert row.endswith("0000")
    assert max(map(len, str(caught.value).splitlines())) <= 80


def test_the_largest_of_several_come_first(program):
    file = program(SHORT)
    large = "import time; x = bytes(64 << 20); y = x + b'1'; time.sleep(60)"
    with ExitStack() as stack:
        small = stack.enter_context(sleeping(file, "60"))
        python = sleeping(SHORT, "-c", large, executable=sys.executable)
        pid = stack.enter_context(python)
        eventually(lambda: int(status(pid, "VmRSS")) > 64 << 10, "it is large")
        with pytest.raises(UsageError) as caught:
            process_id(SHORT)
    assert [int(row.split()[0]) for row in caught.value.remedies[1:]] == [pid, small]


def test_a_name_that_no_program_has_is_told():
    with pytest.raises(NotFoundError, match="no process runs a program called no-such-program"):
        process_id("no-such-program")


@pytest.mark.parametrize("text", ["", "a/b", "/usr/bin/sleep"])
def test_what_can_be_no_name_is_a_usage_error(text):
    with pytest.raises(UsageError, match="neither a process id nor a program's name"):
        process_id(text)
