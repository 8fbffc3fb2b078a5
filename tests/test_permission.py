"""Why attaching isn't permitted, by what stands in the way; what helps is never so already."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from live import eventually

from gdb_heapx.target import permission
from gdb_heapx.target.permission import CAP_SYS_ADMIN, CAP_SYS_PTRACE, why_not_permitted

ALL, NONE = {CAP_SYS_PTRACE, CAP_SYS_ADMIN}, set()


@pytest.fixture
def asked(monkeypatch):
    """Return what is said of this process where the one who asks is another."""

    def asks(scope, user, capabilities, apart=False):
        monkeypatch.setattr(permission, "ptrace_scope", lambda: scope)
        monkeypatch.setattr(permission, "_has", capabilities.__contains__)
        monkeypatch.setattr(permission, "_apart", lambda pid, namespace: apart)
        monkeypatch.setattr(permission, "_of_other_users", lambda pid: apart)
        monkeypatch.setattr(os, "geteuid", lambda: user)
        return " ".join(why_not_permitted(os.getpid()))

    return asks


OTHER = 4711


@pytest.mark.parametrize(
    ("scope", "user", "capabilities", "words"),
    [
        (3, 0, ALL, "nobody may attach to any process until the next boot"),
        (None, 0, NONE, "as root, but without the capability CAP_SYS_PTRACE"),
        (1, 0, NONE, "--cap-add=SYS_PTRACE"),
        (None, 0, ALL, "a security module (AppArmor, SELinux) or seccomp forbids"),
        (None, OTHER, NONE, "another user's: run heapx as root, or as that user"),
        (1, OTHER, NONE, "another user's: run heapx as root, or as that user"),
        (2, OTHER, NONE, "ptrace_scope is 2: run heapx as root"),
    ],
)
def test_it_says_what_is_in_the_way(asked, scope, user, capabilities, words):
    said = asked(scope, user, capabilities)
    assert words in said
    assert user or "heapx as root" not in said


def test_of_a_process_of_ones_own_yama_is_named(asked, monkeypatch):
    monkeypatch.setattr(permission, "status_of", lambda pid: {"Uid": "\t".join([f"{OTHER}"] * 4)})
    assert "ptrace_scope=0: now it is 1" in asked(1, OTHER, NONE)
    assert "keeps what it has to itself" in asked(0, OTHER, NONE)


def test_another_user_namespace_is_named(asked, monkeypatch):
    assert "another user namespace" in asked(None, 0, ALL, apart=True)
    monkeypatch.setattr(permission, "status_of", lambda pid: {"Uid": "\t".join([f"{OTHER}"] * 4)})
    assert "yours, but in another user namespace" in asked(None, OTHER, NONE, apart=True)


def test_a_user_namespace_is_told_by_its_ids():
    namespace = ("unshare", "--user", "--map-root-user", "sleep", "60")
    if subprocess.run((*namespace[:3], "true"), check=False, capture_output=True).returncode:
        pytest.skip("no user namespace may be made here")
    with subprocess.Popen(namespace) as process:
        try:
            mapped = Path(f"/proc/{process.pid}/uid_map")
            eventually(lambda: mapped.read_text().split()[:1] == ["0"], "its ids are mapped")
            eventually(lambda: permission._of_other_users(process.pid), "it is elsewhere")
        finally:
            process.kill()
    assert not permission._of_other_users(os.getpid())


def test_gdb_is_told_of_another_root_only_where_it_may_not_enter_it(asked):
    asked(None, 0, ALL, apart=True)
    assert permission.root_to_name(17) is None
    asked(None, 0, NONE, apart=False)
    assert permission.root_to_name(17) is None
    asked(None, 0, {CAP_SYS_PTRACE}, apart=True)
    assert permission.root_to_name(17) == "/proc/17/root"
