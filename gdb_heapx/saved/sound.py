"""Whether a snapshot of a file is one: what commands take for granted of any that was taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..glibc.releases import MALLOC_PAR
from ..heap.cells import ROW
from ..heap.states import STATES, State
from ..heap.strips import Strip
from ..report.model import Note
from ..report.notes import SENTENCES, sentence
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.regions import Owner
from ..snapshots.take import Snapshot

# Members of malloc_par in every release.
ALWAYS_THERE = {f.name for f in MALLOC_PAR if f.since == (0, 0) and f.until == (99, 0)}
LARGEST_CELL = 63  # bits of its bytes


def check_sound(snapshot: Snapshot) -> None:
    """ValueError, with what is wrong, where no target has such a snapshot."""
    wrong = next(_wrong(snapshot), None)
    if wrong is not None:
        raise ValueError(wrong)


def _wrong(snapshot: Snapshot) -> Iterator[str]:
    target, arenas = snapshot.target, {arena.address for arena in snapshot.arenas()}
    if target.word not in (4, 8) or target.page <= 0:
        yield f"words of {target.word} bytes, pages of {target.page}"
    if target.byteorder not in ("little", "big"):
        yield f"byte order {target.byteorder}"
    for region in snapshot.regions.owned_by(Owner.HEAP):
        if region.span.state not in arenas:
            yield f"a heap at {region.span.start:#x} of no arena"
    for malloc in snapshot.mallocs:
        yield from _wrong_malloc(malloc)


def _wrong_malloc(malloc: Malloc) -> Iterator[str]:
    lost = (ALWAYS_THERE | set(malloc.defaults)) - set(malloc.parameters)
    yield from (f"no parameter {name}" for name in sorted(lost))
    if malloc.layout.alignment not in (8, 16) or malloc.layout.word not in (4, 8):
        yield f"chunks are aligned to {malloc.layout.alignment} bytes"
    columns = malloc.mmapped
    if not len(columns.addresses) == len(columns.starts) == len(columns.ends):
        yield "mmapped chunks without an address, or an end"
    for arena in malloc.arenas:
        yield from _wrong_arena(arena)
    yield from wrong_notes(malloc.notes)


def _wrong_arena(arena: ArenaFigures) -> Iterator[str]:
    lost = [state.name for state in STATES if state not in arena.amounts]
    yield from (f"arena {arena.index} has no amount {n}" for n in lost if n != State.IN_USE.name)
    yield from (f"a strip of arena {arena.index}" for s in arena.strips or () if not _whole(s))


def _whole(strip: Strip) -> bool:
    """Tell whether a strip has a row for each of its cells."""
    if not 0 <= strip.bits <= LARGEST_CELL or not 0 <= strip.address <= strip.end:
        return False
    cells = (max(strip.end - 1, strip.address) >> strip.bits) - (strip.address >> strip.bits) + 1
    return len(strip.table) == cells * ROW


def wrong_notes(notes: Iterable[Note]) -> Iterator[str]:
    """Yield the notes that say nothing."""
    for each in notes:
        if each.code not in SENTENCES:
            yield f"no note is called {each.code}"
            continue
        try:
            sentence(each)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError):  # not its values
            yield f"the note {each.code} has other values"
