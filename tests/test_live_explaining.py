"""Each figure of the first case of docs/explaining-rss.md is seen again as its commands run.

The demo is as large as on the page, and each process in the state that the page tells of.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from alike import differences
from demos import FIRST, Server, demo_program, serving
from live import HEAPX, TIMEOUT, environment, eventually, status
from telling import Step, as_on_the_page, said_by, steps_of

MB = 2048
STORY = FIRST.split("\n## The cure")[0]
STEPS = steps_of(STORY)
PIDS = list(dict.fromkeys(re.findall(r"(?<=-p )\d+", " ".join(c for c, _ in STEPS))))
(ONE_ARENA,) = (re.findall(r"\d+", c)[0] for c, answer in STEPS if "malloc got nothing" in answer)


def free_mib() -> int:
    (line,) = re.findall(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())
    return int(line) >> 10


pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(free_mib() < 3 * MB, reason="needs 6 GiB of memory"),
    pytest.mark.skipif(platform.libc_ver() != ("glibc", "2.36"), reason="the page is about 2.36"),
]


class Telling:
    """The processes of the page, each started before its first command, ended after its last."""

    def __init__(self, program: Path, steps: list[Step], *gdb: str) -> None:
        self.program, self.steps, self.gdb = program, steps, gdb
        self.servers: dict[str, Server] = {}
        self.ends: dict[str, ExitStack] = {}
        self.pinning = ""  # the chunk that the page looks at

    def differences(self) -> list[str]:
        """Return in what the answers differ from what the page shows."""
        found = []
        for number, (command, shown) in enumerate(self.steps):
            page = self._process(command)
            server = self.servers[page]
            said = as_on_the_page(self._answer(command, server, page), page, server.pid)
            found += [f"{command}: {each}" for each in differences(shown, said)]
            if not any(page in later for later, _ in self.steps[number + 1 :]):
                self.ends.pop(page).close()
        return found

    def _process(self, command: str) -> str:
        """Return the page's number of the process that a command is about, which runs then."""
        page = next(p for p in PIDS if re.search(rf"\b{p}\b", command))
        if page not in self.servers:
            self.ends[page] = ExitStack()
            env = {"MALLOC_ARENA_MAX": "1"} if page == ONE_ARENA else {}
            self.servers[page] = self.ends[page].enter_context(serving(self.program, MB, **env))
        return page

    def _answer(self, command: str, server: Server, page: str) -> str:
        live = {page: str(server.pid)}
        if command.startswith("kill"):
            self._export(server)
            return ""
        if " growth " in command:
            return self._watched(server, command.replace(page, live[page]).split()[1:])
        live.update(dict.fromkeys(re.findall("0x[0-9a-f]+", command), self.pinning))
        said = said_by(command, live, *self.gdb)
        if command.endswith(" why"):
            self.pinning = re.findall(r"chunk (0x\w+) of \d+ bytes, in\s+use", said)[0]
        return said

    def _watched(self, server: Server, words: list[str]) -> str:
        """Return what heapx growth says while the server exports."""
        with subprocess.Popen(
            [HEAPX, *words],
            env=environment(COLUMNS="80"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            eventually(lambda: status(server.pid, "TracerPid") != "0", "heapx watches")
            eventually(lambda: status(server.pid, "State") != "t", "the server runs on")
            self._export(server)
            return process.communicate(timeout=TIMEOUT)[0]

    def _export(self, server: Server) -> None:
        os.kill(server.pid, signal.SIGUSR1)
        assert next(server.lines).startswith("exported ")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_program(tmp_path_factory.mktemp("demo"))


NOW = next(number for number, (command, _) in enumerate(STEPS) if "--now" in command)


def test_each_figure_up_to_what_can_be_given_back_is_seen_again(program):
    found = Telling(program, STEPS[:NOW]).differences()
    assert not found, "\n".join(found)


def test_each_figure_of_giving_it_back_is_seen_again(program, calling_gdb):
    found = Telling(program, STEPS[NOW:], "--gdb", calling_gdb).differences()
    assert not found, "\n".join(found)
