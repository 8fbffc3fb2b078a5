"""A look at a process: what was seen of it, when, and where."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ..heap.states import STATES
from ..records import dataclass
from ..snapshots.ledger import Ledger, account
from ..snapshots.regions import Owner
from ..target.amounts import Amount, sum_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..report.schema import Table
    from ..snapshots.take import Snapshot

TYPES = "types"  # the table of heapx types


@dataclass(frozen=True)
class Look:
    """A snapshot with its `time` (UTC, ISO 8601), the `host`, and the tables that need more than a
    snapshot, by name; None of what isn't known.
    """

    snapshot: Snapshot
    time: str | None
    host: str | None
    tables: Mapping[str, Table]

    @cached_property
    def ledger(self) -> Ledger:
        return account(self.snapshot)

    @cached_property
    def in_arenas(self) -> dict[tuple[str, int], Amount]:
        """What is malloc's of each arena's heaps, by its libc and index."""
        amounts: dict[tuple[str, int], list[Amount]] = {}
        for entry in self.ledger.entries:
            of_malloc = entry.owner in (*STATES, Owner.UNKNOWN)
            if of_malloc and entry.arena is not None and entry.libc is not None:
                amounts.setdefault((entry.libc, entry.arena), []).append(entry.amount)
        return {key: sum_of(each) for key, each in amounts.items()}

    @property
    def resident_known(self) -> bool:
        return self.snapshot.target.no_residency is None

    @property
    def typed(self) -> bool:
        """Whether it is known what is in use by type."""
        return TYPES in self.tables

    @property
    def moment(self) -> datetime | None:
        return datetime.fromisoformat(self.time.replace("Z", "+00:00")) if self.time else None

    @property
    def main(self) -> int | None:
        """The address of the program's main arena, which no two runs of it share by chance."""
        arenas = self.snapshot.arenas()
        return arenas[0].address if arenas else None
