"""heapx params: malloc's settings, who set them, and what they do to this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..cli.command import command
from ..errors import NOT_REACHED
from ..heap.states import Search
from ..report.model import Notes, Report, counted, size_text
from ..report.notes import note
from ..report.schema import Column, Kind, Schema
from ._columns import LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot
    from ..why.sources import Environment

PARAMS = Schema(
    "params",
    (
        Column("name", Kind.TEXT),
        Column("value", Kind.COUNT),
        Column("default", Kind.COUNT, rank=1),
        Column("source", Kind.TEXT, flows=True),
        Column("effect", Kind.TEXT, flows=True),
        LIBC,
    ),
)
ENVIRONMENT = Schema(
    "environment",
    (
        Column("variable", Kind.TEXT),
        Column("setting", Kind.TEXT),
        Column("outcome", Kind.TEXT, flows=True),
        LIBC,
    ),
)


class _Param(NamedTuple):
    name: str
    value: int
    default: int
    source: str
    effect: str
    libc: str


class _Given(NamedTuple):
    variable: str
    setting: str
    outcome: str
    libc: str


NEVER = 1 << 47  # bytes; more than any top can have


def _large(malloc: Malloc) -> str:
    return counted(malloc.parameters["n_mmaps"], "chunk")


def _arenas(malloc: Malloc) -> str:
    number = counted(len(malloc.arenas), "arena")
    missing = any(problem.code == NOT_REACHED for problem in malloc.problems)
    return f"{number} or more" if missing else number


# What each setting does; sizes are those of this process.
EFFECTS: dict[str, Callable[[Malloc, int], str]] = {
    "trim_threshold": lambda m, v: (
        f"free() trims a top of {size_text(v)} or more" if v < NEVER else "free() trims no top"
    ),
    "top_pad": lambda m, v: f"{size_text(v)} more are taken, and left at top, each time",
    "mmap_threshold": lambda m, v: f"{size_text(v)} or more get a mapping of their own",
    "arena_test": lambda m, v: "arenas before the CPUs are counted for a limit",
    "arena_max": lambda m, v: (
        f"{_arenas(m)} now" + ("" if v else "; the number of CPUs limits them")
    ),
    "thp_pagesize": lambda m, v: f"top grows by {size_text(v)}" if v else "no huge pages asked for",
    "hp_pagesize": lambda m, v: f"mappings of {size_text(v)} pages" if v else "no huge pages used",
    "hp_flags": lambda m, v: f"flags of such a mapping: {v:#x}" if v else "no huge pages used",
    "n_mmaps_max": lambda m, v: f"{_large(m)} of it in use; beyond it arenas serve them",
    "no_dyn_threshold": lambda m, v: "thresholds are fixed" if v else "free() raises thresholds",
    "tcache_bins": lambda m, v: f"a tcache has {v} sizes",
    "tcache_small_bins": lambda m, v: f"a tcache has {v} exact sizes",
    "tcache_max_bytes": lambda m, v: f"requests of up to {v:,} bytes are cached",
    "tcache_count": lambda m, v: (
        f"a thread keeps {v} chunks of each size" if v else "tcaches are off"
    ),
    "tcache_unsorted_limit": lambda m, v: (
        f"malloc caches {v} unsorted chunks at once" if v else "malloc caches all that fit"
    ),
}


@command("heapx params", tables=(PARAMS, ENVIRONMENT), search=Search.NONE)
def params(snapshot: Snapshot) -> Report:
    """Show malloc's settings, who set them, and what they do.

    They are those of mp_. A value that isn't the default was set by the environment, a tunable, or
    by mallopt in the program. After a free of a mapped block, free() raises both thresholds by
    itself, until a limit is set. Sizes are in bytes. Below them are the variables that the program
    was started with, and what became of each.

    Example:

        heapx params  did MALLOC_ARENA_MAX arrive?
    """
    environment = snapshot.target.environment
    found = [each for malloc in snapshot.mallocs for each in _params(malloc, environment)]
    given = list(_given(snapshot.mallocs, environment or {}))
    unknown = (note("environment_unknown"),) if environment is None else ()
    notes = Notes((*unknown, *usual_notes(snapshot)))
    return Report((PARAMS.of(found), ENVIRONMENT.of(given), notes), snapshot.problems)


def _params(malloc: Malloc, environment: Environment | None) -> Iterator[_Param]:
    from ..why.sources import source_of

    for name, default in malloc.defaults.items():
        value = malloc.parameters[name]
        source = source_of(malloc, name, environment)
        effect = EFFECTS[name](malloc, value) if name in EFFECTS else ""
        yield _Param(name, value, default, source, effect, malloc.libc)


def _given(mallocs: Sequence[Malloc], environment: Environment) -> Iterator[_Given]:
    """Yield what the environment sets, with what became of it in each malloc that it is for."""
    from ..why.sources import DEBUGGING, outcome, settings_of

    for setting in settings_of(environment):
        given = f"{setting.tunable}={setting.text}" if setting.tunable else setting.text
        checking = [m for m in mallocs if m.debugging and setting.name in DEBUGGING]
        for malloc in checking or mallocs:
            yield _Given(setting.variable, given, outcome(setting, malloc), malloc.libc)
