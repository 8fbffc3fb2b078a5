"""What a reader is told beside the figures: codes with values, and the sentence of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .changing import CHANGING
from .growing import GROWING
from .in_use import IN_USE
from .model import Note, counted, shortened, size_text

PATH = 48  # characters of a program's: with the rest of its sentence a line of 80 columns


def note(code: str, **values: Any) -> Note:
    """Return a note; ValueError where SENTENCES has none of this code."""
    if code not in SENTENCES:
        raise ValueError(f"no note has the code {code}")
    return Note(code, values)


def sentence(told: Note) -> str:
    """Return what a note says."""
    return SENTENCES[told.code](**told.values)


def _equation(
    known: bool, whole: int, parts: Mapping[str, int], private: Mapping[str, int] | None
) -> str:
    def of_it(name: str) -> str:
        return "" if private is None else f" ({size_text(private[name])} private)"

    total = f"{'RSS' if known else 'Address space'} {size_text(whole)}{of_it('whole')}"
    if not parts:
        return total
    told = (f"{size_text(size)} {name}{of_it(name)}" for name, size in parts.items())
    return f"{total} = {' + '.join(told)}"


_MOST = {
    "retained": "was freed by the program: glibc malloc keeps it",
    "live": "is in use by the program",
    "outside": "isn't malloc's",
    "foreign": "was taken with sbrk, but not by glibc malloc: heapx why tells where",
    "unknown": "could not be read: the problems and notes tell why",
}


def _most_is(of: str, most: bool, setting: bool, who: str | None) -> str:
    end = ": no malloc setting gives it back." if of == "live" and not setting else "."
    end = f": {who}." if who else end
    return f"{'Most of it' if most else 'The largest part'} {_MOST[of]}{end}"


def _lies_at(
    address: int, place: str, offset: int, chunk: int, size: int, state: str, shared: int | None
) -> str:
    places = {
        "header": "the header of",
        "memory": "what malloc returned for",
        "in header": "in the header of",
        "in memory": f"{offset:,} bytes into the memory of",
    }
    what = f"{address:#x} is {places[place]} chunk {chunk:#x}: {size:,} bytes, {state}."
    if shared is None:
        return what
    return f"{what} The last word of chunk {shared:#x}'s memory lies there, too."


def _saved(target: str, file: str, bytes: int, milliseconds: int | None) -> str:
    still = "" if milliseconds is None else f", which stood still for {milliseconds / 1000:.2f} s"
    return f"Saved: {file}, {size_text(bytes)}, of {target}{still}."


def _loaded(file: str | None, target: str, program: str | None, time: str, host: str | None) -> str:
    what = f"{target}{f' ({shortened(program, PATH)})' if program else ''}"
    what += f", as it was at {time}{f' on {host}' if host else ''}"
    if file is None:
        return f"No more of {what}: commands look at the process again."
    return f"Commands are about {what}, until `heapx load` without a file."


def _checks(number: int, failed: int, damaged: bool) -> str:
    if failed:
        return f"{failed} of {number} checks failed."
    if damaged:
        return f"All {number} checks hold, and yet the heap is damaged: see the problems."
    return f"All {number} checks hold."


def _checks_listed(number: int, failed: int, damaged: bool) -> str:
    told = _checks(number, failed, damaged).rstrip(".")
    others = ", the others hold" if 0 < failed < number else ""
    return f"{told}{others} (--all lists them)." if failed < number else f"{told}."


def _ledger_sum(rss: int, difference: int) -> str:
    if not difference:
        return f"The resident bytes add up to the kernel's RSS: {rss:,} bytes."
    sign = "more" if difference > 0 else "less"
    return (
        f"RSS is {rss:,} bytes, {abs(difference):,} {sign} than the sum: pages moved between "
        "the kernel's two readings, or are shared with a forked process (before Linux 6.7 such "
        "pages and zero pages look the same)."
    )


def _trim_returns(pad: int, size: int | None, private: int | None, every: bool) -> str:
    if size is None:
        return "What malloc_trim would return is unknown."
    where = "" if every else " here. It trims every arena: without ARENA all are shown"
    returned = f"malloc_trim({pad}) would return {size:,} bytes of RAM{where}."
    if private is None or private == size:
        return returned
    return (
        f"{returned} Of it private: {private:,} bytes. RSS falls by the other {size - private:,}, "
        "too, but they are shared since a fork: they stay in RAM until all processes that share "
        "them have given them back."
    )


def _thresholds(limits: Sequence[tuple[str, int, str]]) -> str:
    told = (f"{name} {size_text(size)} ({source})" for name, size, source in limits)
    return (
        f"{', '.join(told)}. free() trims top only when what it frees, merged, has 64 KiB or more."
    )


def _tcaches_missing(lost: int, threads: int, why: str) -> str:
    whose = f"of {lost} of {threads} threads" if threads else "of all threads"
    return f"The tcaches {whose} are missing: {why}. Their chunks count as in use."


def _refused(
    request: int, thread: int | None, where: str, limit: str, allows: int, used: int, wanted: int
) -> str:
    what = f"malloc({request:,}) returns NULL in {where}"
    if thread is None:
        what = f"malloc({request:,}) gets nothing in {where}, and another arena is tried"
    rule = "vm.overcommit_memory allows" if limit == "overcommit" else f"{limit} is"
    of_it = f", of which {size_text(used)} are used" if used else " at once"
    return f"{what}: {rule} {size_text(allows)}{of_it}, and it takes {size_text(wanted)} more."


def _titled(table: str) -> str:
    return table.replace("_", " ")


def _mmapped_beside(chunks: int, size: int, whole: int | None) -> str:
    lie, them = ("lies", "it") if chunks == 1 else ("lie", "them")
    in_all = "" if whole is None else f": with {them} {size_text(whole)} is in use"
    return f"{counted(chunks, 'mmapped chunk')} of {size_text(size)} {lie} in no arena{in_all}."


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


SENTENCES: dict[str, Callable[..., str]] = {
    # What was looked at, and what it is.
    "looked_at": lambda target, program, releases: (
        f"{target}, {shortened(program, PATH) if program else 'unknown program'}, "
        + (f"glibc {' and '.join(releases)}" if releases else "no glibc malloc")
    ),
    "equation": _equation,
    "most_is": _most_is,
    "not_glibc": lambda allocators: (
        f"{' and '.join(allocators)}, not glibc, serves malloc here: its memory is part of the "
        "other."
    ),
    "lies_at": _lies_at,
    "smashed_top": lambda word, left: (
        f"It is smashed: its size word is {word:#x}, where {left:#x} bytes are left."
    ),
    "smashed": lambda word, end: (
        f"Its header can't be followed: its size word is {word:#x}. What lies from there up to "
        f"{end:#x} is unknown."
    ),
    # What the figures say together.
    "checks": _checks,
    "checks_listed": _checks_listed,
    "ledger_sum": _ledger_sum,
    "shared": lambda shared, pss: (
        f"{size_text(shared)} of it is shared with other processes since a fork: each counts it in "
        "its RSS, and it leaves RAM only when all have given it back. PSS, which divides what is "
        f"shared by those that share it, is {size_text(pss)}."
    ),
    "shared_in_short": lambda shared, pss: (
        f"{size_text(shared)} of RSS is shared with other processes since a fork; PSS is "
        f"{size_text(pss)}."
    ),
    "thresholds": _thresholds,
    "threads_share": lambda threads, arenas, most: (
        f"{threads} threads share {arenas} arenas, {most} at most in one."
    ),
    "trim_returns": _trim_returns,
    "trimmed": lambda target, pad, result: (
        f"Called malloc_trim({pad}) in {target}: it returned {result}."
    ),
    "page_written": lambda path: f"Written to {path}: open it in a browser.",
    "saved": _saved,
    "loaded": _loaded,
    "pins_left_out": lambda why: f"Without pins one by one: {why}. --pins looks for them anyway.",
    "saved_brief": lambda: (
        "Saved with --brief: what keeps single pages, what of each heap's free memory is in RAM, "
        "what lay in large free chunks, and which requests make an arena grow was not looked at."
    ),
    "no_more_rows": lambda number, table: (
        f"{counted(number, 'more row')} of {table} aren't in the file."
    ),
    "rss_fell": lambda before, after: f"RSS was {before:,} bytes and is {after:,}.",
    "pss_fell": lambda before, after: (
        f"PSS was {before:,} bytes and is {after:,}: pages that other processes share stay in RAM."
    ),
    "pins_of_ends": lambda pins, size: (
        f"Without all {counted(pins, 'pin')} of tops and heaps free() would return "
        f"{size_text(size)}."
    ),
    "pins_of_pages": lambda pins, size: (
        f"Without all {counted(pins, 'pin')} of pages malloc_trim(0) would return "
        f"{size_text(size)} more."
    ),
    "fit_unknown": lambda request, where, why: (
        f"What malloc({request:,}) would do in {where} can't be told: {why}."
    ),
    "fit_refused": _refused,
    # What isn't known, or not for certain.
    "pins_unknown": lambda arenas: (
        f"The pins of arena {_listed(arenas)} are unknown: not all of it could be read, or agrees."
    ),
    "residency_unknown": lambda why: f"What is resident is unknown: {why}.",
    "not_counted_in_core": lambda size: (
        f"{size_text(size)} more of address space isn't counted: it was only reserved, or the core "
        "leaves it out, or has zeros for it."
    ),
    "environment_unknown": lambda: "The environment of the program is unknown.",
    "not_walked": lambda: "In use is derived: what remains of system without a walk (--no-walk).",
    "trim_not_walked": lambda: "What malloc_trim would return is known after a walk only.",
    "not_drawn": lambda arenas: (
        f"Not drawn, since its chunks were not walked over: arena {_listed(arenas)}."
    ),
    "not_counted": lambda arenas, size: (
        f"Not counted, since it could not be walked over: arena {_listed(arenas)}, "
        f"{size_text(size)}."
    ),
    "locked": lambda arenas: (
        f"Locked by a thread: arena {_listed(arenas)}. Its figures may be in motion."
    ),
    "parents_arenas": lambda arenas, parent: (
        f"Came with the fork, and their threads stayed in {parent}: arena {_listed(arenas)}."
    ),
    "parents_stacks": lambda number, size, parent: (
        f"{size_text(size)} of the thread stacks came with the fork: of "
        f"{counted(number, 'thread')} that stayed in {parent}."
    ),
    "copies_of_libc": lambda number: (
        f"{number} copies of libc are loaded, each with its own arenas and malloc_trim."
    ),
    "debug_malloc": lambda path: (
        f"{path.rpartition('/')[2]} serves malloc here, by an arena of its own, because "
        "MALLOC_CHECK_ or glibc.malloc.check asks for it."
    ),
    "libc_not_read": lambda path: (
        f"The malloc of {path} was not found: what it holds counts as other memory."
    ),
    "guessed": lambda path, ways: (
        f"No debug symbols for {path}. How malloc's data was found: {' and '.join(ways)}; its "
        "chunks add up (heapx about)."
    ),
    "tcaches_missing": _tcaches_missing,
    "no_tcache": lambda: (
        "No tcache was found: no thread has one, or nothing tells where they are, and their "
        "chunks count as in use."
    ),
    "mmapped_beside": _mmapped_beside,
    "in_use_is": lambda arenas, mmapped: (
        f"In use: {size_text(arenas)} in arenas and {size_text(mmapped)} in mmapped chunks."
    ),
    "mmapped_counted": lambda number, size: (
        f"glibc counts {number:,} mmapped chunks of {size:,} bytes in all."
    ),
    "mmapped_uncertain": lambda number, size: (
        f"glibc counts {counted(number, 'mmapped chunk')} of {size_text(size)}, which were not "
        "found for certain: what other anonymous memory there is counts as theirs, up to that "
        "size."
    ),
    **IN_USE,
    **GROWING,
    **CHANGING,
    # What isn't shown.
    "left_out": lambda why: f"Left out: {why}.",
    "more_rows": lambda number, summed, noun, of=None: (
        f"{counted(number, f'more {noun}')}{f' of {_titled(of)}' if of else ''} (--limit)"
        f"{'; the total is of all rows' if summed else ''}."
    ),
    "more_rows_of": lambda table, number: (
        f"{counted(number, 'more row')} of {table}: --format json has them."
    ),
    "pins_of_several": lambda size, group: (
        f"Chunks of different {'looks' if group == 'looks' else 'sizes'} keep {size_text(size)} of "
        "pages only together, in no row here: see --group arena and none."
    ),
    "pins_unlisted": lambda number, listed: (
        f"{counted(number, 'more pin')} of pages: of each arena {listed:,} are listed."
    ),
    "rows_follow": lambda limit: f"More rows follow the first {limit:,}: --limit shows them.",
}
