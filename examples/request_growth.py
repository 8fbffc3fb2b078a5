"""Compare the heap before and after a request, in gdb: what did it leave behind?

    gdb -p PID -ex 'source gdb_heapx.py' -ex 'source examples/request_growth.py'
    (gdb) request-growth handle_request
    (gdb) request-growth handle_request 5

It stops where the function is next called, and again where it returns, so many times, and shows
what the calls have changed: bytes in use, bytes free inside malloc, and the chunk sizes of which
the program holds more than before. Other threads run meanwhile, and count too. Where the process
stops for another reason it says so, and leaves no breakpoint behind.
"""

from __future__ import annotations

from collections import Counter

import gdb

import gdb_heapx

LARGEST = 5  # sizes that are shown


def in_use_by_size(snapshot: gdb_heapx.Snapshot) -> Counter[int]:
    """Return how many chunks of each size the program holds."""
    censuses = (arena.census for arena in snapshot.arenas())
    return sum((Counter(census.in_use) for census in censuses if census), Counter())


def change(before: int | None, after: int | None) -> str:
    """Return how much more there is after than before."""
    if before is None or after is None:
        return "unknown (heapx check tells why)"
    return f"{after - before:+,} bytes"


def growth(before: gdb_heapx.Snapshot, after: gdb_heapx.Snapshot) -> str:
    """Return what changed between two snapshots, in lines."""
    in_use, free = change(before.in_use, after.in_use), change(before.free, after.free)
    lines = [f"in use {in_use}, free {free}"]
    more = in_use_by_size(after)
    more.subtract(in_use_by_size(before))
    grown = sorted(more.items(), key=lambda each: -each[0] * each[1])
    for size, number in grown[:LARGEST]:
        if number > 0:
            lines.append(f"  {number:+,} chunk{'s' if number > 1 else ''} of {size:,} bytes")
    return "\n".join(lines) + "\n"


def run_to(function: str) -> None:
    """Let the process run until the function is called; gdb.GdbError if that doesn't happen."""
    here = gdb.Breakpoint(function, internal=True, temporary=True)
    try:
        if here.pending:
            raise gdb.GdbError(f"There is no function {function}.")
        gdb.execute("continue", to_string=True)
        if here.is_valid():  # a temporary breakpoint that was reached is gone
            raise gdb.GdbError(f"{function} was not called: the process stopped before.")
    finally:
        if here.is_valid():
            here.delete()


def run_to_its_end(function: str) -> None:
    """Let the process run until the function returns; gdb.GdbError if that doesn't happen."""
    caller = gdb.newest_frame().older()
    gdb.execute("finish", to_string=True)
    if not (caller and caller.is_valid() and gdb.newest_frame() == caller):
        raise gdb.GdbError(f"{function} did not return: the process stopped before.")


class RequestGrowth(gdb.Command):
    """Show what calls of a function leave in the heap: request-growth FUNCTION [NUMBER]."""

    def __init__(self) -> None:
        super().__init__("request-growth", gdb.COMMAND_DATA, gdb.COMPLETE_SYMBOL)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run it as typed."""
        words = gdb.string_to_argv(argument)
        if len(words) not in (1, 2) or not all(word.isdigit() for word in words[1:]):
            raise gdb.GdbError("Usage: request-growth FUNCTION [NUMBER]")
        for _ in range(int(words[1]) if len(words) == 2 else 1):
            try:
                run_to(words[0])
                before = gdb_heapx.snapshot()
                run_to_its_end(words[0])
                gdb.write(growth(before, gdb_heapx.snapshot()))
            except (gdb_heapx.HeapxError, gdb.error) as error:
                raise gdb.GdbError(str(error)) from None


RequestGrowth()
