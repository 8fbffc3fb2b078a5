"""Each figure in the words of docs/explaining-rss.md stands in what was shown, or follows from it.

What is shown is seen again in test_live_explaining, in test_live_explained, and what is shown of
others than the two servers in test_live_explained_others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from demos import FIRST, SECOND
from live import ROOT

from gdb_heapx.glibc.releases import (
    DEFAULT_MMAP_THRESHOLD,
    DEFAULT_MMAPS_MAX,
    DEFAULT_TOP_PAD,
    DEFAULT_TRIM_THRESHOLD,
)

DEMO = (ROOT / "scripts" / "demo_server.c").read_text()
CACHE = (ROOT / "scripts" / "demo_cache.cc").read_text()
SHOWN = re.compile(r"^```.*?^```$|^\|[^\n]*$|^    [^\n]*$", re.M | re.S)
FIGURE = re.compile(r"(?<![\w.,/_=-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w=])")
KIB, MIB = 1 << 10, 1 << 20


def number(text: str) -> float:
    return float(text.replace(",", ""))


def page(pattern: str, case: str = FIRST) -> float:
    """Return the first figure of the page, or of a source, behind some words."""
    return number(searched(pattern, case)[1])


def searched(pattern: str, text: str) -> re.Match[str]:
    """Return the first match, wherever lines end."""
    found = re.search(pattern.replace(" ", r"\s+"), text, re.M)
    assert found, pattern
    return found


def constant(name: str) -> int:
    """Return a constant of the first server's."""
    value, _, shift = re.findall(rf"\b{name} = (\d+)( << (\d+))?", DEMO)[0]
    return int(value) << int(shift or 0)


def lines_of_a_page() -> int:
    """Return how many lines export_page renders for one page."""
    written = line = 0
    while written < constant("EXPORT_PAGE") // 2:
        written += len(f"{line} messages answered\n") + 1
        line += 1
    return line


RSS_AFTER = r"^ 6402 (\d+) 2361684"
BLOCKS, SIZE = r"([\d,]+) blocks of [\d,]+ bytes", r"[\d,]+ blocks of ([\d,]+) bytes"
CHUNKS = 1 << 20  # of 400 MiB in blocks of 400 bytes, beside the buffer of stdout

# A figure in words, and what it is by what is shown, by the program or by glibc.
FOLLOWS: dict[str, Callable[[], float]] = {
    r"wrap at 2 GiB: add ([\d,]+)": lambda: 2**32,
    r"([\d.]+) MB are in use": lambda: page(r"^uordblks .* (\d+)$") / 1e6,
    r"use\. ([\d.]+) GB are free": lambda: page(r"^fordblks .* -(\d+)$") / -1e9 + 2**32 / 1e9,
    r"answered: (\d+) pages of": lambda: 2048 / constant("MB_PER_PAGE"),
    r"pages of (\d+) KiB, which": lambda: constant("EXPORT_PAGE") / KIB,
    r"is (\d+) MiB larger": lambda: (page(r"^14171 (215\d+)") - page(r"^14171 (210\d+)")) / KIB,
    r"allocates ([\d,]+) times": lambda: round(lines_of_a_page(), -3),
    r"hence ([\d.]+) MiB and not": lambda: page(r"^export_page +\S+ +\d+ +([\d,.]+)") / KIB,
    r"most of the (\d+) ms": lambda: page(r"200 times, for ([\d.]+) ms"),
    r"less ([\d,]+) is": lambda: page(r"RSS was [\d,]+ bytes and is ([\d,]+)\."),
    r"less [\d,]+ is ([\d,]+):": lambda: page(r"would return ([\d,]+) bytes of RAM"),
    r"runs on with\s+(\d+) MiB": lambda: page(RSS_AFTER) / KIB,
    r"RSS is then (\d+) to": lambda: page(RSS_AFTER) / KIB,
    r"trims top: (\d+)\s+KiB": lambda: DEFAULT_TRIM_THRESHOLD / KIB,
    r"M_TOP_PAD\*\*, (\d+) KiB": lambda: DEFAULT_TOP_PAD / KIB,
    r"mapping of its own:\s+(\d+) KiB": lambda: DEFAULT_MMAP_THRESHOLD / KIB,
    r"may be ([\d,]+) mapped blocks": lambda: DEFAULT_MMAPS_MAX,
    r"\*([\d,]+) blocks had": lambda: DEFAULT_MMAPS_MAX,
    r"spends\s+the ([\d,]+) on": lambda: DEFAULT_MMAPS_MAX,
    r"`ps` says (\d+) MiB of each": lambda: page(r"^RSS ([\d.]+) MiB \(276"),
    r"four, ([\d,]+) MiB in all": lambda: 4 * page(r"`ps` says (\d+) MiB of each"),
    r"they take (\d+)\)": lambda: page(r"\| before \|.* ([\d,]+) \|$") / KIB,
    r"in use in ([\d,]+) chunks": lambda: CHUNKS + 1,
    r"chunks of (\d+) B to": lambda: 2 ** (416).bit_length() / 2,
    r"chunks of \d+ B to (\d+) B": lambda: 2 ** (416).bit_length(),
    r"\*([\d,]+) MiB in use in 1": lambda: 416 * CHUNKS / MIB,
    r"it RSS was [\d.]+ MiB: ([\d.]+) less": lambda: (
        page(r"^RSS (235\.8) MiB") - page(r"it RSS was ([\d.]+) MiB")
    ),
}
FOLLOWS_IN_SECOND: dict[str, Callable[[], float]] = {
    r"There are (\d+) products": lambda: page(r"draw\(state, (\d+)\)\)", CACHE),
    r"page of ([\d,]+) to": lambda: page(r"assign\((\d+) \+", CACHE),
    r"page of [\d,]+ to ([\d,]+) bytes": lambda: (
        1000 + page(r"assign\(\d+ \+ draw\(state, (\d+)", CACHE)
    ),
    r"so that ([\d.]+) MB of pages": lambda: 500 * (1000 + 5000) / 2 / 1e6,
}

# Which releases and programs they are about, and what was measured.
SEEN = (
    r"on Debian (\d+) \(glibc [\d.]+, gdb ([\d.]+);",
    r"`trim --now` by gdb ([\d.]+), because gdb ([\d.]+) can't",
    r"\(glibc ([\d.]+)\)\. 2",
    r"\(glibc ([\d.]+): one per CPU",
    r"From glibc ([\d.]+) on",
    r"RSS was ([\d,]+) KiB before the export, and ([\d,]+) after",
    r"stood still for ([\d.]+) ms each",
    r"The call took ([\d.]+) s",
    r"RSS was ([\d,]+) to ([\d,]+) MiB in\s+six",
    r"Its RSS is ([\d.]+) MiB",
    r"and (\d+) MiB of free memory, which",
    BLOCKS,
    SIZE,
    r"it RSS was ([\d.]+) MiB",
    r"keeps ([\d,]+) small dicts",
    r"with `3 4 (\d+)`",
)


def words_of(case: str) -> str:
    """Return a case without what is shown, as long."""
    return SHOWN.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), case)


def covered(words: str, patterns: list[str]) -> Iterator[int]:
    """Yield where the figures begin that are told of."""
    for pattern in patterns:
        found = searched(pattern, words)
        yield from map(found.start, range(1, len(found.groups()) + 1))


@pytest.mark.parametrize(
    ("case", "follows", "seen"), [(FIRST, FOLLOWS, SEEN), (SECOND, FOLLOWS_IN_SECOND, ())]
)
def test_each_figure_in_words_is_shown_or_follows(case, follows, seen):
    words = words_of(case)
    shown = set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", "\n".join(SHOWN.findall(case))))
    told = set(covered(words, [*follows, *seen]))
    found = FIGURE.finditer(words)
    assert [each[0] for each in found if each[0] not in shown and each.start() not in told] == []


@pytest.mark.parametrize(
    ("case", "pattern", "value"),
    [
        *((FIRST, pattern, value) for pattern, value in FOLLOWS.items()),
        *((SECOND, pattern, value) for pattern, value in FOLLOWS_IN_SECOND.items()),
    ],
)
def test_what_follows_is_that_figure_as_it_is_rounded(case, pattern, value):
    text = searched(pattern, words_of(case))[1]
    places = len(text.partition(".")[2])
    assert f"{value():,.{places}f}".replace(",", "") == text.replace(",", "")
