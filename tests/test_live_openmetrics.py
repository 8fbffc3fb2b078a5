"""Metrics of processes: what a look has cost, and the service of examples/systemd at work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from threading import Event, Thread

import pytest
from live import HEAPX, ROOT, environment, heapx, run, session, thread_states, told
from prometheus_client.parser import text_string_to_metric_families as families
from test_openmetrics import samples

pytestmark = pytest.mark.live

UNITS = ROOT / "examples" / "systemd"
SERVICE = UNITS / "heapx-metrics@.service"
DIRECTORY = "/var/lib/prometheus/node-exporter"  # the service's


def setting(name):
    """Return the one value of a setting in the service."""
    (value,) = re.findall(rf"^{name}=(.*)$", SERVICE.read_text(), re.M)
    return value


def command(name, instance, directory):
    """Return the words of a command of the service, as systemd makes them for an instance."""
    words = shlex.split(setting(name).replace(DIRECTORY, str(directory)))
    return [word.replace("%i", instance).replace("$$", "$") for word in words]


@pytest.fixture
def program(start, inferiors):
    """Return the only process with its name, which is in `exe`."""
    own = inferiors / f"arenas{os.getpid()}"
    shutil.copy(inferiors / "arenas", own)
    yield start(own.name, "5")
    own.unlink()


@pytest.fixture
def with_heapx(tmp_path):
    """Return an environment in whose PATH heapx is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "heapx").symlink_to(HEAPX)
    return environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_the_service_writes_metrics_that_the_textfile_collector_reads(
    program, with_heapx, tmp_path
):
    line = command("ExecStart", program.exe.name, tmp_path)
    done = run(line, env=with_heapx)
    assert (done.status, done.out, done.err) == (0, "", "")
    (written,) = tmp_path.glob("*.prom")
    assert written.name == f"heapx-{program.exe.name}.prom"
    read = [each for family in families(written.read_text()) for each in family.samples]
    assert {each.labels["pid"] for each in read} == {str(program.pid)}
    assert {each.labels["program"] for each in read} == {program.exe.name}
    parts = sum(each.value for each in read if each.name == "heapx_resident_bytes")
    with open(f"/proc/{program.pid}/smaps_rollup") as rollup:
        rss = 1024 * int(re.search(r"^Rss: +(\d+)", rollup.read(), re.M)[1])
    assert parts == pytest.approx(rss, rel=0.02)


def test_of_a_program_with_several_processes_the_service_lists_them(
    program, start, with_heapx, tmp_path
):
    other = start(program.exe.name, "5")
    done = run(command("ExecStart", program.exe.name, tmp_path), env=with_heapx)
    assert (done.status != 0, done.out) == (True, "")
    assert all(re.search(rf"\b{pid}\b.*[KM]iB", done.err) for pid in (program.pid, other.pid))
    assert not list(tmp_path.glob("*.prom"))


@pytest.mark.slow
def test_a_saved_snapshot_has_the_metrics_of_the_process(program, tmp_path):
    file = tmp_path / "saved.json"
    assert told("-p", program.pid, "save", file).status == 0
    line = ("arenas", "--format", "openmetrics")
    live, saved = told("-p", program.pid, *line).out, told("--snapshot", file, *line).out
    of_arenas = [
        [line for line in each.splitlines() if line.startswith("heapx_arena_")]
        for each in (live, saved)
    ]
    assert of_arenas[0] == of_arenas[1] != []


def test_of_a_program_that_doesn_t_run_no_figures_stay(with_heapx, tmp_path):
    old = tmp_path / "heapx-no-such-program.prom"
    old.write_text("# EOF\n")
    done = run(command("ExecStart", "no-such-program", tmp_path), env=with_heapx)
    assert done.status not in (0, int(setting("SuccessExitStatus")))
    assert "no process runs a program called no-such-program" in done.err
    post = command("ExecStopPost", "no-such-program", tmp_path)
    assert run(post, env={**with_heapx, "SERVICE_RESULT": "success"}).status == 0
    assert old.exists()
    assert run(post, env={**with_heapx, "SERVICE_RESULT": "exit-code"}).status == 0
    assert not old.exists()


def test_the_service_is_told_the_directory_that_it_may_write_into():
    assert setting("ReadWritePaths") == DIRECTORY
    assert SERVICE.read_text().count(DIRECTORY) == 3
    assert "systemd" in (ROOT / "docs" / "metrics.md").read_text()


@pytest.mark.slow
def test_the_process_stood_still_for_as_long_as_metrics_say(program):
    """They say no less than a clock beside it sees, and no more than the whole look took."""
    done, seen = Event(), []

    def watch():
        while not done.is_set():
            if "t" in thread_states(program.pid).values():
                seen.append(time.monotonic())
            time.sleep(0.001)

    watcher = Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    text = heapx("-p", program.pid, "arenas", "--format", "openmetrics").out
    took = time.monotonic() - began
    done.set()
    watcher.join()
    (told,) = (v for k, v in samples(text).items() if k[0] == "heapx_stood_still_seconds")
    assert seen
    assert seen[-1] - seen[0] <= told <= took


def test_at_gdb_s_prompt_and_of_a_core_nobody_knows_how_long(program):
    said = session("heapx --format openmetrics", target=("-p", program.pid)).out
    assert "heapx_resident_bytes" in said
    assert "stood_still" not in said
