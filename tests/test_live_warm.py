"""A gdb that stays answers as a new one does: what tests see through one is what users see."""

from __future__ import annotations

import pytest
import warm
from live import FRESH, gcore, gdb, heapx, session, told

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(FRESH, reason="with CI=true each answer is a new gdb's"),
]

LINES = (
    "",
    "ledger --format csv",
    "arenas --format json",
    "chunks --limit 5 --bytes",
    "bins --arena 99",
)


@pytest.fixture(scope="module", params=[("arenas", "5"), ("damaged", "bin")], ids="-".join)
def inferior(request, start_once):
    return start_once(*request.param)


@pytest.mark.parametrize("line", LINES)
def test_it_says_what_the_shell_command_says(inferior, line):
    words = line.split()
    told("-p", inferior.pid, "top")  # its next isn't its first answer
    assert told("-p", inferior.pid, *words) == heapx("-p", inferior.pid, *words)


SHOWN = ("heapx arenas", "heapx bins --format csv", "output main_arena.top", "info sharedlibrary")


def test_its_sessions_say_what_a_new_gdb_says_of_a_process_and_a_core(inferior, tmp_path):
    core = gcore(inferior.pid, tmp_path / "core")
    for target in (("-p", inferior.pid), (inferior.exe, core)):
        lines = ("echo begin\\n", *SHOWN, "heapx nosuch", "output/x $pc", "echo end\\n")
        stayed, new = session(*lines, target=target), gdb(*lines, target=target)
        assert between(stayed.out) == between(new.out)
        assert between(new.out).count("\n") > 20
        assert stayed.err.splitlines()[-2:] == new.err.splitlines()[-2:]
        assert "no command 'nosuch'" in stayed.err
    core.unlink()


def between(text):
    return text.partition("begin\n")[2].partition("end\n")[0]


def staying():
    return {each.pid for each in warm.STAYING.values()}


def test_it_stays_until_it_fails(inferior):
    warm.end_all()
    pids = []
    for words in ("top", "top", "bins --arena 99", "top"):
        told("-p", inferior.pid, *words.split())
        pids.append(staying())
    assert [len(each) for each in pids] == [1, 1, 0, 1]
    assert pids[0] == pids[1] != pids[3]


def test_after_many_answers_another_takes_its_place(inferior, monkeypatch):
    warm.end_all()
    monkeypatch.setattr(warm, "MANY", 2)
    pids = []
    for _ in range(3):
        told("-p", inferior.pid, "top")
        pids.append(staying())
    assert [len(each) for each in pids] == [1, 0, 1]
    assert pids[0] != pids[2]
