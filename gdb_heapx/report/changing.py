"""Sentences about what has changed between two looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .model import counted, size_text

SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def signed(size: int) -> str:
    """Return a change of size for a sentence: `+1.2 GiB`, `-3 MiB`."""
    return f"{'-' if size < 0 else '+'}{size_text(abs(size))}"


def span_text(seconds: int) -> str:
    """Return a time for a sentence in its two largest units: `45 s`, `3 h 20 min`."""
    parts, rest = list[str](), seconds
    for length, name in SPANS:
        if rest >= length or (not parts and length == 1):
            parts.append(f"{rest // length} {name}")
        elif parts:
            break
        rest %= length
    return " ".join(parts[:2])


def _between(old: str | None, new: str | None, seconds: int | None) -> str:
    if old is None or new is None or seconds is None:
        return "When one of the two was seen isn't known."
    days, (first, second) = old[:10] != new[:10], (_clock(old), _clock(new))
    end = second if days else second.partition(" ")[2]
    if not seconds:
        return f"Both were seen at {first} UTC."
    if seconds < 0:
        return (
            f"OLD was seen after NEW, at {first} and at {end}: what is said to grow shrank "
            "meanwhile."
        )
    return f"Seen at {first} and at {end} UTC, {span_text(seconds)} later."


def _clock(time: str) -> str:
    return time.replace("T", " ").replace("Z", "")


def _changed(name: str, old: int, new: int) -> str:
    if old == new:
        return f"{name} is {size_text(new)}, as it was."
    how = "grew" if new > old else "fell"
    by = size_text(abs(new - old))
    return f"{name} {how} by {by}, from {size_text(old)} to {size_text(new)}."


def _places(where: Any) -> str:
    """Say in which arenas a growth is, all of it or how much."""
    arenas = [str(share.name) for share in where.named if share.name is not None]
    names = [f"arena{'s' if len(arenas) > 1 else ''} {_and(arenas)}"] if arenas else []
    if len(arenas) < len(where.named):
        names.append("mmapped chunks")
    if len(where.named) == where.number:
        return f"all in {_and(names)}"
    percent, more = min(where.percent, 99), where.number - len(where.named)
    rest = "" if where.percent >= 99 else f", the rest in {counted(more, 'more arena')}"
    return f"{percent} % of it in {_and(names)}{rest}"


def _and(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list in a sentence."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _part(part: Any, known: bool) -> str:
    """Return what a verdict says of one part."""
    name = f"{part.name} resident" if part.name == "free" and known else part.name
    if part.still:
        return f"{name} unchanged ({signed(part.change)})" if part.change else f"{name} unchanged"
    apart = known and 20 * abs(part.resident - part.change) > abs(part.change)
    resident = f" ({signed(part.resident)} resident)" if apart else ""
    where = f", {_places(part.where)}" if part.where else ""
    return f"{name} {signed(part.change) if part.change else 'unchanged'}{resident}{where}"


IN_WORDS = {
    "in use": "in use by the program",
    "free": "freed, and kept by malloc (retention)",
    "outside malloc": "not malloc's",
    "sbrk of others": "taken by others with sbrk",
}
MEANINGS = {
    "still": "nothing changed that counts",
    "in use": "the growth is in use by the program: a leak, or more to do",
    "touched": (
        "more of what the program holds is in RAM: it touched that, or that came back from swap"
    ),
    "retention": "retention, not a leak",
    "outside": "the growth isn't malloc's",
    "kept": "what the program freed stays in malloc: retention",
    "reused": "what was free is in use now",
    "fell": "RSS fell",
    "shifted": "what one lost another got",
    "virtual": "what of it is in RAM isn't known",
}


def _verdict(
    meaning: str,
    shares: Sequence[tuple[str, int]],
    kept: bool,
    parts: Sequence[Any],
    known: bool,
) -> str:
    said = "; ".join(_part(part, known) for part in parts)
    said = said[:1].upper() + said[1:]
    told = [f"{share} % is {IN_WORDS.get(name, name)}" for name, share in shares]
    means = MEANINGS.get(meaning) or f"of the growth {_and(told)}"
    also = f"; {MEANINGS['kept']}" if kept else ""
    return f"{said}: {means}{also}."


def _grew(change: int, old: int, sizes: Any, types: Any, arenas: Any) -> str:
    parts = list(_by_size(sizes)) if sizes else []
    if types:
        parts += (f"{size_text(s.bytes)} more of type {s.name[0]}" for s in types.named)
    if arenas:
        parts.append(_places(arenas))
    rest = f": {'; '.join(parts)}" if parts else ""
    return f"In use grew by {size_text(change)}, from {size_text(old)}{rest}."


def _by_size(sizes: Any) -> Iterator[str]:
    for share in sizes.named:
        size, chunks = share.name
        yield f"{size_text(share.bytes)} in {counted(chunks, 'more chunk')} of {size:,} bytes"


def _outside(moved: Sequence[tuple[str, int]], number: int) -> str:
    named = ", ".join(f"{name} {signed(size)}" for name, size in moved)
    more = f", and {number - len(moved):,} more" if number > len(moved) else ""
    return f"Outside malloc: {named}{more}."


def _watch_cost(looks: int, failed: int, stood: Sequence[float], seconds: float) -> str:
    failures = f" {counted(failed, 'look')} failed." if failed else ""
    if not stood:
        return f"For how long the process stood still isn't known.{failures}"
    whole, most = sum(stood), max(stood)
    share = f", {100 * whole / seconds:.1f} % of the time" if looks > 1 and seconds else ""
    return (
        f"For {counted(looks, 'look')} the process stood still for {whole:.2f} s in all{share}, "
        f"{most:.2f} s at once at most.{failures}"
    )


CHANGING: dict[str, Callable[..., str]] = {
    "between": _between,
    "changed": _changed,
    "watch_cost": _watch_cost,
    "change_verdict": _verdict,
    "in_use_grew": _grew,
    "outside_changed": _outside,
    "none_changed": lambda kinds: f"No {_and(kinds, 'or')} has changed.",
    "unchanged_means": lambda: (
        "Unchanged is what changed by 1 % of what it was at most, and by no more than a twentieth "
        "of all that moved, or a thousandth of RSS."
    ),
    # Whether both looks are at one process.
    "other_process": lambda old, new: (
        f"These are two processes, {_process(old)} and {_process(new)}: arenas and heaps are "
        "matched by their order."
    ),
    "other_program": lambda old, new: f"These are two programs: {old} and {new}.",
    "other_release": lambda old, new: f"These are two releases of glibc: {old} and {new}.",
    "program_started": lambda pid: (
        f"Process {pid} has started a program since (exec): its memory is new, and arenas and "
        "heaps are matched by their order."
    ),
    "same_likely": lambda: (
        "It is the same process as far as can be told: a core doesn't say when its process began."
    ),
    "arenas_renumbered": lambda pairs: (
        "Arenas have the numbers of NEW; in OLD "
        f"{_and([f'arena {new} was arena {old}' for new, old in pairs])}."
    ),
    "sizes_not_compared": lambda: (
        "Sizes aren't compared: not all chunks of one of the two could be counted."
    ),
    "types_not_compared": lambda missing: (
        f"Types aren't compared: {_and(missing)} {'have' if len(missing) > 1 else 'has'} none."
    ),
}


def _process(facts: Mapping[str, Any]) -> str:
    host = f" on {facts['host']}" if facts["host"] else ""
    return f"{'process ' + str(facts['pid']) if facts['pid'] else 'a core'}{host}"
