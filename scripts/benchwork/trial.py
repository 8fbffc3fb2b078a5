"""Measure a heap: rounds in which every look is taken once, and the medians of these."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

from .heaps import Wanted
from .looks import LIMIT, Look, Target, looks, looks_of_peers
from .measuring import Cost, FailedError, median, read_once, run
from .serving import Facts, Server, serving


@dataclass(frozen=True)
class Plan:
    """How heaps are measured."""

    commands: Sequence[str]
    runs: int = 3
    off: bool = False
    core: bool = False


@dataclass(frozen=True)
class Row:
    """What a look takes: the cost, and that of its bare gdb; None if it failed."""

    heap: Wanted
    facts: Facts
    read: Cost
    name: str
    cost: Cost | None
    bare: Cost
    core: bool = False


def measure(program: Path, wanted: Wanted, plan: Plan) -> list[Row]:
    """Make a heap; return a row for each look at it, then for each at its core."""
    with serving(program, wanted) as server:
        facts = server.facts()  # the first look, which warms the caches
        target = Target(server.pid, str(program))
        off = plan.off and can_turn_off(facts)
        taken = [*looks(target, plan.commands, off), *looks_of_peers(target)]
        reads, costs = rounds(taken, plan.runs, server, lambda: read_once(server.pid, facts.spans))
        read = median(reads)
        rows = [Row(wanted, facts, read, *each) for each in told(taken, costs)]
        core = server.dump() if plan.core else None
    if core is not None:
        target = replace(target, core=core)
        taken = [*looks(target, plan.commands, off), *looks_of_peers(target)]
        _, costs = rounds(taken, plan.runs)
        rows += [Row(wanted, facts, read, *each, core=True) for each in told(taken, costs)]
        core.unlink()
    return rows


Costs = dict[tuple[str, ...], list[Cost]]


def rounds(
    taken: Iterable[Look],
    runs: int,
    server: Server | None = None,
    read: Callable[[], Cost] = Cost,
) -> tuple[list[Cost], Costs]:
    """Take each look and each bare one once in every round; return the reads and all costs.

    What another tool can't do is told, and not tried again. heapx failing is an error.
    """
    commands: dict[tuple[str, ...], Look] = {}
    for look in taken:
        if look.bare:
            named = f"a bare gdb, for {look.name}"
            commands.setdefault(tuple(look.bare), Look(named, look.bare, ours=look.ours))
        commands[tuple(look.words)] = look
    reads: list[Cost] = []
    costs: Costs = {}
    for _ in range(runs):
        reads.append(read())
        for words, look in list(commands.items()):
            try:
                costs.setdefault(words, []).append(_once(look, server))
            except FailedError as error:
                if look.ours:
                    raise
                print(f"bench: {look.name}: {error}", file=sys.stderr)
                del commands[words], costs[words]
    return reads, costs


def _once(look: Look, server: Server | None) -> Cost:
    if server is None:
        return run(look.words, look.text, LIMIT)
    server.stood_still()
    try:
        cost = run(look.words, look.text, LIMIT)
    finally:
        server.let_run()
    return replace(cost, still=server.stood_still())


def told(taken: Iterable[Look], costs: Costs) -> Iterable[tuple[str, Cost | None, Cost]]:
    for look in taken:
        known, bare = costs.get(tuple(look.words)), costs.get(tuple(look.bare), [])
        fails = not known or (look.bare and not bare)
        yield look.name, None if fails else median(known), median(bare) if bare else Cost()


def can_turn_off(facts: Facts) -> bool:
    """Tell whether there is a compiled walk that can be turned off."""
    if not facts.walk.startswith("compiled"):
        print("bench: heapx about names no compiled walk: nothing to turn off", file=sys.stderr)
        return False
    return True
