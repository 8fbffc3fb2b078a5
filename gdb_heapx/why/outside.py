"""What isn't malloc's: who has it, by name, and what goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..locate.allocators import what_to_ask
from ..locate.runtimes import tools_for, whose
from ..report.model import Finding, counted, size_text
from ..snapshots.holders import Holder, ended_stacks
from ..snapshots.regions import VARIABLES, Owner
from . import breaks
from .order import Part

if TYPE_CHECKING:
    from .sums import Case

NAMED = 2  # in a sentence
EVIDENCE = 6
SHARE = 20  # who has less than one part in so many of it isn't named in a sentence

REMEDIES = {
    Owner.DATA: "Its clean pages are page cache: the kernel takes them back as it needs. Dirty "
    "ones of a shared mapping it writes to the file first. munmap, or madvise(MADV_DONTNEED), "
    "takes both out of RSS; of a private mapping that loses what was written to it.",
    Owner.SHARED: "It stays until all that map it unmap it, and it is removed: see ipcs -m, "
    "/dev/shm, and lsof for memfd.",
    Owner.STACKS: "Fewer threads. What a stack has taken it keeps, until its thread ends.",
    Owner.FILES: "Their clean pages are page cache: the kernel takes them back as it needs.",
}
STATIC = (
    "nm -S --size-sort lists the variables of the program, or of a library, by size. They stay as "
    "long as it is loaded. In /proc/PID/maps the file stands before that address."
)
STACK_CACHE = 40 << 20  # glibc's default of glibc.pthread.stack_cache_size (nptl/nptl-stack.c)
UNNAMED = (
    "strace -f -k -e trace=mmap, or gdb's catch syscall mmap, shows who maps it. Who does has to "
    "give it back."
)


def other_allocator(case: Case) -> Iterator[Finding]:
    """Yield that another allocator serves malloc, for each that does."""
    about_glibc = " What heapx says of glibc malloc says nothing about it."
    if case.snapshot.unused:
        about_glibc = ""
    for name in case.snapshot.allocators:
        yield Finding(
            "other_allocator",
            case.amount(Owner.ANONYMOUS, Owner.SBRK),
            f"{name} serves malloc: its memory is in here.{about_glibc}",
            (*breaks.places(case, Owner.SBRK), *evidence(case)),
            tools_for(whose((name,)) or "") or what_to_ask(name),
        )


def outside(case: Case) -> Iterator[Finding]:
    """Yield who has the memory that isn't malloc's."""
    found = case.holders
    if case.snapshot.allocators or not found:
        return  # its memory is the first finding
    yield Finding(
        "outside",
        case.outside,
        f"this isn't malloc's: {summary(case, found)}.",
        evidence(case),
        f"{_remedy(case, found[0])} heapx ledger --outside shows all of it.",
        about={(Part.OUTSIDE, 0): case.outside},
    )


def summary(case: Case, found: Sequence[Holder]) -> str:
    """Name those that have most of it, with their sums."""
    large = [h for h in found if SHARE * h.amount.in_ram >= case.outside][:NAMED] or found[:1]
    rest = case.outside - sum(holder.amount.in_ram for holder in large)
    told = [f"{size_text(holder.amount.in_ram)} {holder.short}" for holder in large]
    return ", ".join([*told, f"{size_text(rest)} other"] if 10 * rest >= case.outside else told)


def evidence(case: Case) -> tuple[str, ...]:
    """Return a sentence for each of those that have most.

    Where mmapped chunks have not been found, no place is named that may be theirs.
    """
    found = case.holders
    sure = not any(malloc.mmapped_lost for malloc in case.snapshot.mallocs)
    least = sum(holder.amount.in_ram for holder in found) // 100
    return tuple(
        f"{holder.label}: {size_text(holder.amount.in_ram)} in "
        f"{counted(holder.mappings, 'mapping')}{_more(holder, sure)}"
        for holder in found[:EVIDENCE]
        if holder.amount.in_ram >= least
    )


def _more(holder: Holder, sure: bool) -> str:
    """Say what of a file's memory the kernel can drop, and where anonymous memory is to be seen."""
    if holder.owner in (Owner.ANONYMOUS, Owner.RUNTIME):
        return f", most at {holder.largest:#x}" if sure else ""
    if holder.clean is None:
        return ""
    dirty = holder.amount.in_ram - holder.clean
    return f"; clean: {size_text(holder.clean)}, dirty: {size_text(dirty)}"


def _remedy(case: Case, most: Holder) -> str:
    if most.name == VARIABLES:
        return STATIC
    if most.owner is Owner.STACKS and ended_stacks(case.snapshot):
        return _of_ended_threads(case)
    return tools_for(most.name) or REMEDIES.get(most.owner, UNNAMED)


def _of_ended_threads(case: Case) -> str:
    """Say what to do about their stacks: nptl keeps some for new threads (nptl/nptl-stack.c), and
    all of those that nobody has joined.
    """
    ended, kept = ended_stacks(case.snapshot), f"{size_text(STACK_CACHE)} of them for new threads"
    if sum(stack.end - stack.start for stack in ended) <= STACK_CACHE:
        return f"{REMEDIES[Owner.STACKS]} nptl then keeps up to {kept}."
    return (
        f"pthread_join or pthread_detach for each thread. {len(ended):,} stacks are of ended "
        f"threads. nptl keeps up to {kept}; the rest nobody has joined."
    )
