"""heapx pins: RSS falls by what a pin or a group held, to the page, once the program frees it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from live import ROOT, at_rest, eventually, gdb, look, table

pytestmark = pytest.mark.live

NO_TCACHE = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
HEADER = 2 * 8
HOW = [(), ("thread",)]
NOT_FREE = ("in use", "tcache", "overhead")


def rss(pid: int) -> int:
    """Return the Rss in bytes of the mappings that malloc may have made."""
    total, ours = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            _span, permissions, _offset, _device, inode, *name = words
            ours = (permissions, inode) == ("rw-p", "0") and name in ([], ["[heap]"])
        elif ours and words[0] == "Rss:":
            total += int(words[1]) << 10
    return total


class Program:
    """A program that frees what it is told to."""

    def __init__(self, inferior: Any, arena: int) -> None:
        self.pid, self.arena = inferior.pid, arena
        self.directory = inferior.oracle.directory
        self.made = [int(word, 16) for word in (self.directory / "kept").read_text().split()]
        self.kept = sorted(self.made)
        self._steps = 0

    def fall(self, how: str, blocks: list[int]) -> int:
        """Return by how much RSS falls when the program frees these, and then trims, or not."""
        before, self._steps = rss(self.pid), self._steps + 1
        (self.directory / "free").write_text(how + " ".join(f"{block:x}" for block in blocks))
        os.kill(self.pid, signal.SIGUSR1)
        said = self.directory / "step"
        eventually(lambda: said.exists() and int(said.read_text()) == self._steps, "a step")
        eventually(lambda: at_rest(self.pid), "rest")
        return before - rss(self.pid)

    def rows(self, group: str) -> list[dict[str, Any]]:
        report = look(self.pid, "pins", "--group", group)
        assert report["problems"] == []
        return [row for row in table(report) if row["arena"] == self.arena]

    def blocks(self, pin: dict[str, Any]) -> list[int]:
        """Return the blocks that a pin is; all must be kept ones."""
        first = self.kept.index(int(pin["address"], 16) + HEADER)
        return self.kept[first : first + pin["chunks"]]

    def sizes(self) -> dict[int, int]:
        """Return the chunk size of each kept block."""
        line = ("chunks", "--arena", str(self.arena), "--state", "in-use")
        found = {int(row["address"], 16): row["size"] for row in table(look(self.pid, *line))}
        return {block: found[block - HEADER] for block in self.kept}


@pytest.fixture
def scene(start):
    def begin(scenario: str, how: tuple[str, ...], **env: str) -> Program:
        inferior = start("pins", scenario, *how, env={**NO_TCACHE, **env})
        program = Program(inferior, 1 if how else 0)
        program.fall("t", [])  # what malloc_trim returns with all pins there
        return program

    return begin


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("scenario", ["sessions", "sparse"])
@pytest.mark.few(1)
def test_a_pin_of_pages_held_what_malloc_trim_returns_without_it(scenario, how, scene):
    program = scene(scenario, how)
    pins = [row for row in program.rows("none") if row["kind"] == "page"]
    assert len(pins) > 20
    many = [pin for pin in pins if pin["chunks"] > 1]
    chosen = {pin["address"]: pin for pin in (*pins[:3], *pins[-3:], *many[:3])}
    for pin in chosen.values():
        own = {*program.blocks(pin)}
        if not any(own & {*program.blocks(other)} for other in pins if other is not pin):
            assert program.fall("t", list(own)) == pin["held_resident"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_a_group_of_one_size_held_what_malloc_trim_returns_without_all_of_it(how, scene):
    program = scene("sessions", how)
    groups = [row for row in program.rows("size") if row["kind"] == "page"]
    group = groups[0]
    sizes = program.sizes()
    own = {b for row in program.rows("none") if row["kind"] == "page" for b in program.blocks(row)}
    blocks = [block for block in own if sizes[block] == group["size"]]
    assert len(blocks) >= group["pins"] > 20
    assert program.fall("t", blocks) == group["held_resident"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("group", ["arena", "looks"])
@pytest.mark.few(1)
def test_all_pins_of_pages_held_what_malloc_trim_returns_without_them(group, how, scene):
    """They all look alike: the program writes the same into each."""
    program = scene("sessions", how)
    (row,) = [row for row in program.rows(group) if row["kind"] == "page"]
    pins = [each for each in program.rows("none") if each["kind"] == "page"]
    blocks = {block for pin in pins for block in program.blocks(pin)}
    assert row["pins"] == len(blocks)
    assert program.fall("t", list(blocks)) == row["held_resident"]
    assert row["held_resident"] > 100 << 10


@pytest.mark.few(1)
@pytest.mark.parametrize("how", HOW)
def test_a_pin_below_top_held_what_free_returns_without_it(how, scene):
    program, seen = scene("sparse", how), 0
    for _ in range(4):
        (pin,) = [row for row in program.rows("none") if row["kind"] == "top"] or [None]
        if pin is None:
            break
        assert program.fall("f", program.blocks(pin)[::-1]) == pin["held_resident"]
        program.kept = [block for block in program.kept if block not in program.blocks(pin)]
        seen += 1
    assert seen


@pytest.mark.parametrize("how", HOW)
def test_the_last_chunks_of_one_size_held_what_free_returns_without_them(how, scene):
    program = scene("sparse", how)
    (group,) = [row for row in program.rows("size") if row["kind"] == "top"]
    assert program.fall("f", program.made[: -group["pins"] - 1 : -1]) == group["held_resident"] > 0


def test_a_heap_s_pin_held_what_free_returns_once_those_behind_it_are_gone(scene):
    program = scene("heaps", ("thread",))
    pins = [row for row in program.rows("none") if row["kind"] in ("top", "heap")]
    assert [pin["kind"] for pin in pins].count("heap") >= 2
    behind = program.made[::-1]
    pins.sort(key=lambda pin: behind.index(int(pin["address"], 16) + HEADER))
    for pin in pins:
        blocks = program.blocks(pin)
        while behind and behind[0] not in blocks:
            program.fall("f", [behind.pop(0)])
        assert program.fall("f", blocks[::-1]) == pin["held_resident"]
        behind = [block for block in behind if block not in blocks]


SESSIONS = """
import gdb
found = set()
main = gdb.selected_inferior()
for thread in main.threads():
    thread.switch()
    frame = gdb.newest_frame()
    while frame and frame.name() != 'work':
        frame = frame.older()
    if frame:
        frame.select()
        worker = gdb.parse_and_eval('*(struct worker *) self')
        session = worker['sessions']
        while session:
            found.add(int(session))
            session = session['next']
print('SESSIONS', *map(hex, sorted(found)))
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    server = directory / "demo_server"
    source = ROOT / "scripts" / "demo_server.c"
    subprocess.run(["gcc", "-O0", "-g", "-pthread", "-o", server, source], check=True)
    with subprocess.Popen([server, "64"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("ready"):
            pass
        yield process.pid, directory
        process.kill()


@pytest.mark.slow
def test_on_the_demo_the_pins_in_use_are_the_sessions(demo):
    pid, directory = demo
    script = directory / "sessions.py"
    script.write_text(SESSIONS)
    said = gdb(f"source {script}", target=("-p", pid), sourced=False)
    line = next(line for line in said.out.splitlines() if line.startswith("SESSIONS"))
    sessions = {int(word, 16) for word in line.split()[1:]}
    assert len(sessions) > 50
    pins = [row for row in table(look(pid, "pins", "--group", "none")) if row["arena"]]
    chunks = [row for row in table(look(pid, "chunks")) if row["arena"] and row["heap"]]
    kept = {int(r["address"], 16): r["state"] for r in chunks if r["state"] in NOT_FREE}
    order, pinning = sorted(kept), set[int]()
    for pin in pins:
        if pin["state"] == "in use":
            first = order.index(int(pin["address"], 16))
            pinning.update(order[first : first + pin["chunks"]])
    used = {chunk + HEADER for chunk in pinning if kept[chunk] == "in use"}
    assert used <= sessions
    tops = table(look(pid, "top"))
    last = {int(row["last_in_use"], 16) + HEADER for row in tops if row["last_in_use"]}
    assert sessions - used <= last  # those hold nothing if top, too, stays below a threshold
