"""Roots of a process and of its cores: what the program says of its own places."""

from __future__ import annotations

import json
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from platform import machine
from typing import Any, NamedTuple

import pytest
from live import Inferior, eventually, gcore, kernel_core, running, session
from releases import glibc_of

pytestmark = pytest.mark.live

OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44
MAGIC = 0x5EED0000
UPPER = int.from_bytes(b"in a ymm", "little")


class Place(NamedTuple):
    """What the program says of one address: see inferiors/roots.c."""

    kind: str
    lwp: int
    address: int
    name: str


def places(inferior: Inferior) -> list[Place]:
    known = inferior.oracle.known
    return [Place(kind, int(lwp), int(address, 16), name) for kind, lwp, address, name in known]


@dataclass(frozen=True)
class Found:
    """The roots as gdb_heapx finds them."""

    said: dict[str, Any]

    def at(self, address: int) -> list[Any] | None:
        spans = self.said["spans"]
        index = bisect_right([span[1] for span in spans], address) - 1
        found = spans[index] if index >= 0 else None
        return found if found and address < found[2] else None

    def kind(self, place: Place) -> tuple[str, int]:
        """Return what a place is, and whose, as the program would say it."""
        found = self.at(place.address)
        return (found[0].lower(), found[3] or 0) if found else ("none", 0)

    def words(self, lwp: int) -> set[int]:
        registers = self.said["registers"]
        return {word for of, _, words, kind in registers if of == lwp for word in words if kind}

    def name(self, place: Place) -> tuple[int | None, str | None, str | None, int]:
        """Return whose a place is, its file's path, its name, and how far into that it is."""
        return tuple(self.said["names"][str(place.address)])

    @property
    def missed(self) -> list[str]:
        return [kind for kind, *_ in self.said["missed"]]


def roots(
    directory: Path, *target: Any, shared: bool = False, named: Sequence[Place] = ()
) -> Found:
    """Return the roots of a process or a core, and what these places are called."""
    addresses = [place.address for place in named]
    out, tests = directory / "roots.json", str(Path(__file__).parent)
    lines = (
        f"python import sys; sys.path.insert(0, {tests!r})",
        f"python import rooted; rooted.write({str(out)!r}, {shared}, {addresses})",
    )
    result = session(*lines, target=target)
    assert out.exists(), result.err
    return Found(json.loads(out.read_text()))


def check(found: Found, known: list[Place], others: dict[str, tuple[str, int]]) -> None:
    """Compare each place; `others` are what places of some kinds are instead."""
    assert len(known) > 30
    for place in known:
        if place.kind not in ("registers", "kernel"):
            expected = others.get(place.kind, (place.kind, place.lwp))
            whose = 0 if expected[0] == "none" else expected[1]
            assert (*place, found.kind(place)) == (*place, (expected[0], whose))


NOT_ASKED = {"shared": ("none", 0)}


@pytest.fixture(scope="module")
def inferior(start_once: Callable[..., Inferior]) -> Inferior:
    return start_once("roots")


@pytest.fixture(scope="module")
def live(inferior: Inferior, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return roots(tmp_path_factory.mktemp("roots"), "-p", inferior.pid)


def test_every_place_of_a_process_is_a_root_of_its_kind_or_none(inferior, live):
    check(live, places(inferior), NOT_ASKED)


def test_shared_memory_is_a_root_where_asked_for_else_its_bytes_are_told(inferior, live, tmp_path):
    (told,) = [each for each in live.said["missed"] if each[0] == "SHARED"]
    assert (told[2], told[3]) == (256 << 10, False)
    asked = roots(tmp_path, "-p", inferior.pid, shared=True)
    check(asked, places(inferior), {})
    assert "SHARED" not in asked.missed


def test_general_vector_and_mmx_registers_of_each_thread_are_read(inferior, live):
    asked = [place for place in places(inferior) if place.kind == "registers"]
    assert asked or not live.said["registers"]
    for place in asked:
        words = live.words(place.lwp)
        assert {MAGIC + 1, MAGIC + 2, MAGIC + 6} <= words
        assert (UPPER in words) == (place.name == "ymm")


def test_what_the_kernel_keeps_for_epoll_and_timers_is_read_of_a_process_and_missed_in_a_core(
    inferior, live, tmp_path
):
    expected = {(inferior.pid, p.address) for p in places(inferior) if p.kind == "kernel"}
    kept = [each for each in live.said["registers"] if each[3] == "KERNEL"]
    assert {(lwp, *words) for lwp, _, words, _ in kept} == expected
    assert "KERNEL" not in live.missed
    core = roots(tmp_path, inferior.exe, gcore(inferior.pid, tmp_path / "core"))
    (told,) = (each for each in core.said["missed"] if each[0] == "KERNEL")
    assert "epoll" in told[1]
    assert "timers" in told[1]
    assert not told[3]


def test_a_stack_is_live_from_the_stack_pointer_on_with_the_red_zone_below(inferior, live):
    stacks = {span[3]: span for span in live.said["spans"] if span[0] == "STACK"}
    zones = {span[3]: span for span in live.said["spans"] if span[0] == "RED_ZONE"}
    pointers = stack_pointers(inferior.pid)
    assert len(stacks) > 3
    for lwp, (_, start, *_) in stacks.items():
        assert start == pointers[lwp]
        assert zones[lwp][1:3] == [start - 128, start]


def stack_pointers(pid: int) -> dict[int, int]:
    """Return the stack pointers as the kernel tells them of threads that wait."""
    tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return {task: eventually(partial(stack_pointer, pid, task), "it waits") for task in tasks}


def stack_pointer(pid: int, lwp: int) -> int | None:
    words = Path(f"/proc/{pid}/task/{lwp}/syscall").read_text().split()
    return int(words[-2], 16) if len(words) > 2 else None


def test_roots_are_in_order_and_do_not_overlap(live):
    spans = [(span[1], span[2]) for span in live.said["spans"]]
    assert all(start < end for start, end in spans)
    assert all(before[1] <= behind[0] for before, behind in zip(spans, spans[1:]))


def test_every_byte_that_can_be_written_is_a_root_or_not_for_a_reason(inferior, live):
    """Heaps, mmapped chunks, what lies below stack pointers and stacks without threads are none."""
    for line in Path(f"/proc/{inferior.pid}/maps").read_text().splitlines():
        span, permissions, _, _, _, *name = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if permissions == "rw-p" and name and name[0].startswith("/"):
            assert live.at(start) or live.at(end - 8), line


@pytest.mark.parametrize("make", [gcore, None], ids=["gcore", "kernel"])
def test_a_core_has_the_roots_of_the_process(start, tmp_path, make):
    inferior = start("roots")
    before = roots(tmp_path, "-p", inferior.pid)
    core = make(inferior.pid, tmp_path / "core") if make else kernel_core(inferior)
    after = roots(tmp_path, inferior.exe, core)
    check(after, places(inferior), NOT_ASKED)
    for place in places(inferior):
        if place.kind == "registers":
            assert {MAGIC + 1, MAGIC + 2, MAGIC + 6} <= after.words(place.lwp) & before.words(
                place.lwp
            )


@pytest.mark.slow
def test_of_a_core_from_which_the_program_left_memory_out_that_is_told(start, tmp_path):
    missed = []
    for way in ("", "dontdump"):
        core = kernel_core(started := start("roots", *filter(None, [way])))
        told = roots(tmp_path, started.exe, core).said["missed"]
        missed.append(sum(m[2] for m in told if "isn't in the core" in m[1]))
    assert missed[1] - missed[0] == 256 << 10


def test_of_gcores_core_it_is_told_that_the_program_may_have_left_memory_out(start, tmp_path):
    core = gcore((started := start("roots", "dontdump")).pid, tmp_path / "core")
    told = roots(tmp_path, started.exe, core).said["missed"]
    assert len([each for each in told if "MADV_DONTDUMP" in each[1]]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "arch"), [*((suite, "amd64") for suite in OTHERS), ("sid", "i386")]
)
def test_on_other_releases_every_place_is_a_root_of_its_kind_or_none(tmp_path, suite, arch):
    glibc = glibc_of(suite, arch)
    exe = glibc.build("roots", tmp_path)
    with running(exe, directory=tmp_path / "run") as inferior:
        found = roots(tmp_path, *glibc.symbols, "-p", inferior.pid)
        check(found, places(inferior), NOT_ASKED)
        core = roots(tmp_path, *glibc.symbols, exe, kernel_core(inferior))
    check(core, places(inferior), NOT_ASKED)


@pytest.mark.skipif(machine() != "x86_64", reason="elsewhere its own stack counts whole")
@pytest.mark.parametrize("where", ["signal", "inside"])
def test_where_a_thread_runs_on_a_signal_stack_its_own_is_live_from_where_the_signal_came(
    start, tmp_path, where
):
    inferior = start("roots", where)
    found, known = roots(tmp_path, "-p", inferior.pid), places(inferior)
    own = [place for place in known if place.lwp == inferior.pid]
    assert {place.name for place in own} >= {"handler", "interrupted", "local", "below"}
    check(found, [place for place in known if place.name != "below"], NOT_ASKED)
    below = [place for place in known if place.name == "below"]
    assert [found.kind(place) for place in below if place not in own] == [("none", 0)] * 2
    assert [each for each in found.said["missed"] if each[0] == "STACK"] == []
    core = roots(tmp_path, "-c", gcore(inferior.pid, tmp_path / "core"))
    assert [found.kind(place) for place in known] == [core.kind(place) for place in known]
    assert "STACK" not in core.missed


def test_where_a_thread_runs_on_a_fiber_its_own_stack_counts_whole_and_that_is_told(
    start, tmp_path
):
    inferior = start("roots", "fiber")
    found, known = roots(tmp_path, "-p", inferior.pid), places(inferior)
    below = [place for place in known if place[:2] == ("none", inferior.pid)]
    assert {place.name for place in below} == {"below"}
    assert any(place.name == "handler" for place in known)
    check(found, [place for place in known if place not in below], NOT_ASKED)
    assert [found.kind(place) for place in below] == [("stack", inferior.pid)]
    (told,) = [each for each in found.said["missed"] if each[0] == "STACK"]
    assert str(inferior.pid) in told[1]
    assert told[3]


# What places are called.

VARIABLES = ("initialised", "zeroed", "relocated", "local_zeroed", "local_initialised")


def test_variables_are_named_by_symbols_and_values_of_keys_by_their_key(inferior, tmp_path):
    known = places(inferior)
    found = roots(tmp_path, "-p", inferior.pid, named=known)
    asked = [place for place in known if place.name in VARIABLES]
    assert {place.kind for place in asked} == {"global", "tls"}
    for place in asked:
        assert found.name(place) == (place.lwp or None, str(inferior.exe), place.name, 0)
    keys = [place for place in known if place.kind == "key"]
    assert keys
    for place in keys:
        assert found.name(place)[:3] == (place.lwp, None, "pthread key 0")
    assert {found.name(p)[2] for p in known if p.name == "errno"} <= {"errno", "__libc_errno"}
    (stdout,) = (place for place in known if place.name == "stdout")
    assert found.name(stdout)[2:] == ("_IO_2_1_stdout_", 0)


def test_a_place_on_a_stack_is_named_by_its_distance_from_the_stack_pointer(inferior, tmp_path):
    known = [place for place in places(inferior) if place.kind == "stack"]
    found, pointers = roots(tmp_path, "-p", inferior.pid, named=known), stack_pointers(inferior.pid)
    for place in known:
        assert found.name(place) == (place.lwp, None, None, place.address - pointers[place.lwp])


STRIPPED = ("strip", "{file}")
LINKED = (
    ("objcopy", "--only-keep-debug", "{file}", "{file}.debug"),
    ("objcopy", "--strip-all", "--add-gnu-debuglink={file}.debug", "{file}"),
)


@pytest.mark.parametrize("steps", [(STRIPPED,), LINKED], ids=["stripped", "linked"])
def test_variables_of_a_stripped_program_are_named_by_its_debug_file_else_by_section(
    inferiors, tmp_path, steps
):
    file = tmp_path / "stripped"
    shutil.copy(inferiors / "roots", file)
    for step in steps:
        subprocess.run([word.format(file=file) for word in step], check=True, cwd=tmp_path)
    with running(file, directory=tmp_path / "run") as inferior:
        known = places(inferior)
        found = roots(tmp_path, "-p", inferior.pid, named=known)
    check(found, known, NOT_ASKED)
    sections = {"initialised": ".data", "zeroed": ".bss", "relocated": ".data.rel.ro"}
    for place in known:
        if place.name in sections:
            name = sections[place.name] if steps == (STRIPPED,) else place.name
            assert found.name(place)[1:3] == (str(file), name)
        elif place.name in VARIABLES:
            name = None if steps == (STRIPPED,) else place.name
            assert found.name(place)[:3] == (place.lwp, str(file), name)
