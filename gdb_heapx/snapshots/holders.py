"""Who has the memory outside malloc: each file, each runtime, each kind of memory, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..locate.runtimes import whose
from ..records import dataclass
from ..report.model import counted, shortened
from ..target.amounts import Amount, sum_of
from ..target.mappings import DELETED
from .ledger import MALLOC, Ledger
from .regions import APART, EMPTY, AlikeRegions, Owner, Region

if TYPE_CHECKING:
    from ..locate.stacks import Stack
    from .take import Snapshot

# What isn't outside of malloc.
INSIDE = (*MALLOC, *EMPTY, Owner.HEAP, Owner.UNKNOWN, Owner.SBRK, *APART)
UNNAMED = "unnamed anonymous memory"
LONGEST = 24  # characters of a file's name in a sentence
SHARED_ANONYMOUS = "shared anonymous memory"


@dataclass(frozen=True)
class Holder:
    """What one of them has: how many mappings, and their memory.

    `clean` is what the kernel can drop of files and read again, None where that isn't known, or it
    isn't a file's. `likely` says that the name is what it most likely is. `largest` is where the
    mapping with most of it begins.
    """

    owner: Owner
    name: str
    likely: bool
    mappings: int
    amount: Amount
    clean: int | None
    largest: int

    @property
    def label(self) -> str:
        """Its name, with a word for what is likely only."""
        return f"likely {self.name}" if self.likely else self.name

    @property
    def short(self) -> str:
        """The same, but a file without its directories, and without the middle of a long name."""
        if self.owner is Owner.DATA:
            return shortened(self.name.rpartition("/")[2], LONGEST)
        return shortened(self.name, LONGEST) if self.owner is Owner.SHARED else self.label


def holders(snapshot: Snapshot, ledger: Ledger) -> list[Holder]:
    """Return all that have memory outside malloc, the most bytes first; together what the ledger
    says of their owners.
    """
    likely, threads = whose((*snapshot.runtimes, *snapshot.allocators)), snapshot.target.threads
    stacks = f"stacks of {counted(len(threads), 'thread')}" if threads else Owner.STACKS.value
    stacks += " and ended ones" if ended_stacks(snapshot) else ""
    groups: dict[tuple[Owner, str, bool], list[AlikeRegions]] = defaultdict(list)
    for each in snapshot.regions.alike:
        region, owner = each.regions[0], each.regions[0].span.owner
        if owner not in INSIDE:
            named = (stacks, False) if owner is Owner.STACKS else _named(region, likely)
            groups[(owner, *named)].append(each)
    found = [_holder(*key, group) for key, group in groups.items()]
    found.sort(key=lambda holder: (holder.name != UNNAMED and not holder.likely, _order(holder)))
    anonymous = [h.amount for h in found if h.owner is Owner.ANONYMOUS]
    lost = sum_of(anonymous) - ledger.of(Owner.ANONYMOUS)  # it counts as mmapped chunks there
    return sorted(_without(found, lost), key=_order)


def ended_stacks(snapshot: Snapshot) -> list[Stack]:
    """Return the stacks of threads that have ended; none after a fork: they are the parent's."""
    return [] if snapshot.left else [stack for stack in snapshot.stacks if not stack.lwp]


def _order(holder: Holder) -> tuple[int, str]:
    return -holder.amount.in_ram, holder.name


def _without(found: Iterable[Holder], lost: Amount) -> Iterator[Holder]:
    """Yield holders, so much of anonymous memory taken from the first ones."""
    for holder in found:
        if holder.owner is Owner.ANONYMOUS and lost.bytes:
            taken = _at_most(lost, holder.amount)
            holder, lost = replace(holder, amount=holder.amount - taken), lost - taken
        if holder.amount.bytes:
            yield holder


def _at_most(lost: Amount, amount: Amount) -> Amount:
    """Return what of a loss an amount can bear: in RAM, in swap, and in neither."""
    if None in (lost.resident, lost.swapped, amount.resident, amount.swapped):
        return Amount(min(lost.bytes, amount.bytes), None, None)
    ram, swap, neither = map(min, _parts(lost), _parts(amount))
    return Amount(ram + swap + neither, ram, swap, amount.shared_of(ram))


def _parts(amount: Amount) -> tuple[int, int, int]:
    resident, swapped = amount.resident or 0, amount.swapped or 0
    return resident, swapped, amount.bytes - resident - swapped


def together(found: Iterable[Holder], owner: Owner) -> list[Holder]:
    """Return the same with all of one owner as one."""
    found = list(found)
    own = [holder for holder in found if holder.owner is owner]
    if not own:
        return found
    clean = [holder.clean for holder in own if holder.clean is not None]
    one = replace(
        min(own, key=_order),
        name=owner.value,
        mappings=sum(holder.mappings for holder in own),
        amount=sum_of(holder.amount for holder in own),
        clean=sum(clean) if len(clean) == len(own) else None,
    )
    rest = [holder for holder in found if holder.owner is not owner]
    return sorted([*rest, one], key=_order)


def _holder(owner: Owner, name: str, likely: bool, group: Sequence[AlikeRegions]) -> Holder:
    amount = sum_of(each.amount for each in group)
    number = len({region.mapping.start for each in group for region in each.regions})
    number += sum(each.number - 1 for each in group)
    clean = _clean(group) if owner in (Owner.FILES, Owner.DATA) else None
    most = max((max(each.regions, key=_in_ram) for each in group), key=_first_with_most)
    return Holder(owner, name, likely, number, amount, clean, most.mapping.start)


def _in_ram(region: Region) -> int:
    return region.amount.in_ram


def _first_with_most(region: Region) -> tuple[int, int]:
    return region.amount.in_ram, -region.mapping.start


def _clean(group: Iterable[AlikeRegions]) -> int | None:
    """Return what the kernel can drop; None where it doesn't tell."""
    clean = 0
    for each in group:
        for region in each.regions:
            usage = region.mapping.usage
            if usage is None:
                return None
            clean += each.number * (usage.resident - usage.dirty)
    return clean


def _named(region: Region, likely: str | None) -> tuple[str, bool]:
    """Return what a region is called, and whether that is only likely."""
    owner, mapping, name = region.span.owner, region.mapping, region.span.name
    if name is not None:
        return name, False
    if owner in (Owner.FILES, Owner.DATA):
        return mapping.name.removesuffix(DELETED), False
    if owner is Owner.SHARED:
        return _shared(mapping.name), False
    if owner is not Owner.ANONYMOUS:
        return owner.value, False
    if mapping.name.startswith("[heap"):
        return "the program break, beside malloc", False
    if mapping.name:  # given by prctl(PR_SET_VMA_ANON_NAME)
        return mapping.name, False
    what = "code made at run time" if "x" in mapping.permissions else None
    if what:
        return (f"{likely} {what}", True) if likely else (what, False)
    return (likely, True) if likely else (UNNAMED, False)


def _shared(name: str) -> str:
    """Return what shared memory is called; anonymous one is /dev/zero's for the kernel."""
    plain = name.removesuffix(DELETED)
    if plain in ("", "/dev/zero"):
        return SHARED_ANONYMOUS
    if plain.startswith("/SYSV"):
        return "System V shared memory"
    return plain.replace("/memfd:", "memfd:")
