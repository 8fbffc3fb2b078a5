"""How the shell command ends when a signal asks for it."""

from __future__ import annotations

import signal
from contextlib import nullcontext

import pytest

from gdb_heapx.ending import EndedError
from gdb_heapx.shell import main


class Interrupted:
    """A member whose class is being made when the signal comes."""

    def __set_name__(self, owner, name):
        raise EndedError(signal.SIGTERM)


def makes_a_class(arguments):
    type("Record", (), {"member": Interrupted()})
    raise AssertionError("no signal came")


def fails(arguments):
    raise RuntimeError("a bug")


@pytest.fixture
def run(monkeypatch):
    """Return what runs the command with another body, and lets the tests' own signals alone."""
    monkeypatch.setattr(main, "end_by_exception", lambda: None)
    monkeypatch.setattr(main, "let_through", nullcontext)

    def with_body(body):
        monkeypatch.setattr(main, "_run", body)
        return main.run([])

    return with_body


def test_a_signal_that_comes_while_a_class_is_made_is_no_traceback(run, capfd):
    """To 3.11 Python makes a RuntimeError of what is raised there."""
    assert run(makes_a_class) == 128 + signal.SIGTERM
    assert capfd.readouterr().err == "heapx: ended by SIGTERM\n"


def test_another_runtime_error_is_a_bug_and_rises(run):
    with pytest.raises(RuntimeError, match="a bug"):
        run(fails)
