"""heapx sizes: the chunks by their size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ARENA
from ..cli.command import command
from ..errors import UsageError
from ..heap.states import Search
from ..report.either import Either
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import Column, Kind, Schema, Table, within
from ._columns import LIBC
from ._notes import mmapped_notes, usual_notes

if TYPE_CHECKING:
    from ..heap.census import Census, SizeRow
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.take import Snapshot

SIZES = Schema(
    "sizes",
    (
        *within(
            "row",
            Column("size", Kind.BYTES, title="chunk size", exact=True),
            Column("in_use_chunks", Kind.COUNT, title="in use #"),
            Column("in_use", Kind.BYTES),
            Column("free_chunks", Kind.COUNT, title="free #"),
            Column("free", Kind.BYTES),
        ),
        Column("share", Kind.COUNT, title="%"),
        Column("cumulative", Kind.COUNT, 1, title="sum %"),
        LIBC,
    ),
    adds=("in_use_chunks", "free_chunks"),
    bars=("in_use", "free"),
)
SEEN = SIZES.but("share", kind=Kind.TENTHS, of="tenths").but(
    "cumulative", kind=Kind.TENTHS, of="tenths_so_far"
)
SHOWN = 20  # rows
EACH = (("heapx sizes --each", "each size by itself"),)
MANY = 100  # sizes: so many are more than anybody reads


class _Share(NamedTuple):
    """The chunks of a size in one malloc, in tenths of a percent of all bytes: theirs, and that of
    all rows so far.
    """

    row: SizeRow
    tenths: int
    tenths_so_far: int
    libc: str

    @property
    def share(self) -> int:
        return self.tenths // 10

    @property
    def cumulative(self) -> int:
        return self.tenths_so_far // 10


@command(
    "heapx sizes",
    ARENA,
    Arg("--group", "group sizes by power of two; size is then the smallest"),
    Arg("--each", "in text: each size by itself, however many there are"),
    limit=SHOWN,
    tables=(SIZES,),
    search=Search.HEADERS,
    census=True,
)
def sizes(snapshot: Snapshot, arena: int | None, group: bool, each: bool) -> Report:
    """Count the chunks by their size, in use and free apart.

    Where there are over 100 sizes, text takes them together as --group does, unless --each asks for
    each. Sizes are chunk sizes, with malloc's header; # are numbers of chunks. Those with most
    bytes come first; % is their share of all bytes in chunks, sum % that of all rows so far. Free
    are binned, fast and cached chunks. Chunks with a mapping of their own are counted, but with
    --arena, and without what their mapping has before them (heapx mmapped shows both). Tops are
    not: see heapx top. Where the terminal has room, a bar beside each row is as long as it has
    bytes in use and free.

    Examples:

        heapx sizes --group               by powers of two: where the bytes are
        heapx sizes --each --sort in_use  the sizes that the program holds most of
    """
    from ..snapshots.figures import select_arenas

    if group and each:
        raise UsageError("--group and --each exclude each other", "Leave one out.")
    chosen = select_arenas(snapshot.arenas(), arena)
    mallocs = snapshot.mallocs if arena is None else ()
    parts = [(it.census, it.libc) for it in chosen]
    parts += [(it.mmapped_census, it.libc) for it in mallocs]
    found = [(part, libc) for part, libc in parts if part is not None]
    whole = len(found) == len(parts)
    shares = list(_shares(_by_size(found, group)))
    many = len(shares) > MANY and not each
    shown = list(_shares(_by_size(found, True))) if many else shares
    table = Either(
        _table(SIZES, shares, group, whole), (_table(SEEN, shown, group or many, whole),)
    )
    notes = (*_uncounted(chosen), *mmapped_notes(mallocs), *usual_notes(snapshot))
    steps = (*(EACH if many else ()), *_where(shown, arena, group or many))
    return Report((table, Notes(notes), Steps(steps)), snapshot.problems)


def _table(schema: Schema, shares: list[_Share], group: bool, whole: bool) -> Table:
    """Return the rows of a table; without a total where it isn't the whole."""
    table = (schema.but("size", title="min size") if group else schema).of(shares)
    return table if whole else replace(table, total=dict.fromkeys(table.total or ()))


def _where(shares: list[_Share], arena: int | None, group: bool) -> tuple[tuple[str, str], ...]:
    """Return the line that lists the chunks of the size that the program holds most bytes in."""
    most = max((each.row for each in shares), key=lambda row: row.in_use, default=None)
    if most is None or not most.in_use:
        return ()
    size = most.size
    last = 2 * size - 1 if group else size
    of_arena = "" if arena is None else f" --arena {arena if arena < 1 << 16 else hex(arena)}"
    line = f"heapx chunks{of_arena} --state in-use --min-size {size} --max-size {last}"
    return ((line, "the largest part in use"),)


def _by_size(found: list[tuple[Census, str]], group: bool) -> list[tuple[SizeRow, str]]:
    """Return a row for each size in each libc, those with most bytes first."""
    from ..heap.census import by_size, joined

    rows: list[tuple[SizeRow, str]] = []
    for libc in dict.fromkeys(libc for _, libc in found):
        own = joined(part for part, whose in found if whose == libc)
        rows += ((row, libc) for row in by_size(own, group))
    return sorted(rows, key=lambda each: (-each[0].bytes, each[0].size))


def _shares(counted: list[tuple[SizeRow, str]]) -> Iterator[_Share]:
    whole, so_far = sum(row.bytes for row, _ in counted), 0
    for row, libc in counted:
        so_far += row.bytes
        yield _Share(row, 1000 * row.bytes // whole, 1000 * so_far // whole, libc)


def _uncounted(arenas: tuple[ArenaFigures, ...]) -> tuple[Note, ...]:
    """Tell which arenas' chunks could not be counted."""
    lost = [each for each in arenas if each.census is None]
    if not lost:
        return ()
    size = sum(heap.size for each in lost for heap in each.heaps)
    return (note("not_counted", arenas=[each.index for each in lost], size=size),)
