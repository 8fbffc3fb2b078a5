"""A thread's tcache, as malloc takes chunks from it and stashes others there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from ..glibc.layout import FLAGS
from ..heap.threadvars import stored_counts
from ..records import dataclass
from ..target.space import Space
from .replay import Replay, Served


@dataclass
class CacheNow:
    """A tcache: the user memory that each bin begins with, and how many more chunks each takes.

    `stashed` are the chunks that malloc has put there, the last one last.
    """

    heads: Sequence[int]
    room: list[int]
    stashed: list[int] = field(default_factory=list)

    def takes(self, index: int) -> bool:
        return index < len(self.room) and self.room[index] > 0

    def put(self, index: int, chunk: int) -> None:
        """Stash a chunk (tcache_put)."""
        self.room[index] -= 1
        self.stashed.append(chunk)


def read_tcache(replay: Replay, space: Space, address: int) -> CacheNow:
    """Return the tcache whose struct lies at `address`."""
    struct, fill = replay.layout.tcache, replay.rules["tcache_count"]
    assert struct is not None
    record = space.read_struct(struct, address)
    heads = record.array("entries", space.word)
    if "num_slots" in struct:
        room = list(record.array("num_slots", struct["num_slots"].size // len(heads)))
    else:
        room = [fill - count for count in stored_counts(record, len(heads), fill)]
    return CacheNow(heads, room)


def new_tcache(replay: Replay) -> CacheNow:
    """Return the tcache of a thread that has just got one (tcache_init)."""
    struct = replay.layout.tcache
    assert struct is not None
    bins = struct["entries"].size // replay.layout.word
    return CacheNow([0] * bins, [replay.rules["tcache_count"]] * bins)


def request(replay: Replay, within: bool = False) -> int:
    """Return what malloc is asked for a tcache; 2.43 pads that twice `within` _int_malloc."""
    struct = replay.layout.tcache
    assert struct is not None
    twice = within and replay.rules.release == (2, 43)
    return replay.layout.chunk_size(struct.size) if twice else struct.size


def get(replay: Replay, tcache: CacheNow, nb: int) -> Served | None:
    """Take a chunk for `nb` bytes out of a tcache; None where its bin has none (tcache_get)."""
    rules, index = replay.rules, replay.rules.tcache_index(nb)
    if rules.release >= (2, 42):
        if nb >= rules["tcache_max_bytes"]:
            return None
        if index >= 64:
            return _get_large(replay, tcache, nb)
    elif index >= rules.tcache_bins:
        return None
    user = tcache.heads[index]
    return _taken(replay, user, nb) if user else None


def _get_large(replay: Replay, tcache: CacheNow, nb: int) -> Served | None:
    """Take the first chunk of a bin that is large enough; from 2.43 only one that fits exactly
    (b2b4b46a52).
    """
    index = replay.rules.large_tcache_index(nb)
    user = tcache.heads[index] if index < len(tcache.heads) else 0
    for _ in range(replay.rules["tcache_count"] + 1):
        size = _size(replay, user) if user else 0
        if size >= nb:
            exact = size == nb or replay.rules.release < (2, 43)
            return _taken(replay, user, size) if exact else None
        if not user:
            return None
        user = replay.layout.reveal(replay.memory.word(user), user)
    replay.check(False, f"the tcache's bin {index}", user)
    return None


def _taken(replay: Replay, user: int, size: int) -> Served:
    chunk = user - replay.layout.header
    replay.check(not user % replay.layout.alignment, "the tcache", chunk)
    replay.memory.word(user)  # its link, which malloc reads
    return Served("tcache", chunk, size)


def _size(replay: Replay, user: int) -> int:
    """Return the size of a chunk that may be mmapped (from 2.43: chunksize)."""
    return replay.memory.word(user - replay.layout.word) & ~FLAGS
