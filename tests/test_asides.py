"""What needs no target, and what is meant for another place: the shell, or gdb."""

from __future__ import annotations

import pytest

from gdb_heapx.cli.arguments import Asked
from gdb_heapx.cli.asides import check_at_prompt, help_topic
from gdb_heapx.errors import HeapxError, UsageError, wrapped


@pytest.mark.parametrize(
    ("line", "topic"),
    [
        ("help", []),
        ("-h", []),
        ("--help arenas", ["arenas"]),
        ("help arenas", ["arenas"]),
        ("help heapx arenas", ["arenas"]),
        ("arenas -h", ["arenas"]),
        ("arenas 1 --help", ["arenas", "1"]),
        ("arenas --help --limit 3", ["arenas", "--limit", "3"]),
        ("arenas", None),
        ("chunks --type help", None),
        ("", None),
    ],
)
def test_help_is_asked_for_in_every_usual_way(line, topic):
    assert help_topic(line.split()) == topic


def refused(line, expressions=False):
    with pytest.raises(UsageError) as caught:
        check_at_prompt(line.split(), f"heapx {line}", expressions, lambda name: name == "less")
    return caught.value


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("-p 5126", "attach 5126"),
        ("--pid 5126 arenas", "attach 5126"),
        ("--pid=5126", "attach 5126"),
        ("-p", "attach PID"),
        ("--core core.1", "core-file core.1"),
        ("--snapshot a.json.gz", "heapx load a.json.gz"),
        ("--set units=MiB", "set heapx units MiB"),
        ("--set", "set heapx NAME VALUE"),
        ("chunks | grep x", "pipe heapx chunks | grep x"),
        ("chunks |grep x", "pipe heapx chunks |grep x"),
        ("chunks > /tmp/x", "heapx chunks --output /tmp/x"),
        ("chunks >/tmp/x", "heapx chunks --output /tmp/x"),
        ("chunks --limit 3 >> x", "heapx chunks --limit 3 --output x"),
        ("chunks >", "heapx chunks --output FILE"),
    ],
)
def test_what_a_shell_understands_is_refused_in_gdb_with_what_gdb_has(line, instead):
    assert refused(line).remedies == (f"In gdb: {instead}",)


def test_a_pipe_behind_an_expression_is_one_where_a_program_follows():
    assert refused("chunk $p | less", expressions=True).remedies
    assert refused("chunk $p |less", expressions=True).remedies
    check_at_prompt(["chunk", "$p", "|", "8"], "", True, lambda name: name == "less")


@pytest.mark.parametrize("line", ["", "arenas 1", "chunk p->next", "chunk a>=b", "chunk a>>3"])
def test_what_gdb_understands_is_left_alone(line):
    check_at_prompt(line.split(), line, True, lambda name: True)


# Errors, broken at words.

ERROR = HeapxError(
    "a statement that is longer than a terminal of forty columns is wide",
    "and what to do about that, which is no shorter than it",
    "--with-a-word-that-is-longer-than-the-whole-terminal",
)


def test_an_error_is_broken_at_words_and_loses_none():
    text = wrapped(str(ERROR), 40)
    assert text.split() == str(ERROR).split()
    assert [line for line in text.splitlines() if len(line) > 40] == [
        "  --with-a-word-that-is-longer-than-the-whole-terminal"
    ]
    indents = [len(line) - len(line.lstrip()) for line in text.splitlines()]
    assert indents == [0, 4, 2, 6, 2]


def test_where_no_terminal_shows_it_an_error_is_as_it_is():
    assert wrapped(str(ERROR), None) == str(ERROR)


def test_a_line_that_fits_stays_as_it_is():
    assert wrapped("heapx: two  spaces\n  next", 40) == "heapx: two  spaces\n  next"


# Addresses, as they were asked for.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("0X7F10", "0X7F10"),
        ("32528", "32528"),
        ("$rax+8", "$rax+8 (0x7f10)"),
        ("buffer", "buffer (0x7f10)"),
    ],
)
def test_an_address_is_told_as_it_was_typed_and_an_expression_with_its_value(words, said):
    address = Asked(0x7F10, words)
    assert f"{address}" == str(address) == said
    assert (address, f"{address:#x}", address + 1) == (0x7F10, "0x7f10", 0x7F11)
