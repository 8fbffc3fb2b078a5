"""The shell command's help, its man page and its completions, made from the declarations."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from live import HEAPX, ROOT, environment, run

from gdb_heapx.cli.arg import SHELL_ARGS, SHELLS
from gdb_heapx.cli.completions import completions
from gdb_heapx.cli.manual import help_text, man_page, sub_commands
from gdb_heapx.cli.preferences import PREFERENCES
from gdb_heapx.commands import load_commands

WORDS = [command.word for command in sub_commands()]
MAN_PAGE = ROOT / "docs" / "heapx.1"


def with_tool(name):
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}")


# Help.


def test_the_help_names_everything_in_80_columns():
    text = help_text()
    assert max(map(len, text.splitlines())) <= 80
    for name in (*WORDS, *(arg.name for arg in SHELL_ARGS), *(p.name for p in PREFERENCES)):
        assert re.search(rf"^  (-\w, )?{name}\b", text, re.M), name


@pytest.mark.few(1)
@pytest.mark.parametrize("word", ["arenas", "chunk"])
def test_help_of_a_command_can_be_asked_for_in_every_usual_way(word):
    expected = load_commands()[f"heapx {word}"].help() + "\n"
    for words in ((word, "--help"), (word, "-h"), ("help", word), ("--help", word)):
        done = run((HEAPX, *words))
        assert (done.status, done.out, done.err) == (0, expected, "")


# The man page.


def test_the_man_page_is_the_one_that_is_made():
    assert MAN_PAGE.read_text() == man_page()


def test_the_man_page_has_every_command_option_and_setting():
    plain = man_page().replace("\\-", "-")
    for command in load_commands().values():
        assert f'.SS "{command.usage}"' in plain
        for arg in command.all_args:
            assert f".B {arg.usage}" in plain
    for preference in PREFERENCES:
        assert f".B {preference.name}\n{preference.help}. " in plain


def test_no_text_of_the_man_page_is_taken_for_a_request():
    requests = {line.split()[0] for line in man_page().splitlines() if line[:1] in (".", "'")}
    assert requests == {'.\\"', ".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".br", ".nf", ".fi"}


@with_tool("groff")
def test_groff_has_nothing_to_say_about_the_man_page():
    done = run(("groff", "-man", "-ww", "-z", MAN_PAGE))
    assert (done.status, done.err) == (0, "")


# Completions.


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.few(1)
def test_a_shell_can_be_given_its_completions(shell):
    done = run((HEAPX, "--completion", shell))
    assert (done.status, done.err) == (0, "")
    assert done.out == completions(shell)
    assert run((HEAPX, "--completion", "tcsh")).status == 2


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_know_every_command_and_every_option(shell):
    script = completions(shell)
    for word in WORDS:
        assert re.search(rf"\b{word}\b", script)
    args = [arg for command in load_commands().values() for arg in command.all_args]
    for arg in (*args, *SHELL_ARGS):
        for name in arg.options:
            long = f"-l {name[2:]} " if name.startswith("--") else f"-s {name[1:]} "
            assert (long if shell == "fish" else name) in script
        assert all(choice in script for choice in arg.choices)


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_know_every_column(shell):
    script = completions(shell)
    for command in load_commands().values():
        for table in command.tables:
            for column in table.columns:
                assert re.search(rf"\b{column.name}\b", script)


def in_bash(line):
    """Return what bash offers at the end of a line; it breaks words at `=`, too."""
    words = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    script = f"""
        eval "$({HEAPX} --completion bash)"
        compopt() {{ :; }}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}) COMP_CWORD={len(words) - 1}
        _heapx
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr
    return done.stdout.split()


@with_tool("bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("heapx -p 12 ", [*WORDS, "help"]),
        ("heapx ar", ["arenas"]),
        ("heapx help ch", ["check", "chunk", "chunks"]),
        ("heapx -p 12 bins --k", ["--kind"]),
        ("heapx -p 12 bins --kind ", ["fast", "unsorted", "small", "large"]),
        ("heapx -p 12 chunks --state in", ["in-use"]),
        ("heapx -p 12 arenas --format j", ["json"]),
        ("heapx --comp", ["--completion"]),
        ("heapx --completion ", list(SHELLS)),
        ("heapx --set un", ["units="]),
        ("heapx --set units=", ["auto", "bytes", "KiB", "MiB", "GiB", "TiB"]),
        ("heapx --set units=M", ["MiB"]),
        ("heapx --core READM", []),
        ("heapx bins --sort chu", ["chunks"]),
        ("heapx -p 12 heaps --columns arena,resi", ["arena,resident"]),
        ("heapx arenas --ar", ["--arena"]),
    ],
)
@pytest.mark.few(2)
def test_bash_completes(line, offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert in_bash(line) == offered


@with_tool("bash")
def test_bash_completes_files_and_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core.17").touch()
    assert in_bash("heapx --core co") == ["core.17"]
    assert "1" in in_bash("heapx -p ")


TAKING_A_FILE = (
    "heapx -p 12 save ",
    "heapx -p 12 report --output ",
    "heapx compare ",
    "heapx compare old.json ",
    "heapx --snapshot ",
)


@pytest.mark.few(2)
@with_tool("bash")
@pytest.mark.parametrize("line", TAKING_A_FILE)
def test_bash_completes_the_file_that_a_command_takes(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a snapshot.json").touch()
    (tmp_path / "server.json").touch()
    assert in_bash(f"{line}ser") == ["server.json"]


@with_tool("fish")
@pytest.mark.parametrize("line", TAKING_A_FILE)
def test_fish_completes_the_file_that_a_command_takes(line, tmp_path):
    (tmp_path / "server.json").touch()
    (tmp_path / "script").write_text(completions("fish"))
    words = ("fish", "--no-config", "-c", f"source script; complete -C '{line}ser'")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "server.json" in [row.split("\t")[0] for row in done.stdout.splitlines()]


AT_A_TERMINAL = {  # its options, and what makes it complete
    "bash": (
        ("--norc", "--noprofile", "-i"),
        "source ./script; bind 'set completion-query-items 0'; bind 'set page-completions off'",
    ),
    "zsh": (
        ("-f", "-i"),
        "autoload -U compinit; compinit -u -D; source ./script; "
        "zstyle ':completion:*' insert-tab false",
    ),
}


def typed_in(shell, line, cwd):
    """Return what a shell at a terminal makes of a line with a Tab in it, and what it shows."""
    options, begin = AT_A_TERMINAL[shell]
    (cwd / "script").write_text(completions(shell))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(shell, [shell, *options], environment(PS1="> "))
    try:
        os.write(terminal, f"{begin}\n{line}".encode())
        os.write(terminal, b"\x01echo '[\x05]'\n")  # at the line's beginning, and at its end
        os.write(terminal, b"exit\n")
        shown = b""
        with suppress(OSError):  # the shell has ended
            while piece := os.read(terminal, 1 << 16):
                shown += piece
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("shell", [pytest.param(s, marks=with_tool(s)) for s in AT_A_TERMINAL])
@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("heapx bins --sort chu\t", "heapx bins --sort chunks"),
        ("heapx heaps --columns arena,resi\t", "heapx heaps --columns arena,resident"),
        ("heapx arenas --colu\tsys\t", "heapx arenas --columns system"),
        ("heapx -p 12 arenas 1 --ar\t", "heapx -p 12 arenas 1 --arena"),
        *((f"{line}ser\t", f"{line}server.json") for line in TAKING_A_FILE),
    ],
)
@pytest.mark.few(1)
def test_a_line_is_completed_at_a_terminal(shell, line, whole, tmp_path):
    (tmp_path / "server.json").touch()
    assert re.search(rf"[\r\n](\x1b\[J)?\[{whole} ?\][\r\n]", typed_in(shell, line, tmp_path))


@with_tool("bash")
def test_where_bash_offers_several_processes_each_has_its_name(tmp_path):
    name = Path("/proc/self/comm").read_text().strip()
    assert f"{os.getpid()} ({name})" in typed_in("bash", "heapx -p \t\t", tmp_path)


@with_tool("bash")
def test_bash_completes_the_threads_of_the_process():
    pid = os.getpid()
    threads = {lwp for lwp in os.listdir(f"/proc/{pid}/task") if lwp.startswith(str(pid))}
    assert set(in_bash(f"heapx -p {pid} fit 100 --thread {pid}")) == threads
    assert in_bash("heapx fit 100 --thread ") == []


WITHOUT_PS = {  # what prints the processes that are offered
    "bash": "source {0}; COMP_WORDS=(heapx -p '') COMP_CWORD=2; _heapx; echo ${{COMPREPLY[@]}}",
    "zsh": "_describe() {{ print -l -- $pids; }}; compdef() {{ :; }}; source {0}; _heapx_pids",
    "fish": "source {0}; complete -C 'heapx -p '",
}


@pytest.mark.parametrize("shell", [pytest.param(s, marks=with_tool(s)) for s in SHELLS])
def test_processes_are_completed_with_what_every_system_has(shell, tmp_path):
    for tool in ("grep", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    script = tmp_path / "script"
    script.write_text(completions(shell))
    line = WITHOUT_PS[shell].format(script)
    env = environment(PATH=str(tmp_path), HOME=str(tmp_path))
    done = run((shutil.which(shell), "-c", line), env=env)
    assert done.err == ""
    assert str(os.getpid()) in re.findall(r"\d+", done.out)


@pytest.mark.parametrize("shell", [pytest.param(s, marks=with_tool(s)) for s in AT_A_TERMINAL])
def test_a_program_s_name_is_completed_for_a_process(shell, tmp_path):
    program = tmp_path / "nap-of-heapx"
    shutil.copy(shutil.which("sleep"), program)
    sleeper = subprocess.Popen([program, "60"])
    try:
        shown = typed_in(shell, "heapx -p nap-of-h\t", tmp_path)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert re.search(r"[\r\n](\x1b\[J)?\[heapx -p nap-of-heapx ?\][\r\n]", shown)


@with_tool("fish")
def test_fish_offers_processes_by_number_and_by_name(tmp_path):
    script, name = tmp_path / "heapx.fish", Path("/proc/self/comm").read_text().strip()
    script.write_text(completions("fish"))
    for typed in (str(os.getpid()), name):
        line = f"source {script}; complete -C 'heapx -p {typed}'"
        found = run(("fish", "--no-config", "-c", line)).out
        assert typed in [row.split("\t")[0] for row in found.splitlines()]


@with_tool("bash")
@pytest.mark.parametrize("typed", ["heapx\\ t", "heapx"])
def test_bash_quotes_a_program_s_name_as_a_line_needs_it(typed, tmp_path):
    program, script = tmp_path / "heapx two;$x", tmp_path / "script"
    shutil.copy(shutil.which("sleep"), program)
    script.write_text(completions("bash"))
    line = f"source {script}; COMP_WORDS=(heapx -p '{typed}') COMP_CWORD=2; _heapx"
    sleeper = subprocess.Popen([program, "60"])
    try:
        done = run(("bash", "--norc", "-c", f"{line}; printf '%s\\n' \"${{COMPREPLY[@]}}\""))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert "heapx\\ two\\;\\$x" in done.out.splitlines()


@with_tool("zsh")
def test_zsh_takes_its_completions(tmp_path):
    script = tmp_path / "_heapx"
    script.write_text(completions("zsh"))
    load = f"autoload -U compinit; compinit -u -D; source {script}; print $_comps[heapx]"
    assert run(("zsh", "-f", "-c", load)).out == "_heapx\n"


@with_tool("fish")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("heapx ar", ["arenas"]),
        ("heapx bins --kind ", ["fast", "large", "small", "unsorted"]),
        ("heapx --set color=", ["color=auto", "color=off", "color=on"]),
    ],
)
def test_fish_completes(line, offered, tmp_path):
    script = tmp_path / "heapx.fish"
    script.write_text(completions("fish"))
    found = run(("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")).out
    assert [row.split("\t")[0] for row in found.splitlines()] == offered
