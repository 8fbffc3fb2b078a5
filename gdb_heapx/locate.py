"""Where glibc malloc's data is in a target, and how each thing was found."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from . import glibc
from .errors import LAYOUT_DIFFERS, HeapxError, MemoryFault, Problem
from .layout import Layout, Release, Struct
from .target import Record, Symbols, Target


class Found(NamedTuple):
    """One thing that was located: what, its value as text, and how it was found."""

    what: str
    value: str
    how: str


@dataclass(frozen=True)
class Libc:
    """One glibc of the target whose malloc can be read."""

    symbols: Symbols
    layout: Layout
    main_arena: int
    parameters: Record
    found: tuple[Found, ...]
    problems: tuple[Problem, ...]

    @property
    def path(self) -> str:
        return self.symbols.path


def find_libcs(target: Target) -> tuple[Libc, ...]:
    """Return every glibc, the program's own first; HeapxError with what to do where none is."""
    owners = [o for o in target.objects if "libc_malloc_debug" not in o.path]
    libcs = [_locate(target, o) for o in owners if o.address("__libc_version") is not None]
    if not libcs:
        raise _no_libc(target)
    if len(libcs) > 1:
        libcs.sort(key=lambda libc: (link_map_of(target, libc) or LinkMap(0, 0, 0)).namespace)
    return tuple(libcs)


def _locate(target: Target, symbols: Symbols) -> Libc:
    """Read the release, layout and addresses of the libc that `symbols` belongs to."""
    by_symbol = "debug symbols of libc"
    addresses = {name: symbols.address(name) for name in ("__libc_version", "main_arena", "mp_")}
    version, main_arena, mp = addresses.values()
    if version is None or main_arena is None or mp is None:
        raise _no_symbols(target, symbols)
    text = target.read_string(version, 32)
    release = _parse_release(text)
    layout, how, problems = _layout(target, symbols, release)
    parameters = target.read_struct(layout.par, mp)
    hp_pagesize = parameters.get("hp_pagesize")
    layout = replace(layout, heap_max=glibc.heap_max(target.word, release, hp_pagesize))
    found = (
        Found("release", text, f"__libc_version, {by_symbol}"),
        Found("main_arena", f"{main_arena:#x}", by_symbol),
        Found("mp_", f"{mp:#x}", by_symbol),
        Found("layout", f"malloc_state of {layout.state.size} bytes", how),
    )
    return Libc(symbols, layout, main_arena, parameters, found, tuple(problems))


def _parse_release(text: str) -> Release:
    match = re.match(r"(\d+)\.(\d+)", text)
    if not match:
        raise HeapxError(f"cannot tell glibc's release from {text!r}", "Is this memory damaged?")
    return int(match[1]), int(match[2])


def _layout(
    target: Target, symbols: Symbols, release: Release
) -> tuple[Layout, str, list[Problem]]:
    """Return the layout from debug info, compared with the annotated structs of this release."""
    ours = glibc.annotated_layout(target.word, target.architecture, release)
    state, par = symbols.struct("malloc_state"), symbols.struct("malloc_par")
    heap_info = symbols.struct("_heap_info")
    if state is None or par is None or heap_info is None:
        raise _no_symbols(target, symbols)
    tcache = symbols.struct("tcache_perthread_struct")
    theirs = replace(ours, state=state, par=par, heap_info=heap_info, tcache=tcache)
    pairs = [(ours.state, state), (ours.par, par), (ours.heap_info, heap_info)]
    if ours.tcache and tcache:
        pairs.append((ours.tcache, tcache))
    problems = [problem for pair in pairs for problem in _differences(*pair, release)]
    return theirs, "debug info, compared with glibc's source", problems


def _differences(ours: Struct, theirs: Struct, release: Release) -> list[Problem]:
    """Say where debug info and the annotated struct disagree; debug info wins."""
    differ = [n for n, m in ours.members.items() if n not in theirs or theirs[n] != m]
    differ += [n for n in theirs.members if n not in ours and n != "pad"]
    if not differ and ours.size == theirs.size:
        return []
    statement = (
        f"struct {ours.name} differs from glibc {release[0]}.{release[1]}'s source "
        f"({', '.join(differ) or 'size'}): debug info is used"
    )
    return [Problem(LAYOUT_DIFFERS, statement)]


RTLD_GLOBAL = "_rtld_global"  # ld.so's data
# By allocator: a function that only it has.
ALLOCATORS = {"jemalloc": "mallctl", "tcmalloc": "tc_malloc", "mimalloc": "mi_malloc"}


def other_allocators(target: Target, libc: Libc) -> tuple[str, ...]:
    """Return the allocators that stand in for glibc malloc.

    They are linked into the program, or a library that ld.so searches before libc: preloaded, or
    linked. What was loaded later by dlopen serves nobody's malloc.
    """
    loaded = {
        allocator
        for name in _before(target, libc)
        for allocator in ALLOCATORS
        if name.startswith(f"lib{allocator}")
    }
    own = target.defines("malloc")
    linked = {a for a, name in ALLOCATORS.items() if own and target.defines(name)}
    return tuple(sorted(loaded | linked))


def _before(target: Target, libc: Libc) -> list[str]:
    """Return the file names of the objects that ld.so searches before libc."""
    own, rtld_global = link_map_of(target, libc), find_variable(target, libc.symbols, RTLD_GLOBAL)
    if own is None or rtld_global is None:
        return [mapping.name.rpartition("/")[2] for mapping in target.mappings]
    names = {mapping.start: mapping.name.rpartition("/")[2] for mapping in target.mappings}
    maps = _link_maps(target, rtld_global)
    bases = [base for node, base in maps]
    nodes = [node for node, base in maps]
    last = nodes.index(own.address) if own.address in nodes else len(nodes)
    return [names.get(base, "") for base in bases[:last]]


def _no_libc(target: Target) -> HeapxError:
    suspects = [o for o in target.objects if re.search(r"/libc[.-][^/]*$", o.path)]
    if suspects:
        return _no_symbols(target, suspects[0])
    if any("/ld-musl-" in mapping.name for mapping in target.mappings):
        return HeapxError("this program uses musl, which has a malloc of its own, not glibc's")
    return HeapxError(
        "no glibc found in this target",
        "Is the program loaded? (gdb -p PID, or gdb PROGRAM CORE)",
        "A static program, or another libc such as musl, can't be read yet.",
    )


def _no_symbols(target: Target, symbols: Symbols) -> HeapxError:
    """Say what to install, with the release and the build-id of the libc at hand."""
    build_id = symbols.build_id or "unknown"
    return HeapxError(
        f"no debug symbols for {symbols.path} (glibc {release_in_file(symbols.path)}, "
        f"build-id {build_id})",
        "Debian, Ubuntu:  apt-get install libc6-dbg",
        "Fedora, RHEL:    dnf debuginfo-install glibc",
        "openSUSE:        zypper install glibc-debuginfo",
        "Arch and others: export DEBUGINFOD_URLS=…, then debuginfod-find debuginfo " + build_id,
        "Then attach again.",
    )


def release_in_file(path: str) -> str:
    """Return the release that libc's file states in its banner, "unknown" if it can't be read."""
    try:
        with open(path, "rb") as file:
            banner = re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", file.read())
    except OSError:
        return "unknown"
    return banner[1].decode() if banner else "unknown"


def find_variable(target: Target, first: Symbols, name: str) -> int | None:
    """Return a variable's address, looked for in `first` and then in the other objects."""
    others = (o for o in target.objects if o is not first)
    found = (o.address(name) for o in (first, *others))
    return next((address for address in found if address is not None), None)


class LinkMap(NamedTuple):
    """A library as ld.so lists it: its struct link_map, load address, and namespace (0: base)."""

    address: int
    base: int
    namespace: int


def link_map_of(target: Target, libc: Libc) -> LinkMap | None:
    """Return libc's struct link_map, None where ld.so's list can't be read.

    It is the one with the highest load address (l_addr) below main_arena, in any namespace.
    """
    rtld_global = find_variable(target, libc.symbols, RTLD_GLOBAL)
    if rtld_global is None:
        return None
    spaces = [o.struct("link_namespaces") for o in target.objects]
    step = next((space.size for space in spaces if space), 0)
    below: list[LinkMap] = []
    for namespace in range(16 if step else 1):  # DL_NNS
        try:
            maps = _link_maps(target, rtld_global + namespace * step)
        except MemoryFault:
            break
        below += (LinkMap(*each, namespace) for each in maps if 0 < each[1] <= libc.main_arena)
    return max(below, key=lambda link_map: link_map.base, default=None)


def _link_maps(target: Target, head: int) -> list[tuple[int, int]]:
    """Return address and l_addr of every link_map in one namespace (elf/link.h, public part)."""
    maps: list[tuple[int, int]] = []
    node = target.read_word(head)
    while node and len(maps) < 4096:
        l_addr, _name, _ld, following, _previous = target.words(node, 5)
        maps.append((node, l_addr))
        node = following
    return maps
