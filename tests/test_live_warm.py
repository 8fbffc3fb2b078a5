"""A gdb that stays answers as a new one does: what tests see through one is what users see."""

from __future__ import annotations

import pytest
import warm
from live import LOADER, Anew, environment, gcore, gdb, heapx, session, told

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def staying(monkeypatch):
    """Ask a gdb that stays, with CI=true too."""
    monkeypatch.setattr(Anew, "asked", False)


LINES = (
    "",
    "ledger --format csv --columns owner,arena,virtual,resident,swapped",
    "arenas --format json",
    "chunks --limit 5 --bytes",
    "bins --arena 99",
)


@pytest.fixture(scope="module")
def damaged(start_once):
    return start_once("damaged", "bin")


@pytest.mark.parametrize("line", LINES)
@pytest.mark.few(1)
def test_it_says_what_the_shell_command_says(damaged, line):
    words = line.split()
    told("-p", damaged.pid, "top")  # its next isn't its first answer
    assert told("-p", damaged.pid, *words) == heapx("-p", damaged.pid, *words)


SHOWN = ("heapx arenas", "heapx bins --format csv", "output main_arena.top", "info sharedlibrary")


@pytest.mark.slow
def test_its_sessions_say_what_a_new_gdb_says_of_a_process_and_a_core(damaged, start, tmp_path):
    inferior = start("arenas", "5")
    session(*SHOWN, target=("-p", damaged.pid))
    core = gcore(inferior.pid, tmp_path / "core")
    for target in (("-p", inferior.pid), (inferior.exe, core)):
        lines = ("echo begin\\n", *SHOWN, "heapx nosuch", "output/x $pc", "echo end\\n")
        stayed, new = session(*lines, target=target), gdb(*lines, target=target)
        assert between(stayed.out) == between(new.out)
        assert between(new.out).count("\n") > 20
        assert stayed.err.splitlines()[-2:] == new.err.splitlines()[-2:]
        assert "no command 'nosuch'" in stayed.err
    of_core = ("--core", core, "--exe", inferior.exe, "ledger")
    assert told(*of_core) == heapx(*of_core)
    core.unlink()


def test_what_is_set_for_one_answer_does_not_hold_for_the_next(damaged):
    arenas = ("-p", damaged.pid, "arenas")
    sets = [word for given in ("color=on", "units=KiB", "limit=1") for word in ("--set", given)]
    before, other, after = told(*arenas), told(*arenas, *sets), told(*arenas)
    assert before == after != other


def between(text):
    return text.partition("begin\n")[2].partition("end\n")[0]


COMMAND = ("gdb", "-nx", "-q", "-batch", "-ex", f"source {LOADER}")


def asked(request):
    """Return whether a gdb that stays gave a clean answer, and which one stays then."""
    clean = warm.ask(COMMAND, environment(), request)["clean"]
    stays = warm.STAYING.get(COMMAND)
    return clean, stays and stays.pid


def test_it_stays_until_it_fails():
    good, bad = {"lines": ["help heapx"]}, {"lines": None}
    first, second, failed, third = (asked(request) for request in (good, good, bad, good))
    assert first == second
    assert failed == (False, None)
    assert third not in (first, (True, None))


def test_after_many_answers_another_takes_its_place(monkeypatch):
    monkeypatch.setattr(warm, "MANY", 2)
    while asked({"lines": []})[1]:
        pass
    first, second, third = (asked({"lines": []}) for _ in range(3))
    assert second == (True, None)
    assert third not in (first, second)
