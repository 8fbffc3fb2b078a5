"""All roots of a target, found while it stands still; what they hold is read by others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Optional

from ..glibc.layout import align_up
from ..locate.libcs import Libc
from ..locate.nptl import NOT_DUMPED
from ..locate.runtimes import claims
from ..locate.tcbs import Tcbs, find_tcbs
from ..report.model import counted
from ..snapshots.opened import Opened
from ..snapshots.regions import Owner, owner_of
from ..target.core import NOT_HELD
from ..target.headers import PF_W
from ..target.mappings import Mapping as Mapped
from ..target.procfs import TIMERS
from ..target.target import Registers, Target
from .own import own_memory, uncertain
from .root import Missed, Register, Root, RootKind, Roots, arranged
from .stacks import FEW, find_stacks
from .threadlocal import blocks, dead_dtvs, dtvs, key_roots, left_behind, own_roots

NO_TCBS = Tcbs((), (), None)
ZEROS = "threads' stacks, which are zeros in this core (gcore before gdb 18, from glibc 2.42 on)"
EXCLUDED = "memory that gcore leaves out (MADV_DONTDUMP), if there is any"
# What of the kernel's programs use by which function.
KEEPERS = {"epoll": "epoll_ctl", TIMERS: "timer_create"}
Kept = Optional[Mapping[str, Optional[tuple[int, ...]]]]  # as the probe tells it
KERNELS = (Owner.KERNEL, Owner.DEVICE)


def find_roots(opened: Opened, shared: bool = False) -> Roots:
    """Return the roots of a stopped target; shared memory that can be written only if asked for.

    Nothing that malloc has of its own is one. Spans may have pages that nobody has touched.
    """
    target = opened.target
    libc = opened.mallocs[0].libc if opened.mallocs else None
    registers = target.probe.registers() or {}
    kept = target.probe.kept_by_kernel()
    tcbs = find_tcbs(target, libc) if libc else NO_TCBS
    stacks = find_stacks(target, libc, tcbs.tcbs, registers)
    local = tuple(sorted(blocks(target, tcbs)))
    layers: tuple[Iterable[Root], ...] = (
        key_roots(tcbs),
        (Root(RootKind.TLS, b.start, b.end, b.lwp, b.image) for b in local),
        own_roots(tcbs),
        stacks.red_zones,
        stacks.live,
        _variables(target),
        _of_runtimes(opened),
        _other_memory(target, shared),
    )
    holes = (*own_memory(opened), *stacks.dead, *dead_dtvs(target, tcbs))
    spans = arranged(layers, holes)
    missed = (
        *_without_registers(target, registers),
        *_unknown_threads(target, libc, tcbs),
        *stacks.missed,
        *uncertain(opened),
        *_not_told_by_kernel(target, kept),
        *_left_out(target, shared),
    )
    for image in target.objects:
        image.keep_symbols()
    held = (*_registers(registers), *dtvs(target, tcbs), *_kept(target, kept))
    return Roots(tuple(spans), held, missed, local, tuple(left_behind(target, tcbs)))


def _registers(registers: Mapping[int, Registers]) -> Iterator[Register]:
    for lwp, held in registers.items():
        yield from (Register(lwp, name, words) for name, words in held.words.items() if any(words))


def _kept(target: Target, kept: Kept) -> Iterator[Register]:
    """Yield what the program has given to the kernel, and gets back with an event."""
    for name, words in (kept or {}).items():
        if words:
            yield Register(target.facts.pid or 0, name, words, RootKind.KERNEL)


def _variables(target: Target) -> Iterator[Root]:
    """Yield what each file has of variables, those that ld.so made constant since (relro) with
    them; to the end of the page, where ld.so's own malloc goes on behind its variables
    (elf/dl-minimal-malloc.c).
    """
    for index, image in enumerate(target.objects):
        program = image.architecture is not None or image.debug is not None
        for start, end in image.spans(PF_W) if program else ():
            yield Root(RootKind.GLOBAL, start, align_up(end, target.space.page), None, index)


def _of_runtimes(opened: Opened) -> Iterator[Root]:
    """Yield what runtimes have of memory without a name, as far as its contents tell."""
    target, live = opened.target, opened.target.facts.live
    if opened.runtimes:
        nameless = [m for m in target.space.mappings if not m.name and _is_private(m, live)]
        for claim in claims(target, opened.runtimes, nameless):
            yield Root(RootKind.MAPPING, claim.start, claim.end, None, None, claim.memory)


def _other_memory(target: Target, shared: bool) -> Iterator[Root]:
    """Yield private memory that can be written, or that no file is behind, so that it could be;
    and shared memory that can be written.
    """
    live = target.facts.live
    for mapping in target.space.mappings:
        if _is_private(mapping, live):
            yield Root(RootKind.MAPPING, mapping.start, mapping.end, None, None, mapping.name)
        elif shared and _is_shared(mapping, live):
            yield Root(RootKind.SHARED, mapping.start, mapping.end, None, None, mapping.name)


def _is_private(mapping: Mapped, live: bool) -> bool:
    readable, written = mapping.permissions[0] == "r", "w" in mapping.permissions
    ours = _is_ours(mapping, live) and owner_of(mapping) not in KERNELS
    return readable and ours and (written or not mapping.inode)


def _is_shared(mapping: Mapped, live: bool) -> bool:
    written = mapping.permissions.startswith("rw")
    return written and not _is_ours(mapping, live) and owner_of(mapping) not in KERNELS


def _is_device(mapping: Mapped) -> bool:
    """Tell whether a mapping that can be written has a device's memory: a read may do something."""
    return "w" in mapping.permissions and owner_of(mapping) is Owner.DEVICE


def _is_ours(mapping: Mapped, live: bool) -> bool:
    """Tell whether no other process can write to a mapping: of a core only its name tells."""
    return mapping.permissions[-1] == "p" and (live or owner_of(mapping) is not Owner.SHARED)


# What can't be looked at.


def _without_registers(target: Target, registers: Mapping[int, Registers]) -> Iterator[Missed]:
    threads = target.facts.threads
    without = [thread.lwp for thread in threads if thread.lwp not in registers]
    if not threads:
        yield Missed(RootKind.REGISTER, "the registers of all threads")
    elif without:
        few = ", ".join(map(str, without[:FEW])) + (", ..." if len(without) > FEW else "")
        who = counted(len(without), "thread")
        yield Missed(RootKind.REGISTER, f"the registers of {who} ({few})")


def _unknown_threads(target: Target, libc: Libc | None, tcbs: Tcbs) -> Iterator[Missed]:
    threads = len(target.facts.threads)
    known = [tcb for tcb in tcbs.tcbs if tcb.lwp]
    unplaced = len(known) > 1 and not any(tcb.stack for tcb in known)
    if tcbs.missing == NOT_DUMPED:
        yield Missed(RootKind.STACK, ZEROS)
    elif libc is not None and (tcbs.missing or threads > len(known) or unplaced):
        why = tcbs.missing or "libc doesn't tell of all threads"
        yield Missed(RootKind.STACK, f"{why}: stacks count as other memory", None, True)


def _not_told_by_kernel(target: Target, kept: Kept) -> Iterator[Missed]:
    """Yield what the kernel keeps and doesn't tell; of a core it tells nothing."""
    untold = KEEPERS if kept is None else [name for name, words in kept.items() if words is None]
    names = [name for name in untold if name not in KEEPERS or _uses(target, KEEPERS[name])]
    if names:
        yield Missed(RootKind.KERNEL, f"what the kernel keeps ({', '.join(sorted(names))})")


def _uses(target: Target, function: str) -> bool:
    return any(image.imports(function) for image in target.objects)


def _left_out(target: Target, shared: bool) -> Iterator[Missed]:
    """Yield what is left out of mappings: shared memory, devices, what a core doesn't hold."""
    space = target.space
    if not space.mappings:
        yield Missed(RootKind.MAPPING, "memory that is neither a file's nor a stack")
    both = [m for m in space.mappings if _is_shared(m, target.facts.live)]
    if both and not shared:
        size = sum(mapping.size for mapping in both)
        yield Missed(RootKind.SHARED, "shared memory that can be written", size)
    devices = sum(m.size for m in space.mappings if _is_device(m))
    if devices:
        yield Missed(RootKind.MAPPING, "memory of devices that can be written", devices)
    unknown = sum(m.size for m in space.mappings if m.permissions == NOT_HELD)
    if unknown and not target.facts.live:
        yield Missed(RootKind.MAPPING, "memory that isn't in the core, if it was touched", unknown)
    if target.facts.by_debugger and _uses(target, "madvise"):
        yield Missed(RootKind.MAPPING, EXCLUDED)
    cut = sum(m.left_out for m in space.mappings if "w" in m.permissions)
    if target.facts.cut or cut:
        why = f" ({target.facts.cut})" if target.facts.cut else ""
        yield Missed(RootKind.MAPPING, f"memory that isn't in the core{why}", cut or None)
    hidden = [m for m in space.mappings if m.permissions[0] != "r" and m.permissions[-1] == "p"]
    held = sum(m.usage.resident + m.usage.swapped for m in hidden if m.usage and not m.inode)
    if held:
        yield Missed(RootKind.MAPPING, "memory that nobody may read now", held)
