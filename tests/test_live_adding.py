"""The examples of docs/adding.md, done as it says, in a copy of heapx."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
from live import ROOT, environment, gdb, look, run, table

pytestmark = pytest.mark.live

PAGE = (ROOT / "docs" / "adding.md").read_text()
LAYOUTS = json.loads((ROOT / "tests" / "layouts.json").read_text())


def examples(section):
    """Return the blocks of code below a heading of the page."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^ {7}.*\n(?:\n+(?= {7}))?)+", text, re.M)
    return [textwrap.dedent(block) for block in blocks]


def example(section, with_words):
    """Return the block that has these words."""
    (block,) = (each for each in examples(section) if with_words in each)
    return block


@pytest.fixture
def copy(tmp_path):
    """Return a directory with a heapx to change, and with what Python has compiled of it."""
    shutil.copytree(ROOT / "gdb_heapx", tmp_path / "gdb_heapx")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "heapx", tmp_path / "scripts")
    shutil.copy(ROOT / "gdb_heapx.py", tmp_path)
    return tmp_path


def insert(file, before, text):
    """Put text before the one place where a file has these words."""
    whole = file.read_text()
    assert whole.count(before) == 1
    file.write_text(whole.replace(before, text + before))


def in_copy(copy, pid, *words):
    """Return what the copy's heapx prints; it has no .venv, and may say so."""
    done = run((copy / "scripts" / "heapx", "-p", pid, *words))
    assert done.status == 0, done.err
    return done.out


def in_gdb(copy, *lines):
    """Run lines in a gdb that has sourced the copy."""
    done = gdb(f"source {copy / 'gdb_heapx.py'}", *lines, sourced=False)
    assert done.err == ""
    return done.out


# A release.


def test_the_field_of_the_example_is_one_of_releases_py():
    lines = (ROOT / "gdb_heapx" / "glibc" / "releases.py").read_text().splitlines()
    assert example("A glibc release", "have_fastchunks").strip() in map(str.strip, lines)


ASK = """
from gdb_heapx.glibc import releases
from gdb_heapx.glibc.architecture import Architecture
for release in releases.releases()[-2:]:
    print(release, list(releases.annotated_layout(8, Architecture.X86_64, release).state.members))
"""


def test_a_release_and_its_field_that_are_written_down_are_known(copy):
    file = copy / "gdb_heapx" / "glibc" / "releases.py"
    line = example("A glibc release", "have_fastchunks").strip()
    insert(file, line, 'Field("of_2_45", INT, since=(2, 45)),\n        ')
    file.write_text(
        file.read_text().replace("NEWEST: Release = (2, 44)", "NEWEST: Release = (2, 45)")
    )
    done = run((sys.executable, "-c", ASK), env=environment(PYTHONPATH=str(copy)), cwd=copy)
    before, after = done.out.splitlines()
    assert before.startswith("(2, 44) ")
    assert "of_2_45" not in before
    assert after.startswith("(2, 45) ")
    assert "of_2_45" in after


def test_the_layout_of_this_machine_s_release_is_printed_as_it_is_recorded(tmp_path):
    release, libc = platform.libc_ver()[1], "/usr/lib/x86_64-linux-gnu/libc.so.6"
    key = f"{release}-amd64"
    if platform.machine() != "x86_64" or not os.path.exists(libc) or key not in LAYOUTS:
        pytest.skip(f"layouts.json has no {key}, or libc is elsewhere")
    (tmp_path / "build").mkdir()
    line = example("A glibc release", "print_layout.py")
    done = run(("sh", "-c", f"tree=; {line}"), cwd=tmp_path)
    assert json.loads(done.out) == LAYOUTS[key], done.err


# A command.


@pytest.fixture
def limits(copy):
    """Return a copy that has the command of the example."""
    file = copy / re.findall(r"`(gdb_heapx/commands/\w+\.py)`", PAGE)[0]
    assert not file.exists()
    file.write_text(example("A command", "@command("))
    return copy


@pytest.mark.few(1)
def test_a_command_that_is_added_as_a_file_answers(limits, start):
    process = start("mixed", env={"MALLOC_TOP_PAD_": "77777"})
    report = json.loads(in_copy(limits, process.pid, "limits", "--format", "json"))
    rows = {row["name"]: row["size"] for row in table(report, "limits")}
    assert rows == {"trim_threshold": 131072, "top_pad": 77777, "mmap_threshold": 131072}
    assert "77,777" in in_copy(limits, process.pid, "limits", "--bytes")


@pytest.mark.slow
def test_a_command_that_is_added_as_a_file_has_help_and_completion(limits):
    said = in_gdb(limits, "help heapx limits", "complete heapx lim", "complete heapx limits --sor")
    assert said.startswith("List the parameters that decide what malloc gives back.\n")
    assert said.splitlines()[-2:] == ["heapx limits", "heapx limits --sort"]
    assert "limits" in run((limits / "scripts" / "heapx", "--help")).out


# A cause.


@pytest.mark.slow
def test_a_cause_that_is_added_is_found(copy, start):
    process = start("arenas", "5")
    file = copy / "gdb_heapx" / "why" / "causes.py"
    insert(file, "CAUSES: tuple[", example("A cause", "-> Iterator[Finding]") + "\n\n")
    last, added = re.findall(r"`(outside)(, _stacks)`", PAGE)[0]
    file.write_text(file.read_text().replace(f" {last}),\n)", f" {last}{added}),\n)"))
    found = json.loads(in_copy(copy, process.pid, "why", "--format", "json"))["findings"]
    (stacks,) = (each for each in found if each["code"] == "stacks")
    ledger = table(look(process.pid, "ledger"))
    size = sum(row["resident"] for row in ledger if row["owner"] == "thread stacks")
    assert stacks["bytes"] == size > 64 << 10
    threads = os.listdir(f"/proc/{process.pid}/task")
    assert stacks["statement"].startswith(f"the stacks of {len(threads)} threads.")


# A runtime.


MAPPING = """
#include <sys/mman.h>
int luaJIT_setmode(void) { return 1; }
void *map(unsigned long size) { return mmap(0, size, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
"""


@pytest.mark.slow
def test_a_runtime_that_is_added_likely_has_what_is_nobody_s(copy, start, tmp_path):
    library = tmp_path / "libluajit-5.1.so.2"
    make = ("cc", "-x", "c", "-shared", "-fPIC", "-o", library, "-")
    subprocess.run(make, input=MAPPING, text=True, check=True)
    process = start("outside", "loaded", env={"HEAPX_LIBRARY": str(library)})
    entry = textwrap.indent(example("A runtime", "Runtime("), "    ")
    insert(copy / "gdb_heapx" / "locate" / "runtimes.py", ")\n\n\nclass Claim", entry)
    report = json.loads(in_copy(copy, process.pid, "ledger", "--outside", "--format", "json"))
    (row,) = (row for row in table(report, "outside") if row["name"] == "LuaJIT's")
    assert row["likely"]
    assert row["resident"] >= 8 << 20
    found = json.loads(in_copy(copy, process.pid, "why", "--format", "json"))["findings"]
    (outside,) = (each for each in found if each["code"] == "outside")
    assert 'collectgarbage("count")' in outside["remedy"]


# A format.


@pytest.fixture
def tsv(copy):
    """Return a copy that has the format of the example."""
    file = copy / "gdb_heapx" / "report" / "render.py"
    insert(file, "Renderer = Callable[", example("A format", "def render_tsv") + "\n\n")
    (entry,) = re.findall(r'`("tsv": render_tsv)`', PAGE)
    insert(file, '"text": render_text', f"{entry},\n    ")
    return copy


@pytest.mark.slow
def test_a_format_that_is_added_is_written(tsv, start):
    process = start("mixed")
    rows = [
        line.split("\t")
        for line in in_copy(tsv, process.pid, "bins", "--format", "tsv").splitlines()
    ]
    bins = table(look(process.pid, "bins"))
    assert rows == [list(bins[0]), *([str(value) for value in row.values()] for row in bins)]


def test_a_format_that_is_added_has_help_and_completion(tsv):
    said = in_gdb(tsv, "complete heapx bins --format t", "help heapx bins")
    assert said.splitlines()[:2] == ["heapx bins --format text", "heapx bins --format tsv"]
    assert re.search(r"--format .*tsv", said)


def test_every_example_of_the_page_is_one_that_is_tried():
    """But the fetching of a release, which needs a network; a fold and a recogniser in
    tests/test_adding.py.
    """
    titles = re.findall(r"^## (.*)$", PAGE, re.M)
    blocks = [(title, block) for title in titles for block in examples(title)]
    tried = (
        "have_fastchunks",
        "print_layout.py",
        "@command(",
        "class Largest",
        "def png",
        "Runtime(",
        "[Finding]",
        "_tsv",
    )
    assert [title for title in titles if title not in dict(blocks)] == []
    assert all(any(w in block for w in (*tried, "fetch_glibc")) for _, block in blocks)
    assert len(blocks) == len(tried) + 1
