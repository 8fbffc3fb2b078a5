"""heapx, heapx why and heapx trim --now on real processes.

What they say must be what the kernel, a real malloc_trim and the program itself know.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pexpect
import pytest
from demos import demo_program, serving
from live import (
    PAGE,
    ROOT,
    TIMEOUT,
    Inferior,
    Report,
    Result,
    at_rest,
    contents,
    environment,
    eventually,
    gcore,
    gdb,
    heapx,
    reports,
    resident,
    run,
    session,
    status,
    table,
    told,
)

pytestmark = pytest.mark.live

MIB = 1 << 20
NO_RSEQ = "glibc.pthread.rseq=0"  # the kernel writes to a thread's rseq area whenever it runs
RETAINED = ("returnable", "kept")  # the parts that malloc keeps


# What the kernel says.


def rss(pid: int) -> int:
    """Return the Rss of smaps_rollup in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Rss: +(\d+) kB$", text, re.M)[0]) << 10


def anonymous(pid: int) -> int:
    """Return the bytes in RAM of the mappings that malloc can have: [heap], and without a name."""
    names = ((line.split(None, 5)[5:], size) for line, size in resident(pid).items())
    return sum(size << 10 for name, size in names if name in ([], ["[heap]"]))


# What heapx says.


def codes(report: Report) -> list[str]:
    return [finding["code"] for finding in report["findings"]]


def found(report: Report, code: str) -> dict[str, Any]:
    (finding,) = (each for each in report["findings"] if each["code"] == code)
    return finding


def first_of_all(shown: list[dict[str, Any]], every: list[dict[str, Any]]) -> bool:
    """Tell whether these findings are those of an overview where all are known: three at most, with
    the same figures; what is estimated, and may change their order, is in `why` alone.
    """
    same = ("code", "bytes", "worth", "statement", "remedy", "in_force")
    likely = {each["code"]: each["likely"] for each in every}
    known = [[each[key] for key in same] for each in every]
    leading = [each["code"] for each in shown if each["reason_of"] is None]
    return (
        len(shown) <= 3
        and all([each[key] for key in same] in known for each in shown)
        and all(each["likely"] in (None, likely[each["code"]]) for each in shown)
        and all(each["reason_of"] in (None, *leading) for each in shown)
    )


def retained(report: Report) -> int:
    return sum(row["resident"] for row in table(report, "overview") if row["key"] in RETAINED)


class Seen(NamedTuple):
    """What heapx says of a process in one session: the overview, as text too, and every finding."""

    overview: Report
    text: str
    why: Report


def see(pid: int, directory: Path) -> Seen:
    files = [directory / name for name in ("overview.json", "overview.txt", "why.json")]
    words = ("--format json", "--format text", "why --format json")
    lines = (f"heapx {w} --output {f}" for w, f in zip(words, files))
    result = session(*lines, target=("-p", pid))
    assert all(file.exists() for file in files), result.err
    overview, text, why = (file.read_text() for file in files)
    return Seen(json.loads(overview), text, json.loads(why))


@pytest.fixture
def looked(start: Any, tmp_path: Path) -> Any:
    """Start a scenario of why.c and look at it."""

    def look_at(scenario: str, **env: str) -> tuple[Inferior, Seen]:
        inferior = start("why", scenario, env=env)
        return inferior, see(inferior.pid, tmp_path)

    return look_at


def one_screen(text: str) -> None:
    """Check that a text fits, and that its bar is one line with a letter for each part."""
    lines = text.splitlines()
    assert len(lines) <= 24, text
    assert max(map(len, lines)) <= 80, text
    bars = [line for line in lines if re.fullmatch(r"\[[-.#+o?a-z]+\]", line)]
    assert len(bars) == 1, text
    parts = re.findall(r"^([-.#+o?a-z])  \S.* (\S+) +\d+$", text, re.M)
    assert set(bars[0][1:-1]) == {letter for letter, size in parts if size != "0"}


def runs_on(inferior: Inferior) -> None:
    """Check that a process is where it was, and can still use malloc."""
    eventually(lambda: at_rest(inferior.pid), "the process rests")
    os.kill(inferior.pid, signal.SIGUSR1)
    trimmed = inferior.oracle.directory / "trimmed"
    eventually(lambda: trimmed.exists() or inferior.process.poll() is not None, "malloc_trim")
    assert inferior.process.poll() is None


# The demo.


@pytest.fixture(scope="module")
def demo_server(inferiors: Path, tmp_path_factory: Any) -> Path:
    return demo_program(tmp_path_factory.mktemp("demo"))


class Demo(NamedTuple):
    """What was seen of the demo, and the kernel's figures behind it."""

    pid: int
    seen: Seen
    rss: int
    anonymous: int


@pytest.fixture(scope="module")
def demo(demo_server: Path, tmp_path_factory: Any) -> Iterator[Demo]:
    with serving(demo_server) as (pid, _):
        seen = see(pid, tmp_path_factory.mktemp("seen"))
        yield Demo(pid, seen, rss(pid), anonymous(pid))


class Trimmed(NamedTuple):
    """What came of trim --now on the demo, by how much the kernel's figures fell, and what was seen
    then.
    """

    now: Result
    fell: int
    seen: Seen


@pytest.fixture(scope="module")
def trimmed(demo: Demo, calling_gdb: str, tmp_path_factory: Any) -> Trimmed:
    words = ("-p", demo.pid, "--gdb", calling_gdb, "trim", "--now", "--format", "json")
    now = heapx(*words)
    fell = demo.anonymous - anonymous(demo.pid)
    return Trimmed(now, fell, see(demo.pid, tmp_path_factory.mktemp("trimmed")))


def test_the_parts_of_the_overview_are_the_kernel_s_rss(demo):
    assert sum(row["resident"] for row in table(demo.seen.overview, "overview")) == demo.rss


def told_once(findings: list[dict[str, Any]]) -> int:
    """Return what the findings that lead are about in RAM, no byte of it twice."""
    leading = [f for f in findings if f["reason_of"] is None and f["code"] != "swapped"]
    assert all(0 <= each["told_before"] <= each["bytes"] for each in leading)
    return sum(each["bytes"] - each["told_before"] for each in leading)


def test_what_leads_is_no_more_than_rss(demo):
    assert told_once(demo.seen.why["findings"]) <= demo.rss


def test_the_equation_is_that_sum(demo):
    """Each of its sizes is rounded."""
    (line,) = (line for line in demo.seen.text.splitlines() if line.startswith("RSS "))
    sizes = re.findall(r"([\d.]+) ([KM])iB", line)
    whole, *parts = (float(size) * {"K": 1 << 10, "M": MIB}[unit] for size, unit in sizes)
    assert len(parts) == 3
    assert abs(whole - demo.rss) <= MIB // 20
    assert abs(sum(parts) - demo.rss) <= 3 * MIB // 20


def test_most_of_it_was_freed_and_is_kept(demo):
    assert retained(demo.seen.overview) > 0.9 * demo.rss
    assert "Most of it was freed by the program: glibc malloc keeps it." in demo.seen.text
    assert "live" not in codes(demo.seen.why)


def test_what_is_returnable_is_what_a_real_malloc_trim_returned(demo, trimmed):
    assert codes(demo.seen.overview)[0] == "returnable"
    returnable = found(demo.seen.overview, "returnable")["bytes"]
    assert abs(returnable - trimmed.fell) <= PAGE
    assert returnable > 200 * MIB


@pytest.mark.slow
def test_ctrl_c_in_gdb_stops_the_demo_and_does_not_end_it(demo_server):
    """`serving` checks that only SIGTERM ends it."""
    with serving(demo_server) as (pid, _):
        words = ["-nx", "-q", "-iex", "set debuginfod enabled off", "-p", str(pid)]
        with pexpect.spawn("gdb", words, env=environment(), timeout=TIMEOUT) as typed:
            typed.expect_exact(b"(gdb) ")
            typed.sendline(b"continue")
            typed.expect_exact(b"Continuing.")
            eventually(lambda: at_rest(pid, traced=True), "the demo runs on")
            typed.sendintr()
            typed.expect_exact(b"received signal SIGINT")
            typed.sendline(b"detach")
            typed.expect_exact(b"detached]")
            typed.sendline(b"quit")
            typed.expect(pexpect.EOF)
        eventually(lambda: at_rest(pid), "the demo rests")


@pytest.mark.slow
def test_the_demo_needs_only_what_a_small_system_has(tmp_path):
    """A minimal Debian has none of these, and the demo doesn't install them."""
    absent = {"ps", "top", "pgrep", "pkill", "free", "watch", "which", "file", "less", "man", "xxd"}
    for directory in reversed(os.environ["PATH"].split(os.pathsep)):
        for tool in Path(directory).glob("*"):
            (tmp_path / tool.name).unlink(missing_ok=True)
            if tool.name not in absent:
                (tmp_path / tool.name).symlink_to(tool)
    done = run((ROOT / "scripts" / "demo", "--mb", "64"), env=environment(PATH=str(tmp_path)))
    assert (done.status, done.err) == (0, "")
    assert re.search(r"^VmRSS:\s+\d+ kB$", done.out, re.M)
    assert re.search(r"^RSS .* = .* in use \+ ", done.out, re.M)


def test_the_overview_s_findings_are_the_first_of_all(demo):
    assert first_of_all(demo.seen.overview["findings"], demo.seen.why["findings"])
    assert len(demo.seen.why["findings"]) > 3


def test_trim_now_measures_what_was_predicted_in_every_arena(demo, trimmed):
    assert trimmed.now.status == 0
    rows = table(trimmed.now.report, "trim")
    assert len(rows) == 9
    assert [row["measured"] for row in rows] == [row["returned"] for row in rows]
    (total,) = (each["total"] for each in trimmed.now.report["tables"])
    assert abs(total["measured"] - trimmed.fell) <= PAGE
    assert total["returned"] == found(demo.seen.why, "returnable")["bytes"]


def test_trim_now_says_what_it_calls(trimmed):
    assert "malloc_trim(0)" in trimmed.now.err


def test_trimmed_there_is_nothing_returnable_any_more(trimmed):
    assert "returnable" not in codes(trimmed.seen.why)
    (row,) = (row for row in table(trimmed.seen.overview) if row["key"] == "returnable")
    assert row["resident"] == 0


def test_the_overview_is_one_screen(demo):
    one_screen(demo.seen.text)


@pytest.mark.slow
def test_where_every_block_has_a_mapping_of_its_own_nothing_is_retained(
    demo, demo_server, tmp_path
):
    with serving(demo_server, MALLOC_MMAP_THRESHOLD_="0") as (pid, _):
        seen = see(pid, tmp_path)
    assert retained(seen.overview) < 0.01 * retained(demo.seen.overview)
    assert codes(seen.why)[0] not in ("returnable", "pinned", "many_arenas")
    assert "keeps it" not in seen.text


# Live memory, and memory that isn't malloc's.


def test_a_leak_is_live_before_all_else(looked):
    inferior, seen = looked("leak")
    ((_, held),) = inferior.oracle.known
    live = seen.why["findings"][0]
    assert live["code"] == "live"
    assert int(held) <= live["bytes"] < 1.05 * int(held)
    assert "512 B to 1 KiB" in live["evidence"][0]
    assert "no malloc setting gives it back" in seen.text
    one_screen(seen.text)


def test_memory_that_is_mapped_by_other_means_is_outside_before_all_else(looked):
    inferior, seen = looked("plain")
    ((_, address, size),) = inferior.oracle.known
    outside = seen.why["findings"][0]
    assert outside["code"] == "outside"
    assert int(size) <= outside["bytes"] < int(size) + 4 * MIB
    assert outside["evidence"][0].startswith("unnamed anonymous memory: 64 MiB in ")
    assert outside["evidence"][0].endswith(f"most at {address}")
    parts = {row["key"]: row["resident"] for row in table(seen.overview)}
    assert parts["anonymous"] + parts["outside"] == outside["bytes"]
    assert parts["anonymous"] >= int(size)
    one_screen(seen.text)


# Other allocators.


STAND_IN = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PIECE = 4 << 20, HEAD = 16 }; /* a block's size is in front of it */
static char *at, *end;
static int taken;

void *memalign(size_t alignment, size_t size)
{
    char *block;
    alignment = alignment < HEAD ? HEAD : alignment;
    while (__atomic_exchange_n(&taken, 1, __ATOMIC_ACQUIRE))
        ;
    block = (char *) (((uintptr_t) at + HEAD + alignment - 1) & -alignment);
    if (!at || block + size > end) {
        size_t piece = PIECE + size + alignment;
        at = mmap(0, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = at + piece;
        block = (char *) (((uintptr_t) at + HEAD + alignment - 1) & -alignment);
    }
    at = block + size;
    __atomic_store_n(&taken, 0, __ATOMIC_RELEASE);
    ((size_t *) block)[-1] = size;
    return block;
}

void *malloc(size_t size) { return memalign(HEAD, size); }
void *calloc(size_t count, size_t size) { return memalign(HEAD, count * size); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
void *valloc(size_t size) { return memalign(4096, size); }
void *pvalloc(size_t size) { return memalign(4096, (size + 4095) & -4096); }
size_t malloc_usable_size(void *block) { return block ? ((size_t *) block)[-1] : 0; }
void free(void *block) { (void) block; }
int mallctl(void) { return ENOENT; }

int posix_memalign(void **block, size_t alignment, size_t size)
{
    *block = memalign(alignment, size);
    return 0;
}

void *realloc(void *block, size_t size)
{
    size_t old = malloc_usable_size(block);
    void *larger = malloc(size);
    return block ? memcpy(larger, block, old < size ? old : size) : larger;
}
"""


MALLOC_COMMANDS = ("arenas", "heaps", "top", "bins", "tcache", "mmapped", "trim", "check")


def other_allocator(inferior: Inferior, seen: Seen, name: str) -> None:
    """Check that an allocator is named, and that glibc's malloc isn't given as the answer."""
    ((_, held),) = inferior.oracle.known
    first = seen.overview["findings"][0]
    assert first["code"] == "other_allocator"
    assert first["statement"].startswith(f"{name} serves malloc")
    assert name in first["remedy"]
    assert first["bytes"] >= int(held)
    assert "returnable" not in codes(seen.why)
    assert sum(row["resident"] for row in table(seen.overview)) == rss(inferior.pid)
    one_screen(seen.text)
    assert " ".join(seen.text.split()).count(f"{name}, not glibc, serves malloc here") == 1
    assert "in use" not in seen.text
    assert "malloc_trim(0)" not in seen.text
    assert "glibc malloc" not in seen.text
    for words, prints in (((), True), (("ledger",), True), (("arenas",), False)):
        result = told("-p", inferior.pid, *words)
        assert (result.status, bool(result.out)) == (3, prints)
        assert f"{name}, not glibc, serves malloc here: glibc malloc holds nothing" in result.err


def test_every_command_about_glibc_malloc_refuses_another_s(looked, stand_in, tmp_path):
    inferior, _ = looked("leak", LD_PRELOAD=stand_in)
    core = gcore(inferior.pid, tmp_path / "core")
    for target in (("-p", inferior.pid), (inferior.exe, core)):
        result = session(*(f"heapx {name}" for name in MALLOC_COMMANDS), target=target)
        said = "jemalloc, not glibc, serves malloc here: glibc malloc holds nothing"
        assert result.err.count(said) == len(MALLOC_COMMANDS)
    core.unlink()


def built(directory: Path, name: str, source: str, *flags: str) -> Path:
    file = directory / name
    file.with_suffix(".c").write_text(source)
    words = ("cc", "-O1", "-fno-builtin", "-o", file, file.with_suffix(".c"), *flags)
    subprocess.run(words, check=True, timeout=TIMEOUT)
    return file


OWN = STAND_IN.replace("mallctl", "own_control")
ASLEEP = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 1000; i++)
        malloc(1000);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""
OWN_MALLOCS = {  # by what is said
    "the malloc of libown.so": ("libown.so", OWN, ("-shared", "-fPIC")),
    "the malloc of own": ("own", OWN + ASLEEP, ()),
    "jemalloc": ("linked", STAND_IN + ASLEEP, ()),
    "a malloc of its own": ("alone", OWN + ASLEEP, ("-static",)),
    "and glibc's isn't in it": ("stripped", OWN + ASLEEP, ("-static", "-s")),
}


@pytest.mark.parametrize("said", OWN_MALLOCS)
@pytest.mark.few(1)
def test_a_malloc_of_the_program_s_own_is_named(said, tmp_path):
    name, source, flags = OWN_MALLOCS[said]
    file = built(tmp_path, name, source, *flags)
    program = built(tmp_path, "asleep", ASLEEP) if name.endswith(".so") else file
    env = environment(LD_PRELOAD=str(file)) if name.endswith(".so") else environment()
    with subprocess.Popen([program], stdout=subprocess.PIPE, env=env) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            result = told("-p", process.pid, "arenas")
        finally:
            process.kill()
    assert (result.status, result.out) == (3, "")
    assert said in result.err
    assert "glibc" in result.err


def test_a_library_that_only_hands_on_to_glibc_s_malloc_is_no_allocator(start):
    assert told("-p", start("mixed", counted=True).pid, "arenas").status == 0


@pytest.mark.parametrize("flags", [("-static", "-s"), ("-static",), ()])
def test_musl_is_named(tmp_path, flags):
    if shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is not installed")
    source = tmp_path / "asleep.c"
    source.write_text(ASLEEP.replace("puts", 'printf("%f\\n", 1.5);puts'))
    program = tmp_path / "asleep"
    subprocess.run(["musl-gcc", *flags, "-o", program, source], check=True, timeout=TIMEOUT)
    with subprocess.Popen([program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            eventually(lambda: at_rest(process.pid), "the program rests")
            result = told("-p", process.pid, "arenas")
        finally:
            process.kill()
    assert (result.status, result.out) == (3, "")
    assert "musl" in result.err


@pytest.fixture(scope="module")
def stand_in(inferiors: Path, tmp_path_factory: Any) -> str:
    """Return the path of a library that says it is jemalloc."""
    directory = tmp_path_factory.mktemp("allocator")
    library, source = directory / "libjemalloc.so.2", directory / "stand_in.c"
    source.write_text(STAND_IN)
    words = ("cc", "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", library, source)
    subprocess.run(words, check=True, timeout=TIMEOUT)
    return str(library)


def test_a_preloaded_allocator_is_named_first(looked, stand_in):
    other_allocator(*looked("leak", LD_PRELOAD=stand_in), "jemalloc")


def test_an_allocator_that_is_loaded_and_does_not_serve_malloc_is_not_named(looked, stand_in):
    _, seen = looked("leak", WHY_LIBRARY=stand_in)
    assert codes(seen.why)[0] == "live"


@pytest.mark.parametrize("library", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"])
def test_a_real_allocator_is_named_first(looked, library):
    if run(("true",), env=environment(LD_PRELOAD=library)).err:
        pytest.skip(f"{library} is not installed")
    other_allocator(*looked("leak", LD_PRELOAD=library), re.findall("lib([a-z]+)", library)[0])


# Thresholds.


def test_thresholds_that_a_free_of_20_mib_raised_name_that_block(looked):
    _, (_, _, report) = looked("raised")
    raised = found(report, "mmap_threshold_raised")
    assert "the free of a 20 MiB block raised mmap_threshold" in raised["statement"]
    assert "raised trim_threshold to 40 MiB" in raised["statement"]
    assert 16 * MIB <= raised["bytes"] < 17 * MIB  # eight blocks of 1 MiB below top, and in it
    assert "MALLOC_MMAP_THRESHOLD_=131072" in raised["remedy"]
    assert "MALLOC_TRIM_THRESHOLD_=131072" in raised["remedy"]


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_either_remedy_removes_the_cause(looked, name):
    _, (_, _, report) = looked("raised", **{name: "131072"})
    causes = {"trim_threshold", "mmap_threshold_raised", "mmap_threshold_set"}
    assert not causes & {*codes(report)}


def test_a_trim_threshold_of_the_user_s_is_said_to_be_the_user_s(looked):
    _, (_, _, report) = looked("small_blocks", MALLOC_TRIM_THRESHOLD_=str(64 * MIB))
    top = found(report, "trim_threshold")
    assert "64 MiB: set by MALLOC_TRIM_THRESHOLD_" in top["statement"]
    assert 7 * MIB < top["bytes"] < 9 * MIB
    assert "mmap_threshold_raised" not in codes(report)


# trim --now: what it does, and what it leaves alone.


@pytest.mark.parametrize("program", ["mixed", "two_libcs"])
@pytest.mark.few(1)
def test_trim_now_s_prediction_is_what_smaps_shows(start, program, calling_gdb):
    inferior = start(program)
    before = anonymous(inferior.pid)
    words = ("--gdb", calling_gdb, "trim", "--now", "--format", "json")
    result = heapx("-p", inferior.pid, *words)
    after = anonymous(inferior.pid)
    rows = table(result.report)
    assert result.status == 0
    assert [row["measured"] for row in rows] == [row["returned"] for row in rows]
    returned = sum(row["returned"] for row in rows)
    assert returned > 0
    assert abs(before - after - returned) <= PAGE


class Session(NamedTuple):
    """What gdb shows before trim --now, and after it."""

    before: str
    after: str


@pytest.fixture(scope="module")
def around_a_trim(start_once: Any, calling_gdb: str) -> Session:
    inferior = start_once("arenas", "10")
    shown = ("show scheduler-locking", "thread", "frame", "info signals")
    settings = ("set scheduler-locking step", "handle SIGUSR1 nostop print nopass")
    lines = (*settings, "thread 3", "up", "echo before\\n", *shown)
    lines = (*lines, "heapx trim --now", *shown)
    result = gdb(*lines, target=("-p", inferior.pid), program=calling_gdb)
    before, called, after = result.out.partition("before\n")[2].partition("Called malloc_trim(0)")
    assert called, result.err
    return Session(before, after)


@pytest.mark.slow
def test_trim_now_leaves_scheduler_locking_and_the_thread_as_they_were(around_a_trim):
    for line in (r'^Mode for locking scheduler .* is "step"', r"^\[Current thread is 3 "):
        assert re.search(line, around_a_trim.before, re.M)
        assert re.search(line, around_a_trim.after, re.M)


def test_trim_now_leaves_the_frame_as_it_was(around_a_trim):
    assert re.search("^#1 ", around_a_trim.before, re.M)
    assert re.search("^#1 ", around_a_trim.after, re.M)


def test_trim_now_leaves_the_handling_of_signals_as_it_was(around_a_trim):
    before, after = (re.findall(r"^SIG.*", each, re.M) for each in around_a_trim)
    assert len(before) > 100
    assert [line for line in before if re.match(r"SIGUSR1\s+No\s+Yes\s+No\s", line)]
    assert after == before


def test_other_commands_leave_memory_as_it_is(start, tmp_path):
    inferior = start("mixed", env={"GLIBC_TUNABLES": NO_RSEQ})

    def memory() -> tuple[Any, ...]:
        return contents(inferior.pid), rss(inferior.pid), status(inferior.pid, "VmPTE")

    assert session(target=("-p", inferior.pid)).status == 0  # [vdso] becomes resident
    before = memory()
    reports(("heapx", "heapx why", "heapx trim", "heapx ledger"), tmp_path, ("-p", inferior.pid))
    assert memory() == before


# trim --now: where it refuses.


def refused(result: Result, *said: str) -> None:
    assert (result.status, result.out) == (3, ""), result.err
    assert "Traceback" not in result.err
    for words in said:
        assert words in result.err


def through_gdb(inferior: Inferior, *lines: str, program: str = "gdb") -> Result:
    """Run trim --now from the shell, in a gdb that attaches and runs these lines before."""
    before = " ".join(f"-ex '{line}'" for line in lines)
    attach = f"--gdb-args=-p {inferior.pid} {before}"
    return heapx("--gdb", program, attach, "trim", "--now")


@pytest.mark.slow
def test_a_core_is_not_trimmed(start, tmp_path):
    inferior = start("mixed")
    core = gcore(inferior.pid, tmp_path / "core")
    try:
        result = heapx("--core", core, "--exe", inferior.exe, "trim", "--now")
    finally:
        core.unlink()
    refused(result, "a core can't be trimmed")


def cpu_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def works_on(busy: Inferior) -> None:
    assert status(busy.pid, "TracerPid") == "0"
    used = cpu_time(busy.pid)
    eventually(lambda: cpu_time(busy.pid) > used, "the process works on")


INSIDE = ("break _int_malloc", "continue", "delete")


@pytest.mark.slow
def test_where_a_thread_stands_inside_malloc_it_refuses_and_the_process_runs_on(start):
    busy = start("busy", "4")
    refused(through_gdb(busy, *INSIDE), "try again")
    works_on(busy)


class Inside(NamedTuple):
    """A process of one thread that stood inside malloc: what came of trim --now, and a core."""

    busy: Inferior
    result: Result
    core: Path


@pytest.fixture(scope="module")
def inside(start_once: Any, tmp_path_factory: Any) -> Iterator[Inside]:
    busy, core = start_once("busy", "0"), tmp_path_factory.mktemp("inside") / "core"
    yield Inside(busy, through_gdb(busy, *INSIDE, f"gcore {core}"), core)
    core.unlink()


def test_the_only_thread_locks_no_arena_and_inside_malloc_it_refuses_as_well(inside):
    refused(inside.result, "inside", "try again")
    works_on(inside.busy)


@pytest.mark.slow
def test_a_core_of_a_thread_inside_malloc_is_told_to_be_a_core(inside):
    """`Let the process run on, and try again` is no advice for a core."""
    words = ("--core", inside.core, "--exe", inside.busy.exe)
    result = heapx(*words, "trim", "--now")
    refused(result, "a core can't be trimmed")
    assert "run on" not in result.err


class Locked(NamedTuple):
    """What came of trim --now where an arena was locked, and by how much RSS fell."""

    result: Result
    fell: int


@pytest.fixture(scope="module")
def locked(start_once: Any) -> Locked:
    inferior = start_once("mixed", env={"HEAPX_THEN": "1"})
    target = ("-p", inferior.pid)
    before = anonymous(inferior.pid)
    assert " = 1\n" in session("print main_arena.mutex = 1", target=target).out
    result = heapx(*target, "trim", "--now")
    after = anonymous(inferior.pid)
    assert " = 0\n" in session("print main_arena.mutex = 0", target=target).out
    runs_on(inferior)
    return Locked(result, before - after)


@pytest.mark.slow
def test_where_an_arena_is_locked_it_refuses_and_the_process_runs_on(locked):
    refused(locked.result, "the lock of arena 0", "try again")
    assert locked.fell == 0


@pytest.mark.slow
def test_a_damaged_heap_is_not_trimmed_and_the_process_runs_on(start):
    """malloc_trim follows the damaged list, and aborts or crashes."""
    inferior = start("why", "dangling")
    result = heapx("-p", inferior.pid, "trim", "--now")
    assert inferior.process.poll() is None
    refused(result, "damage")


@pytest.mark.slow
def test_a_signal_that_waits_reaches_the_process_after_trim_now(start, calling_gdb):
    """It came while gdb held the process, as any may: a timer's, a reload, a child's end."""
    inferior = start("why", "handles_signals")
    result = through_gdb(inferior, f"shell kill -USR2 {inferior.pid}", program=calling_gdb)
    assert (result.status, inferior.process.poll()) == (0, None), result.err
    eventually((inferior.oracle.directory / "signalled").exists, "the handler")
    eventually(lambda: at_rest(inferior.pid), "the process rests")
