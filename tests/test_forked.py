"""In a forked process: what is said of memory that others share, and of the parent's threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from heapbuilder import FREE, PAGE, USED, changed, up
from sessions import answer
from test_causes import MIB, WHOLE, Scene

from gdb_heapx.commands._notes import equation
from gdb_heapx.heap.left import LeftThread
from gdb_heapx.report.notes import sentence
from gdb_heapx.snapshots.forked import inherited_arenas, inherited_stacks
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.facts import Parent
from gdb_heapx.target.forks import parent_of
from gdb_heapx.target.pages import SHARED
from gdb_heapx.why.causes import find_causes
from gdb_heapx.why.order import Part
from gdb_heapx.why.sums import Case

PARENT = 4000


class Forked(Scene):
    """A scene whose arenas beside the main one have no thread, and were those of the parent's.

    Of `ended` arenas the threads have ended, `apart` are arenas that share no page, `unknown` ones
    of which the parent has nothing; without a `parent` nobody tells of one.
    """

    def __init__(self, parent=True, ended=(), apart=(), unknown=()) -> None:
        super().__init__()
        self.idle, self.parent, self.ended = True, parent, ended
        self.apart, self.unknown = apart, unknown

    def threads(self, count):
        super().threads(count)
        for arena in self.arenas[-count:]:
            if arena.index not in self.ended:
                self.heap.thread(arena, 0)  # without a LWP, and still with its arena
        return self

    def target(self):
        for arena in self.arenas:
            if not arena.top:
                self._end(arena, PAGE)
            for start, end in arena.heaps if arena.index not in self.apart else ():
                self.heap.residency.mark(start, end, SHARED)
        for cache in self.heap.caches:
            self.heap.residency.mark(*cache.stack, SHARED)  # if it has one
        target = super().target()
        unknown = [self.arenas[index].address for index in self.unknown]
        mappings = [m for m in target.space.mappings if not any(a in m for a in unknown)]
        parent = Parent(PARENT, tuple(mappings)) if self.parent else None
        return changed(target, parent=parent)


def found(scene, code):
    return next((each for each in find_causes(scene.snapshot()) if each.code == code), None)


# What malloc_trim would return.


def returnable(shared_pages, pages=64, runtimes=()):
    """Return what is said of a hole of so many whole pages, some of them shared."""
    scene = Scene()
    scene.main.used_up_to(up(scene.main.cursor + 32, PAGE))
    start = scene.main.add(FREE, (pages + 1) * PAGE)
    scene.main.add(USED, 64)
    scene.heap.residency.mark(start + PAGE, start + (1 + shared_pages) * PAGE, SHARED)
    causes = find_causes(replace(scene.snapshot(), runtimes=runtimes))
    return next(each for each in causes if each.code == "returnable")


def test_of_what_is_mostly_shared_it_is_said_what_is_private_and_that_the_parent_must_trim():
    finding = returnable(60)
    assert finding.bytes == 64 * PAGE
    first, _, rest = finding.statement.partition(": ")
    assert (
        first == "malloc_trim(0) would take 256 KiB from RSS now, but only 16 KiB of it is private"
    )
    assert rest.startswith("the rest stays in RAM until all processes that share it")
    assert finding.evidence == ("arena 0: 256 KiB of RAM, 16 KiB of it private",)
    assert finding.remedy.startswith("malloc_trim(0) in the parent before it forks.")


def test_a_parent_that_is_a_python_trims_by_a_call_of_its_own():
    remedy = returnable(60, runtimes=("CPython",)).remedy
    assert remedy.startswith("ctypes.CDLL(None).malloc_trim(0) in the parent before it forks.")


@pytest.mark.parametrize(("private", "worth"), [(0, None), (4, None), (16, 16 * PAGE)])
def test_what_little_is_private_is_no_worth(private, worth):
    told = returnable(64 - private).worth
    assert worth == (told and told.bytes)


def test_the_first_screen_of_24_lines_says_that_the_parent_must_trim():
    text = answer("", Forked(ended=[1, 2]).threads(2).holes(8 * MIB).snapshot()).text
    assert " of RSS is shared with other processes since a fork; PSS is " in text
    assert "before it forks" in text
    assert len(text.splitlines()) <= 24, text


@pytest.mark.parametrize(("shared", "told"), [(0, False), (6, False), (7, True), (64, True)])
def test_a_tenth_that_is_shared_is_worth_a_sentence(shared, told):
    assert ("private" in returnable(shared).statement) == told
    assert ("before it forks" in returnable(shared).remedy) == told


def test_the_parent_is_named_where_it_is_known():
    finding = found(Forked().threads(1).holes(), "returnable")
    assert finding.remedy.startswith(f"malloc_trim(0) in the parent, process {PARENT}, before")


# The arenas and stacks of the parent's threads.


def test_arenas_that_came_with_a_fork_are_the_parents():
    scene = Forked().threads(2).holes()
    assert [each.index for each in inherited_arenas(scene.snapshot())] == [1, 2]
    finding = found(scene, "parents_arenas")
    assert finding.bytes == 2 * (MIB + PAGE)
    assert finding.statement.startswith("2 arenas came with the fork: their threads stayed in")
    assert f"process {PARENT}" in finding.statement
    assert finding.remedy.startswith("In the parent: malloc_trim(0) before it forks")
    assert found(scene, "idle_arenas") is None


@pytest.mark.parametrize(
    "scene",
    [Forked(parent=False), Forked(ended=[1]), Forked(unknown=[1])],
    ids=["no parent", "its thread has ended", "not mapped by the parent"],
)
def test_where_that_is_not_proven_an_arena_without_a_thread_is_just_that(scene):
    scene.threads(1).holes()
    assert inherited_arenas(scene.snapshot()) == ()
    assert found(scene, "parents_arenas") is None
    assert found(scene, "idle_arenas").bytes == MIB + PAGE


@pytest.mark.parametrize("code", ["parents_arenas", "idle_arenas"])
def test_what_is_told_of_arenas_without_a_thread_is_about_all_that_is_free_there(code):
    scene = Forked(ended=[1] if code == "idle_arenas" else []).threads(1).holes()
    finding = found(scene, code)
    assert sum(finding.about.values()) == finding.bytes
    assert any(part is Part.EDGES and size for (part, _), size in finding.about.items())


def test_a_parent_that_was_forked_itself_may_have_them_from_further_back():
    assert Parent(PARENT, ()).name == f"process {PARENT}, the parent"
    assert Parent(PARENT, (), True).name.endswith(
        "the parent, or a process that it was forked from"
    )


def test_an_arena_with_a_thread_is_not_the_parents():
    scene = Forked().threads(1).holes()
    scene.idle = False
    assert found(scene, "parents_arenas") is None
    assert found(scene, "idle_arenas") is None


def test_each_arena_is_told_apart_by_itself():
    scene = Forked(ended=[2]).threads(2).holes()
    assert found(scene, "parents_arenas").statement.startswith("1 arena came with the fork: its")
    assert found(scene, "idle_arenas").bytes == MIB + PAGE


@pytest.mark.parametrize(("left", "parent", "number"), [(1, True, 1), (1, False, 0), (0, True, 0)])
def test_the_stacks_of_threads_that_a_fork_has_left_are_the_parents(left, parent, number):
    scene = Forked(parent=parent)
    scene.heap.stack(scene.heap.thread(scene.main, 77), MIB)
    snapshot = scene.snapshot()
    (stack,) = snapshot.stacks
    threads = (LeftThread(stack.end - PAGE, scene.main.address),)  # TLS is at a stack's end
    snapshot = replace(snapshot, left=threads[:left])
    assert [each.amount.bytes for each in inherited_stacks(snapshot)] == [MIB] * number
    stacks = [each.bytes for each in find_causes(snapshot) if each.code == "parents_stacks"]
    assert stacks == [MIB - PAGE] * number  # but for its guard


# The equation.


def test_the_private_parts_of_the_equation_add_up_to_private_memory():
    case = Case(Forked(apart=[2]).threads(2).holes().snapshot())
    told = equation(case).values
    usages = [m.usage for m in case.snapshot.target.mappings if m.usage]
    private = dict(told["private"])
    assert private.pop("whole") == sum(usage.resident - usage.shared for usage in usages)
    assert sum(private.values()) == told["private"]["whole"]
    assert private.keys() == told["parts"].keys()
    assert all(0 <= private[name] <= size for name, size in told["parts"].items())
    assert " private) = " in sentence(equation(case))


def test_where_nothing_is_shared_nothing_is_said_to_be_private():
    assert "private" not in sentence(equation(Case(Scene().holes().snapshot())))


def test_what_the_main_arenas_trim_returns_is_private_or_shared():
    scene = Forked(apart=[0]).threads(1).holes()
    own, parents = (arena.trim for arena in take(scene.target()).arenas())
    assert own.returned_private == own.returned
    assert (parents.returned, parents.returned_private) == (WHOLE, 0)


# Who forked it: by the kernel's own word.


@contextmanager
def child(then=None) -> Iterator[int]:
    """Fork this process; the child calls `then`, and waits."""
    ready, hold = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(hold[1])
        if then:
            then()
        os.write(ready[1], b"x")
        os.read(hold[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        yield pid
    finally:
        os.close(hold[1])
        os.waitpid(pid, 0)
        for end in (*ready, hold[0]):
            os.close(end)


def test_a_child_that_has_executed_nothing_has_a_parent():
    with child() as pid:
        parent = parent_of(pid)
    assert parent is not None
    assert parent.pid == os.getpid()
    heap = next(
        line for line in Path("/proc/self/maps").read_text().split("\n") if "[heap]" in line
    )
    assert parent.has(int(heap.partition("-")[0], 16))
    assert not parent.has(0)


def test_a_program_that_was_started_has_none():
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        program.stdout.readline()
        assert parent_of(program.pid) is None
        program.communicate(b"\n")


def test_of_a_parent_that_was_forked_itself_that_is_known():
    told, tell = os.pipe()

    def fork():
        with child() as pid:
            os.write(tell, str((parent_of(pid).pid, parent_of(pid).forked)).encode())

    with child(fork) as pid:
        assert os.read(told, 100).decode() == str((pid, True))
        assert not parent_of(pid).forked
    for end in (told, tell):
        os.close(end)


def test_a_process_that_is_gone_has_none():
    assert parent_of(1 << 30) is None
