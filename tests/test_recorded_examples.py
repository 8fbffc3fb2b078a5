"""The examples in the help of every command, run on a recorded process."""

from __future__ import annotations

import re
import shutil
from functools import cache

import pytest
from live import table
from recorded import load
from sessions import saved_file

from gdb_heapx.cli.command import REGISTRY, parse

IMAGE = load("2.36-amd64")
EXAMPLES = [
    example
    for declared in REGISTRY.values()
    for example in re.findall(r"^    (?:    )?heapx(.*?)(?:  .*)?$", declared.doc, re.M)
]
# On a living process, or on gdb: test_live_trim, test_live_growth, test_live_saved.
ACTS = re.compile(r" trim --now| growth| load")
ANSWERED = [example for example in EXAMPLES if not ACTS.match(example)]


@cache
def named():
    """Return a chunk in use, a type and a thread of the process."""
    lines = ("chunks --state in-use", "types", "threads")
    (chunk,), (kind,), (thread,) = (table(IMAGE.report(f"{line} --limit 1")) for line in lines)
    return chunk["address"], kind["type"], thread["thread"]


@pytest.mark.few(12)
@pytest.mark.parametrize("example", ANSWERED)
def test_an_example_of_the_help_is_answered(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("old.json.gz", "new.json.gz"):
        shutil.copy(saved_file(), tmp_path / name)
    chunk, kind, thread = named()
    line = re.sub(r"(?<= chunk ).+", chunk, example).strip()
    line = re.sub(r"(?<=refs )\S+|(?<=--zoom )\S+", chunk, line)
    line = re.sub(r"(?<= --type )'.+'", kind.replace(" ", "*"), line)
    line = re.sub(r"(?<= --thread )\d+", str(thread), line)
    said = IMAGE.answer(line)
    assert (said.status, said.warning) == (0, None)
    written = re.search(r"--output (\S+)", line)
    assert written is None or (tmp_path / written[1]).read_text()
    assert said.text or written


@pytest.mark.parametrize("example", sorted({*EXAMPLES} - {*ANSWERED}))
def test_an_example_that_acts_is_understood(example):
    name, *words = example.split()
    assert parse(REGISTRY[f"heapx {name}"], words)


def test_every_command_has_an_example():
    words = {example.split()[0] if example.split() else "" for example in EXAMPLES}
    assert {declared.word for declared in REGISTRY.values()} <= words | {""}
