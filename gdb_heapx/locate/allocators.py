"""Which malloc serves a target, where it isn't glibc's, or not only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import HeapxError, MemoryFault, SwappedOutError
from ..target.corefile import is_cut
from ..target.images import Image, base_name
from ..target.target import Target
from .libcs import DEBUG_MALLOC, Libc, glibc_images
from .loader import loaded_before
from .release import BANNER

SONAME = "libc.so.6"  # of glibc's libc; on a few architectures more follows


class Allocator(NamedTuple):
    """How an allocator is told: a library's name, a function that only it has, its own words.

    `statistics` tells about its memory.
    """

    name: str
    library: str
    function: str
    words: tuple[bytes, ...]
    statistics: str


ALLOCATORS = (
    Allocator(
        *("jemalloc", "libjemalloc", "mallctl", (b"<jemalloc>",)),
        "malloc_stats_print(NULL, NULL, NULL), or MALLOC_CONF=stats_print:true",
    ),
    Allocator(
        *("tcmalloc", "libtcmalloc", "tc_malloc", (b"tcmalloc: ", b"google_malloc")),
        "MallocExtension::GetStats, or MALLOCSTATS=1",
    ),
    Allocator(
        *("mimalloc", "libmimalloc", "mi_malloc", (b"mimalloc: ",)),
        "mi_stats_print(NULL), or MIMALLOC_SHOW_STATS=1",
    ),
)


class Instead(NamedTuple):
    """What a program has instead of glibc's malloc: its name, and what it is."""

    name: str
    what: str


MUSL = Instead("musl", "musl, which has a malloc of its own")
GO = Instead("Go", "Go's runtime, which manages its memory itself")
OWN = "the program itself"
# What a program without glibc is made with, by words that only it has in its constants.
RUNTIMES = (
    (rb"(musl libc|MUSL_LOCPATH|No error information|-0X\+0X 0X-0x\+0x 0x)", MUSL),
    (rb"(Go buildinf:)", GO),
)
GLIBC_MALLOC, GLIBC = rb"(malloc\(\): )", rb"(glibc)"  # in malloc.c, and in any program with glibc


def other_allocators(target: Target, libc: Libc, unused: bool) -> tuple[str, ...]:
    """Return the allocators that stand in for glibc malloc.

    They are linked into the program, or a library that ld.so searches before libc: preloaded, or
    linked. What was loaded later by dlopen serves nobody's malloc. A malloc that isn't known by
    name may only hand on to glibc's: it counts where glibc malloc is `unused`.
    """
    names = set()
    for image in loaded_before(target, libc.image, libc.main_arena):
        file = base_name(image.path)
        if image is libc.image or file.startswith(DEBUG_MALLOC):
            continue
        known = named_allocator(file)
        if known is None and image.function("malloc") is not None:
            known = known_allocator(image) or (f"the malloc of {file}" if unused else None)
        names.add(known)
    return tuple(sorted(name for name in names if name))


def named_allocator(file: str) -> str | None:
    """Return the allocator that a library is by its name, None if it isn't a known one."""
    return next((each.name for each in ALLOCATORS if file.startswith(each.library)), None)


def known_allocator(image: Image) -> str | None:
    """Return the allocator that is linked into a file, None if it isn't a known one."""
    for allocator in ALLOCATORS:
        if image.function(allocator.function) is not None or any(map(image.has, allocator.words)):
            return allocator.name
    return None


def what_to_ask(name: str) -> str:
    """Return what tells more about an allocator."""
    known = next((each for each in ALLOCATORS if each.name == name), None)
    return f"Ask {name}: {known.statistics}." if known else f"Ask the program about {name}."


def not_glibc(names: tuple[str, ...]) -> HeapxError:
    """Say that glibc malloc serves nothing, since others do."""
    return HeapxError(
        f"{' and '.join(names)}, not glibc, serves malloc here: glibc malloc holds nothing",
        *map(what_to_ask, names),
        "heapx ledger shows the whole address space.",
    )


def no_glibc(target: Target) -> HeapxError:
    """Say whose malloc this is, or what to do where glibc's can't be found."""
    if target.facts.cut:
        return is_cut(target.facts.cut)
    if _awaits_libc(target):
        return HeapxError(
            "libc isn't mapped yet: the program has just been started",
            "Let it come to its main: break main, continue.",
        )
    named = next(_runtimes(target), None)
    libcs = [image for image in glibc_images(target) if not image.static]
    if libcs and not named:
        return _not_found(target, libcs[0])
    if named:
        return HeapxError(
            f"this program's malloc is not glibc's: it uses {named.what}",
            "heapx ledger shows the whole address space.",
        )
    return HeapxError(
        "no glibc malloc found in this target",
        "Is the program loaded? (gdb -p PID, or gdb PROGRAM CORE)",
        "If its malloc is glibc's: set heapx main-arena ADDRESS, set heapx mp ADDRESS.",
    )


def _awaits_libc(target: Target) -> bool:
    """Tell whether the program asks for glibc's libc, and has none: ld.so has yet to map it."""
    program = next((i for i in target.objects if i.path == target.facts.exe), None)
    needed = program.elf.needed() if program and program.elf else ()
    mapped = {base_name(image.path) for image in target.objects}
    return any(name.startswith(SONAME) and name not in mapped for name in needed)


def instead_of_glibc(target: Target) -> str | None:
    """Return whose the memory is where there is no glibc malloc; None if that isn't known."""
    named = None if target.facts.cut else next(_runtimes(target), None)
    return named and named.name


def _runtimes(target: Target) -> Iterator[Instead]:
    """Yield what the program may use instead of glibc's malloc, the surest first."""
    if any("/ld-musl-" in kind.name for kind in target.space.mappings.kinds):
        yield MUSL
    for image in sorted(target.objects, key=lambda image: image.path != target.facts.exe):
        allocator = known_allocator(image)
        if allocator:
            yield Instead(allocator, allocator)
        yield from (name for words, name in RUNTIMES if image.text(words))
    program = next((image for image in target.objects if image.path == target.facts.exe), None)
    if program is None or not program.elf:
        return
    if program.function("__malloc_donate") is not None:  # ldso/dynlink.c gives it gaps
        yield MUSL
    if program.function("malloc") is not None:
        yield Instead(OWN, "a malloc of its own")
    if program.static and not program.text(GLIBC):
        yield Instead(OWN, "another C library, such as musl, or none")
    if program.static and not program.text(GLIBC_MALLOC):
        yield Instead(OWN, "a malloc of its own, and glibc's isn't in it")


def _not_found(target: Target, libc: Image) -> HeapxError:
    for name in ("main_arena", "mp_"):
        address = libc.address(name)
        if address is None:
            continue
        try:
            target.space.read_word(address)
        except SwappedOutError as fault:
            return fault
        except MemoryFault:
            return HeapxError(
                f"{name} of {libc.path}, at {address:#x}, cannot be read",
                "Was it left out of the core? The kernel's core has it, or gcore's of a newer gdb.",
            )
    what = "nothing in its data looks like glibc malloc's"
    return _without_symbols(libc, libc.text(BANNER) or "unknown", what)


def refused(target: Target, libc: Libc) -> HeapxError:
    """Say that what was guessed, or given by hand, isn't glibc's malloc."""
    if target.facts.cut:
        return is_cut(target.facts.cut)
    how = {found.what: found.how for found in libc.found}
    what = (
        f"what looks like main_arena at {libc.main_arena:#x} (by {how['main_arena']}) isn't: its "
        "chunks don't add up"
    )
    return _without_symbols(libc.image, libc.found[0].value, what)


def _without_symbols(image: Image, release: str, what: str) -> HeapxError:
    """Say what to install, with the release and the build-id of the libc at hand."""
    build_id = image.build_id or "unknown"
    return HeapxError(
        f"no debug symbols for {image.path} (glibc {release}, build-id {build_id}), and {what}",
        "Debian, Ubuntu:  apt-get install libc6-dbg",
        "Fedora, RHEL:    dnf debuginfo-install glibc",
        "openSUSE:        zypper install glibc-debuginfo",
        "Arch and others: export DEBUGINFOD_URLS=…, then debuginfod-find debuginfo " + build_id,
        "Then attach again; or: set heapx main-arena ADDRESS, set heapx mp ADDRESS.",
    )
