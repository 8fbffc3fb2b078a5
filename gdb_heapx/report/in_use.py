"""The sentences about what is in use: what it is, who refers to it, what nobody does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .model import counted, size_text

AS_FAR = ", as far as was looked"


def _leaks(chunks: int, heads: int, size: int, whole: int, certain: bool, most: bool) -> str:
    of = f"of {size_text(whole)} in use"
    if not chunks:
        return f"Nothing is leaked, {of}." if certain else f"Everything is referred to, {of}."
    more = f", and only these to {chunks - heads:,} more" if chunks > heads else ""
    nothing = f"refers to {counted(heads, 'chunk')}{more}"
    if certain:
        return f"{size_text(size)} {of} is leaked: nothing {nothing}."
    if most:
        return f"At most {size_text(size)} {of} is leaked: nothing that was looked at {nothing}."
    return f"{size_text(size)} {of} is unreferenced{AS_FAR}: nothing {nothing}."


HOW = {
    "code": "the code that it leads to",
    "holder": "the container that leads to it",
    "links": "the nodes that lead back to it",
    "contents": "its contents",
    "symbol": "its first word",
    "first words": "its first words",
}


def _types(chunks: int, size: int, told: int, objects: int, resident: int | None = None) -> str:
    if not chunks:
        return "No chunk is in use."
    share = f", {100 * told // size} % of it recognised" if size else ""
    some = f"; in it {counted(objects, 'object')}" if objects else ""
    in_ram = ""
    if resident is not None and 100 * (size - resident) >= size:  # else it is nearly all
        in_ram = f", {size_text(resident)} of it in RAM"
    return f"{size_text(size)} is in use{in_ram}, in {counted(chunks, 'chunk')}{share}{some}."


def _quoted(type: str) -> str:
    """Return a type as heapx types calls it, in quotes where it has words of its own."""
    return f'"{type}"' if ": " in type else type


def _is_a(type: str, how: str, many: tuple[int, int | None], partly: bool) -> str:
    instances, offset = many
    type = _quoted(type)
    what = f"{instances:,} of {type}" if instances > 1 else type
    what = f"at least {what}" if partly and instances > 1 else what
    where = f", from byte {offset} on" if offset else ""
    by = HOW.get(how, how)
    return f"What it {'holds' if instances > 1 or offset else 'is'}, by {by}: {what}{where}."


def _hidden(heads: int, of: int, chunks: int, size: int) -> str:
    if not chunks:
        return "Followed so, too, no word leads to what seems lost."
    return (
        f"If words were followed so, too, {heads:,} of {counted(of, 'head')} would be referred to: "
        f"{counted(chunks, 'chunk')} ({size_text(size)}). Words may look like that by chance."
    )


def _with_sizes(parts: Sequence[tuple[str, int | None]]) -> str:
    return ", ".join(f"{why} ({size_text(size)})" if size else why for why, size in parts)


def _a_chunk(chunk: Mapping[str, Any]) -> str:
    return f"{chunk['address']:#x} ({size_text(chunk['size'])}, {_quoted(chunk['type'])})"


def _referred(chunk: Mapping[str, Any], number: int, certain: bool) -> str:
    if not number:
        return f"Nothing refers to {_a_chunk(chunk)}{'' if certain else AS_FAR}."
    verb = "leads" if number == 1 else "lead"
    return f"{counted(number, 'word')} {verb} to {_a_chunk(chunk)}:"


def _refers(chunk: Mapping[str, Any], number: int) -> str:
    if not number:
        return f"{_a_chunk(chunk)} refers to no chunk in use, no variable and no stack."
    return (
        f"{counted(number, 'word')} of {_a_chunk(chunk)} {'leads' if number == 1 else 'lead'} on:"
    )


def _way(chunk: int, number: int, where: str) -> str:
    return f"{where} leads to {chunk:#x} by {counted(number, 'pointer')}:"


FEW = 10  # what others lead to of what somebody holds is few if it is less than one part in so many


def _holds_most(
    holder: str,
    size: int,
    whole: int,
    alone: int,
    others: Sequence[tuple[str, int]],
    more: int,
    types: str | None,
) -> str:
    said = f"{holder} holds {size_text(size)} of {size_text(whole)} in use"
    kinds, rest = f": {types}" if types else "", size - alone
    if not rest:
        return f"{said} alone{kinds}."
    if FEW * rest < size:
        return f"{said}, all but {size_text(rest)} of it alone{kinds}."
    named = [name if of == rest else f"{name} ({size_text(of)})" for name, of in others]
    names = f": {', '.join(named)}{f' and {more:,} more' if more else ''}" if named else ""
    if not alone:
        return f"{said}{kinds}. Others lead to all of that, too{names}."
    part = f"It holds {size_text(alone)} of that alone"
    return f"{said}{kinds}. {part}; others lead to the rest, too{names}."


def _not_looked_through(size: int, chunks: int, whole: bool, work: tuple[str, float] | None) -> str:
    least = "" if whole else "At least "
    said = f"{least}{size_text(size)} is in use, in {counted(chunks, 'chunk')}: not looked through."
    if work is None:
        return said
    what, seconds = work
    return f"{said} At the rate until then {what} is done after some {seconds:.1f} s."


IN_USE: dict[str, Callable[..., str]] = {
    "types": _types,
    "is_a": _is_a,
    "body_unknown": lambda address: (
        f"If it is a container's body, such as a string's or a vector's, heapx refs {address:#x} "
        "says so: that looks at all chunks."
    ),
    "bodies_unknown": lambda: (
        "What is a container's body, such as a string's, isn't told apart here: there are too many "
        "chunks for a quick look at all. heapx types counts these, heapx refs ADDRESS tells of one."
    ),
    "leaks": _leaks,
    "hidden": _hidden,
    "not_looked_at": lambda parts: (
        f"Not looked at: {_with_sizes(parts)}. What only this refers to counts as unreferenced."
    ),
    "shared_not_looked_at": lambda: "heapx leaks --shared looks into shared memory, too.",
    "taken_whole": lambda parts: (
        f"Counts as a root, though not all of it may be one: {_with_sizes(parts)}. That may hide "
        "leaks."
    ),
    "may_refer": lambda parts: (
        f"Not looked at: {_with_sizes(parts)}. Who holds chunks from there isn't told."
    ),
    "may_not_refer": lambda parts: (
        f"Counts as a root, though not all of it may be one: {_with_sizes(parts)}."
    ),
    "not_looked_through": _not_looked_through,
    "in_passes": lambda parts: (
        f"Read in {parts:,} parts, one at a time. What a chunk is, such as a node of a tree, isn't "
        "recognised where only another part could tell."
    ),
    # Who refers to what.
    "referred": _referred,
    "refers": _refers,
    "way": _way,
    "no_way": lambda chunk, certain: (
        f"No root leads to {_a_chunk(chunk)}{'' if certain else AS_FAR}."
    ),
    "held_by_nobody": lambda size, whole, certain: (
        f"Nobody holds {size_text(size)} of {size_text(whole)} in use{'' if certain else AS_FAR}: "
        "see heapx leaks."
    ),
    "holds_most": _holds_most,
    "in_ram": lambda size: f"Of all that is in use {size_text(size)} is in RAM.",
    "shared_not_counted": lambda number: (
        f"What {counted(number, 'holder')} hold{'s' if number == 1 else ''} together with others "
        "was not counted: it would take too long."
    ),
}
