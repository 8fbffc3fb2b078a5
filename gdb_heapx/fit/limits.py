"""What decides which arena a thread without one gets: how many there are, and may be."""

from __future__ import annotations

from functools import cached_property

from ..records import dataclass
from ..snapshots.reading import MallocReading
from .replay import Untold
from .rules import Rules, static_of_function, variable


@dataclass(frozen=True)
class ArenaLimits:
    """What of one libc decides that, as far as its symbols tell it."""

    reading: MallocReading
    rules: Rules

    @cached_property
    def free_list(self) -> int | None:
        """The first arena without a thread, 0 without one; None where that isn't known."""
        return variable(self.reading, "free_list", self.rules.layout.word)

    @cached_property
    def may_add(self) -> bool:
        """Whether a new arena is made; Untold where that isn't known (arena_get2)."""
        known = variable(self.reading, "narenas", self.rules.layout.word)
        number = len(self.reading.arenas) if known is None else known
        limit = static_of_function(self.reading, "narenas_limit")
        if not limit:
            limit = self._limit(number)
        return not limit or number < limit

    def _limit(self, number: int) -> int:
        """Return how many arenas there may be, 0 where there is no limit yet."""
        rules = self.rules
        if rules["arena_max"]:
            return rules["arena_max"]
        newest = rules.release >= (2, 44)
        if number < rules["arena_test"] + (0 if newest else 1):
            return 0
        cpus = self.reading.target.facts.cpus
        if cpus is None:
            raise Untold("how many CPUs there are isn't known, and so not how many arenas may be")
        if newest:
            return max(cpus, rules["arena_test"])
        return cpus * (8 if rules.layout.word == 8 else 2)

    @cached_property
    def single_threaded(self) -> bool:
        """Whether there has never been a second thread (SINGLE_THREAD_P); Untold where that isn't
        known.
        """
        if len(self.reading.target.facts.threads) > 1 or len(self.reading.arenas) > 1:
            return False
        known = variable(self.reading, "__libc_single_threaded", 1)  # from 2.32
        if known is None:
            raise Untold("whether there were other threads isn't known: if so, malloc tries again")
        return bool(known)

    @cached_property
    def next_to_use(self) -> int | None:
        """The arena that is taken next where there may be no more; None where not known."""
        found = static_of_function(self.reading, "next_to_use")
        return self.reading.libc.main_arena if found == 0 else found
