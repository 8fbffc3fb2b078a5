"""Sentences about malloc's memory as it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .model import counted, size_text

LISTED = 6  # arenas


def _grew(seconds: float, size: int, requests: int, sites: int) -> str:
    if not requests:
        return f"In {seconds:.1f} s malloc got nothing from the system."
    return (
        f"In {seconds:.1f} s malloc got {size_text(size)} from the system, by "
        f"{counted(requests, 'request')} of {counted(sites, 'call site')}."
    )


def _was_free(
    site: str,
    chunk: int | None,
    arena: int | None,
    free: int,
    chunks: int,
    largest: int,
    whole: bool,
) -> str:
    needed = "memory" if chunk is None else f"a chunk of {chunk:,} bytes"
    where = "its arena" if arena is None else f"arena {arena}"
    at_least = "" if whole else "at least "
    return (
        f"When {site} needed {needed}, {where} had {at_least}{size_text(free)} free in "
        f"{counted(chunks, 'chunk')}: the largest {'' if whole else 'of these '}has "
        f"{largest:,} bytes."
    )


def _was_free_elsewhere(site: str, own: Sequence[int], others: int, free: int, whole: bool) -> str:
    asked = f"arena{'s' if len(own) > 1 else ''} {', '.join(map(str, own[:LISTED]))}"
    asked += ", ..." if len(own) > LISTED else ""
    return (
        f"{'' if whole else 'At least '}{size_text(free)} lay free in "
        f"{counted(others, 'other arena')}: {site} asks {asked} only."
    )


def _cost(stops: int, stood: float, seconds: float) -> str:
    if not stops:
        return "The process never stood at a breakpoint."
    share = 100 * stood / seconds if seconds else 0.0
    return (
        f"The process stood still {counted(stops, 'time')}, for {1000 * stood / stops:.2f} ms "
        f"each: {share:.1f} % of the time."
    )


ENDS = {
    "time": "The time was over.",
    "count": "So many requests were asked for: --stop-after.",
    "load": (
        "It ended early: in a second or more the process stood still for more of the time than "
        "--max-load allows."
    ),
    "asked": "It was ended by Ctrl-C, or by a signal to heapx.",
    "exec": "It ended because the process has started another program (exec).",
}


def _ended(why: str, text: str) -> str:
    if why == "exited":
        return f"It ended with the process{f', by exit({text})' if text else ''}."
    return ENDS.get(why) or f"It ended because the process was stopped: {text}."


GROWING: dict[str, Callable[..., str]] = {
    "grew": _grew,
    "was_free": _was_free,
    "was_free_elsewhere": _was_free_elsewhere,
    "growth_cost": _cost,
    "growth_ended": _ended,
    "growth_by_calls": lambda: (
        "libc's symbols are missing: sizes of requests are unknown, and so is where a heap grew "
        "again into what it had given back."
    ),
    "growth_failed": lambda number: (
        f"{counted(number, 'request')} got nothing: malloc returned NULL, or tried another way."
    ),
    "growth_unfinished": lambda number: (
        f"{counted(number, 'request')} {'was' if number == 1 else 'were'} under way at the end, "
        "and not counted."
    ),
}
