"""Whether a page shows what a command says: the words exactly, each figure by its kind.

Where a figure stands tells its kind: the column and the row, or the line. The kind alone tells how
far two runs may differ in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
PART = re.compile(
    r"0x[0-9a-f]+|<?\d[\d,]*(?:\.\d+)?(?: (?:B|bytes|KiB|MiB|GiB|ms|s|%)(?!\w))?|[^\W\d]+|[^\w\s]"
)


class DecidedBy(Enum):
    """What decides a figure; its value: by which share of the larger one two runs may differ."""

    FIXED = 0.0  # the program, glibc or what was asked
    WHOLE = 0.2  # the load: all threads together
    TURNS = 0.8  # how the threads took turns: what one arena or chunk has
    FORM = 1.0  # the kernel, the machine, the last chunk of an arena: it must be there


COLUMNS = {
    **dict.fromkeys(("request", "chunk", "remainder", "grows", "requests"), DecidedBy.FIXED),
    **dict.fromkeys(("from", "to", "threads", "swapped"), DecidedBy.FIXED),
    "largest": DecidedBy.TURNS,
    **dict.fromkeys(("arena", "chunk at", "address", "top", "kept: top", "+"), DecidedBy.FORM),
}
LINES = (
    (r"other threads' tcaches|another bin of its tcache", DecidedBy.FIXED),
    (
        r"holds|heaps free\(\)|likely|^top ",
        DecidedBy.FORM,
    ),  # by which chunk is the last of an arena
    (r"^reserved by heaps |^ *- arena|repeats|free, stays", DecidedBy.TURNS),
    (r"Likely .*: malloc_trim never returns the tops", DecidedBy.TURNS),
    (r"^(interior|red_zone) ", DecidedBy.FORM),  # words that weren't overwritten
    (r"^shared | hash (buckets|node) |leads to .* pointers", DecidedBy.FORM),
    (r"stood still|more rows|^process |\.c:\d", DecidedBy.FORM),
)

# Whether one chunk pins most or several alike do is chance, and so is what the last below a top is.
CHANCES = (
    (
        r"\d+ chunks? of \d+ bytes at the ends? of (arena \d+|\d+ arenas) holds? [\d.,]+ [KM]iB",
        "the largest pins",
    ),
    (r"; the last \d+ of \d+ bytes hold [\d.,]+ [KM]iB", ""),
    (r"( times>)[^}]*\}", r"\1}"),  # what lies behind a string that has no end
    (r"bytes, in (use|a fastbin|a tcache),", "bytes, in some state,"),
    (r"\blarge(?= +0x)", "piece"),  # which free chunk fits best, and in which bin that is
    (r"\bunsorted(?= +0x)", "piece   "),
    # A table whose pieces leave nothing has no such column.
    (r"\bchunk at( grows\n.* piece 0x\w+)", r"chunk at  remainder\1          0"),
    (r"[\d.]+ KiB free in malloc", "little free in malloc"),
    (r"^(stack .*[\d.] )[a-z ]+$", r"\1words that weren't overwritten"),
    (r", all but [\d.]+ \S+ of it alone:", " alone:"),  # by such words
    (r"^\d+ more rows?( of \w+)? \(--limit\)\.\n", ""),  # and so whether one is leaked all the same
    (r"(?<=\d)\n(?=[KMG]iB\b)", " "),  # where a line ends
    (r"\w[\w: ]* (\([^)]+\)); \w[\w: ]* \1\.$", r"two types \1."),  # which of both is first
    (r"^(0x\w+ +)(any|\d+)(?= +chunk .* hash node )", r"\1 48"),  # which of a bucket it is
    (r"^fast .*\n", ""),  # whether any chunk was freed last that is so small
    # Whether malloc_trim returns most of what is likely of the tops, so that it is the same, and
    # else which of these two is told first: by what each would give back, about as much.
    (
        r"^ +The same, likely ([\d.]+ [KM]iB): malloc_trim never returns the tops [\s\S]*?\n\n"
        r"([\s\S]*?)^3\. (?=[\d.]+ MiB: freed chunks in the tcaches )",
        r"\g<2>3. Likely \1: malloc_trim never returns the tops of arenas but the main one.\n\n4. ",
    ),
    (
        r"^3\. ([\d.]+ MiB: freed chunks in the tcaches [\s\S]*?)"
        r"^4\. (Likely [\d.]+ [KM]iB: malloc_trim never returns the tops [\s\S]*?)(?=^5\.|\Z)",
        r"3. \2\n4. \1",
    ),
    (r"^(process \d+), \S+/", r"\1, "),
    (r"^\[[^\]]*\]$", "[bar]"),
    (r"^-+$", "="),
)


class Scrap(NamedTuple):
    """A word, or with a kind a figure: what it is and what its last digit is worth."""

    text: str
    kind: DecidedBy | None = None
    value: float = 0
    digit: float = 0


def differences(shown: str, said: str) -> list[str]:
    """Return what a page shows and a command doesn't say; a line of … stands for any lines."""
    answer, start = next(_stretches(said)), 0
    found = []
    for number, stretch in enumerate(_stretches(shown)):
        places = range(start, len(answer) - len(stretch) + 1)
        at = next((n for n in places if _alike(stretch, answer[n:]) == len(stretch)), None)
        if at is None or (at and not number):
            return [*found, _parting(stretch, answer[start:])]
        start = at + len(stretch)
        pairs = zip(stretch, answer[at:start])
        found += [f"{a.text} is {b.text} ({a.kind})" for a, b in pairs if not _agree(a, b)]
    if start != len(answer) and not shown.rstrip().endswith("\n…"):
        found.append("not shown: " + " ".join(part.text for part in answer[start:]))
    return found


def _alike(shown: list[Scrap], said: list[Scrap]) -> int:
    """Return how many words, with any figures, are the same from the beginning on."""
    pairs = enumerate(zip(_reads(shown), _reads(said)))
    return next((n for n, (a, b) in pairs if a != b), min(len(shown), len(said)))


def _reads(parts: list[Scrap]) -> list[str]:
    return ["#" if part.kind else part.text for part in parts]


def _parting(shown: list[Scrap], said: list[Scrap]) -> str:
    """Return where the words are others than what was said at most."""
    most, at = max((_alike(shown, said[n:]), -n) for n in range(max(len(said), 1)))
    answer = said[most - at :]
    return f"no counterpart: {_words(shown[most:])!r}, but {_words(answer)!r}"


def _words(parts: list[Scrap]) -> str:
    return " ".join(part.text for part in parts[:20])


def _agree(shown: Scrap, said: Scrap) -> bool:
    if shown.kind is None or shown.kind is DecidedBy.FORM:
        return True
    between = abs(shown.value - said.value)
    rounded = shown.digit if shown.kind is not DecidedBy.FIXED else 0
    return between <= shown.kind.value * max(shown.value, said.value) + rounded


def _stretches(text: str) -> Iterator[list[Scrap]]:
    """Return the parts of what stands between lines of …."""
    for pattern, instead in CHANCES:
        text = re.sub(pattern.replace(" ", r"\s+"), instead, text, flags=re.M)
    heads: dict[int, str] = {}
    parts: list[Scrap] = []
    caption = False
    for line in text.splitlines():
        if line.strip() == "…":
            yield parts
            parts = []
            continue
        if caption:
            heads = {each.end(): each[0] for each in re.finditer(r"\S+(?: \S+)*", line)}
        parts += [_part(each, line, heads) for each in PART.finditer(line)]
        caption = bool(re.match(r"[a-z ]+, (sizes?|from) ", line))
        heads = heads if line.strip() else {}
    yield parts


def _part(each: re.Match[str], line: str, heads: dict[int, str]) -> Scrap:
    text = each[0]
    if text.startswith("0x"):
        return Scrap(text, DecidedBy.FORM)
    if not text.lstrip("<")[:1].isdigit():
        return Scrap(text)
    digits, _, unit = text.lstrip("<").replace(",", "").partition(" ")
    digit = 10.0 ** -len(digits.partition(".")[2])
    value = float(digits) - (digit / 2 if text[0] == "<" else 0)
    scale = UNITS.get(unit, 1)
    return Scrap(text, _kind(line, heads, each.end(), unit), value * scale, digit * scale)


def _kind(line: str, heads: dict[int, str], end: int, unit: str) -> DecidedBy:
    """Return the kind of a figure that ends here in its line."""
    column = heads.get(end, "")
    if column in ("chunk", "remainder") and " piece " in line:
        return DecidedBy.FORM  # of a free chunk: how the threads took turns
    if unit in ("s", "ms", "%"):
        return DecidedBy.FORM
    if column in COLUMNS:
        return COLUMNS[column]
    if "arena" in heads.values() and not line.startswith("total"):
        return DecidedBy.TURNS
    return next((kind for words, kind in LINES if re.search(words, line)), DecidedBy.WHOLE)
