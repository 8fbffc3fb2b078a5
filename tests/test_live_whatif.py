"""What heapx says that free() and malloc_trim would return, if chunks were free, they then do."""

from __future__ import annotations

import json
import os
import signal
from itertools import product
from typing import Any

import pytest
from live import Inferior, eventually, gcore, resident, running, session
from releases import glibc_of

pytestmark = pytest.mark.live

MIB = 1 << 20
NO_TCACHE = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
ASK = """
import gdb_heapx, json
def said(amount): return amount and [amount.bytes, amount.resident]
def both(it): return [said(it.by_free), said(it.by_trim)]
def told(arena):
    it = arena.whatif
    pins = [[p.kind.value, p.address, p.size, p.chunks, p.state.name, p.threads, p.heap,
             said(p.held)] for p in it.pins]
    alike = it.alike and [it.alike.size, it.alike.chunks, said(it.alike.held)]
    return {"now": both(it.now), "tcaches": both(it.tcaches), "pins": pins, "alike": alike,
            "threads": {lwp: said(amount) for lwp, amount in it.threads.items()},
            "heaps": [[h.address, h.address + h.reserved] for h in arena.heaps]}
print(json.dumps([told(arena) for arena in gdb_heapx.snapshot().arenas()]))
"""


def foretold(*target: Any) -> list[dict[str, Any]]:
    """Return what would be returned of each arena of a process or a core: [bytes, resident]."""
    answer = session(f"python exec({ASK!r})", target=target)
    lines = [line for line in answer.out.splitlines() if line.startswith("[{")]
    assert lines, answer.err + answer.out
    return json.loads(lines[0])


def in_heaps(pid: int, arena: dict[str, Any]) -> int:
    """Return the resident bytes of an arena's heaps, by the kernel."""
    total = 0
    for line, rss in resident(pid).items():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        total += rss * any(start < high and low < end for low, high in arena["heaps"])
    return total << 10


class Stepping:
    """A program that lets something go at each step."""

    def __init__(self, inferior: Inferior) -> None:
        self.pid, self._said = inferior.pid, inferior.oracle.directory / "step"
        self._steps = 0

    def step(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)
        self._steps += 1
        eventually(lambda: self._reached() == self._steps, f"step {self._steps}")

    def _reached(self) -> int:
        return int(self._said.read_text()) if self._said.exists() else 0

    def fall(self, arena: dict[str, Any]) -> int:
        """Do a step, and return by how much an arena's heaps then fall in RAM."""
        before = in_heaps(self.pid, arena)
        self.step()
        return before - in_heaps(self.pid, arena)


def let_go(start, scenario: str, *how: str, **options: Any) -> tuple[Stepping, int]:
    """Start a program, and return it with the number of its arena."""
    return Stepping(start("whatif", scenario, *how, **options)), 1 if how else 0


# The tcache of a thread that ends.


@pytest.mark.parametrize("scenario", ["below_medium", "between_cached", "crumbs"])
def test_a_thread_that_ends_gives_what_its_tcache_held_back(scenario, start):
    program, arena = let_go(start, scenario, "thread", "ends")
    said = foretold("-p", program.pid)[arena]
    (ended,) = said["threads"].values() if said["threads"] else [[0, 0]]
    assert ended == said["tcaches"][0]
    assert program.fall(said) == ended[1]
    trimmed = program.fall(said)
    assert trimmed == said["tcaches"][1][1]
    assert ended[1] + trimmed > 100 << 10


# A second run without tcaches.


@pytest.mark.parametrize("scenario", ["below_small", "below_medium"])
@pytest.mark.parametrize("how", [(), ("thread",)])
@pytest.mark.few(1)
def test_a_restart_without_tcaches_gives_what_they_held_back(scenario, how, start):
    program, arena = let_go(start, scenario, *how)
    other, _ = let_go(start, scenario, *how, env=NO_TCACHE)
    said, without = foretold("-p", program.pid)[arena], foretold("-p", other.pid)[arena]
    fell = in_heaps(program.pid, said) - in_heaps(other.pid, without)
    assert said["tcaches"][0][1] > 50 * MIB
    assert abs(fell - said["tcaches"][0][1]) <= 4096  # the arena's first page
    assert not without["tcaches"][0][1]


# Pins that are freed, one after the other, where nothing is cached.

SETTINGS = {
    "as it is": {},
    "a large top_pad": {"MALLOC_TOP_PAD_": str(3 * MIB)},
    "a small one": {"MALLOC_TOP_PAD_": "0", "MALLOC_TRIM_THRESHOLD_": "4096"},
    "a large trim_threshold": {"MALLOC_TRIM_THRESHOLD_": str(20 * MIB)},
}


def pins_freed():
    """Yield all ways; by default each way without a setting, and each setting in one way."""
    for scenario, how, settings in product(
        ("few", "runs", "heaps", "locked"), ((), ("thread",)), SETTINGS
    ):
        usual = settings == "as it is" or (scenario, how) == ("heaps", ("thread",))
        yield pytest.param(scenario, how, settings, marks=() if usual else pytest.mark.slow)


@pytest.mark.parametrize(("scenario", "how", "settings"), [*pins_freed()])
@pytest.mark.few(1)
def test_a_pin_that_is_freed_gives_what_it_held(scenario, how, settings, start):
    program, arena = let_go(start, scenario, *how, env={**NO_TCACHE, **SETTINGS[settings]})
    fell = 0
    for _ in range(5):
        said = foretold("-p", program.pid)[arena]
        pin = next(iter(said["pins"]), None)
        for _ in range(pin[3] - 1 if pin else 0):
            assert not program.fall(said)
        fall = program.fall(said)
        assert fall == (pin[-1][1] if pin else 0)
        fell += fall
    assert not said["threads"]
    kept = scenario == "runs" and settings in ("a large top_pad", "a large trim_threshold")
    unadvised = scenario == "locked" and how == ("thread",)  # madvise fails there
    assert (fell > 0) != (kept or unadvised)


@pytest.mark.few(1)
@pytest.mark.parametrize("scenario", ["runs", "heaps"])
@pytest.mark.parametrize("how", [(), ("thread",)])
def test_the_last_chunks_of_one_size_give_together_what_they_held(scenario, how, start):
    program, arena = let_go(start, scenario, *how, env=NO_TCACHE)
    said = foretold("-p", program.pid)[arena]
    size, chunks, (_, held) = said["alike"]
    assert size == {"runs": 112, "heaps": (100 << 10) + 16}[scenario]
    assert chunks > 1
    assert sum(program.fall(said) for _ in range(chunks)) == held > MIB


# Other releases: 2.41 bins small chunks at once, 2.43 has no fastbins. And a core.


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["bullseye", "trixie", "sid", "experimental"])
@pytest.mark.parametrize("scenario", ["few", "heaps", "between_cached"])
def test_other_releases_do_what_is_said(suite, scenario, tmp_path):
    glibc = glibc_of(suite)
    exe = glibc.build("whatif", tmp_path)
    how = ("thread", "ends") if scenario == "between_cached" else ("thread",)
    env = {} if scenario == "between_cached" else NO_TCACHE
    with running(exe, scenario, *how, directory=tmp_path / "run", env=env) as inferior:
        program, fell = Stepping(inferior), 0
        said = foretold(*glibc.symbols, "-p", program.pid)[1]
        if scenario == "between_cached":
            held = [amount for _, amount in said["threads"].values()]
        else:
            held = [said["pins"][0][-1][1]]
            for _ in range(said["pins"][0][3] - 1):
                assert not program.fall(said)
        fell = program.fall(said)
        assert [fell] == held
        assert fell > MIB


@pytest.mark.slow
def test_a_core_has_the_same_pins_and_address_space_for_what_they_hold(start, tmp_path):
    program, arena = let_go(start, "heaps", "thread", env=NO_TCACHE)
    live = foretold("-p", program.pid)[arena]
    core = gcore(program.pid, tmp_path / "core")
    dead = foretold("-c", core)[arena]
    core.unlink()
    assert [pin[:-1] for pin in dead["pins"]] == [pin[:-1] for pin in live["pins"]]
    assert all(ours[-1][0] >= theirs[-1][1] for ours, theirs in zip(dead["pins"], live["pins"]))
    assert not any(pin[-1][1] for pin in dead["pins"])
