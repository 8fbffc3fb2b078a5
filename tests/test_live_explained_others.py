"""What docs/explaining-rss.md shows of others than its two servers: workers that were forked, a
Python, and a server with another allocator.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alike import differences
from demos import FIRST, demo_program
from live import Inferior, environment, eventually, heapx
from telling import Step, as_on_the_page, said_by, steps_of
from test_live_explaining import MB, pytestmark

__all__ = ["pytestmark"]

JEMALLOC = Path(f"/usr/lib/{platform.machine()}-linux-gnu/libjemalloc.so.2")


def part(heading: str) -> str:
    """Return the part of the page from a heading, or from bold words, up to the next."""
    return re.split(r"^(?:## |\*\*\w)", FIRST.split(heading)[1], maxsplit=1, flags=re.M)[0]


def not_seen(steps: list[Step], live: Mapping[str, int]) -> str:
    """Return in what the answers differ from the page, whose process ids stand for these."""
    found = []
    for command, shown in steps:
        said = said_by(command, {page: str(pid) for page, pid in live.items()})
        for page, pid in live.items():
            said = as_on_the_page(said, page, pid)
        found += [f"{command}: {each}" for each in differences(shown, said)]
    return "\n".join(found)


def page_id(steps: list[Step]) -> str:
    """Return the process id that the commands of the page are about."""
    (pid,) = {re.findall(r"-p (\d+)", command)[0] for command, _ in steps}
    return pid


# Workers.

FORKED = part("\n## Forked workers")
WORKERS = steps_of(FORKED)
ROW = r"^\| (before|that .*?|all .*?) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$"


class Forks(NamedTuple):
    parent: Inferior
    workers: list[int]

    @property
    def pids(self) -> list[int]:
        return [self.parent.pid, *self.workers]

    def trimmed(self, pid: int) -> None:
        """Let one of them call malloc_trim(0), and wait until it has."""
        own = "" if pid == self.parent.pid else f"-{self.workers.index(pid)}"
        os.kill(pid, signal.SIGUSR1)
        eventually((self.parent.oracle.directory / f"trimmed{own}").exists, f"{pid} has trimmed")

    def row(self) -> str:
        """Return what the kernel says of the first worker, and of all, in KiB."""
        first = rolled_up(self.workers[0])
        return f"{first['Rss']} {first['Pss']} {sum(rolled_up(pid)['Pss'] for pid in self.pids)}"


def rolled_up(pid: int) -> dict[str, int]:
    """Return the sums of /proc/PID/smaps_rollup in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(kib) for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


@pytest.fixture
def family(start: Any) -> Forks:
    (words,) = re.findall(r"forked\.c`\s+with `([\d ]+)`", FORKED)
    parent = start("forked", *words.split(), env={"HEAPX_THEN": "0"})
    return Forks(parent, [int(pid) for kind, pid in parent.oracle.known if kind == "worker"])


def test_a_worker_is_seen_as_on_the_page(family):
    parent = re.findall(r"process\s+(\d+), the parent", FORKED)[0]
    live = {page_id(WORKERS): family.workers[0], parent: family.parent.pid}
    assert not_seen(WORKERS, live) == ""


def test_what_trimming_workers_gives_is_seen_again(family):
    rows = re.findall(ROW, FORKED, re.M)
    assert len(rows) == 3
    found = [family.row()]
    family.trimmed(family.workers[0])
    found.append(family.row())
    for pid in (family.parent.pid, *family.workers[1:]):
        family.trimmed(pid)
    found.append(family.row())
    shown = [" ".join(figures).replace(",", "") for _, *figures in rows]
    assert [differences(f"{a} KiB", f"{b} KiB") for a, b in zip(shown, found)] == [[]] * 3


def test_ps_counts_shared_pages_of_each_worker(family):
    each, together, taken = re.findall(
        r"says (\d+) MiB of each of the four, ([\d,]+) MiB in all; they take (\d+)", FORKED
    )[0]
    rss = [rolled_up(pid)["Rss"] / 1024 for pid in family.pids]
    pss = sum(rolled_up(pid)["Pss"] for pid in family.pids) / 1024
    assert all(abs(one - int(each)) < 1.5 for one in rss)
    assert differences(f"{together} MiB {taken} MiB", f"{sum(rss):.0f} MiB {pss:.0f} MiB") == []


# A Python.

RUNTIME = part("\n**A runtime's memory.**")


@contextmanager
def ready(*words: Any, **env: str) -> Iterator[int]:
    """Start a program, and return its id when it says that it is ready."""
    command, env = [str(word) for word in words], environment(**env)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            assert f"ready {process.pid}\n" in iter(process.stdout.readline, "")
            yield process.pid
        finally:
            process.kill()


def test_a_python_is_seen_as_on_the_page():
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("the page is about Python 3.11")
    (keeps,) = re.findall(r"^```python\n(.*)\n^```", RUNTIME, re.M)
    lines = (
        "import os, signal",
        keeps,
        "print('ready', os.getpid(), flush=True)",
        "signal.pause()",
    )
    with ready("/usr/bin/python3.11", "-c", "\n".join(lines)) as pid:
        steps = steps_of(RUNTIME)
        assert not_seen(steps, {page_id(steps): pid}) == ""


# Another allocator.

ELSEWHERE = part("\n**Another allocator.**")


@pytest.mark.skipif(not JEMALLOC.exists(), reason="needs libjemalloc2")
def test_the_server_with_jemalloc_is_seen_as_on_the_page(tmp_path):
    with ready(demo_program(tmp_path), MB, LD_PRELOAD=JEMALLOC.name) as pid:
        steps = steps_of(ELSEWHERE)
        answer = heapx("-p", pid, env=environment(COLUMNS="80"))
        assert answer.status == 3
        assert differences(steps[0].shown, as_on_the_page(answer.out, page_id(steps), pid)) == []
        refused = heapx("-p", pid, "arenas")
        assert (refused.status, refused.out) == (3, "")
        assert "jemalloc, not glibc, serves malloc here" in refused.err
