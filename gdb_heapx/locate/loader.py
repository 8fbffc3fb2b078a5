"""ld.so's own list of the libraries that it loaded, and the variables of glibc's files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import MemoryFault
from ..target.images import Image, base_name
from ..target.space import Space
from ..target.target import Target

RTLD_GLOBAL = "_rtld_global"  # ld.so's data; its namespaces come first (_dl_ns)
NAMESPACES = 16  # DL_NNS
SPACES_SIZE = 4096  # bytes that hold the namespaces in every release
MOST_LIBRARIES = 4096
OF_GLIBC = re.compile(r"(libc|libpthread|ld)(-linux[^/]*)?[-.\d]")


def glibc_files(target: Target) -> Iterator[Image]:
    """Yield the files that are glibc's by name, and the program's own."""
    for image in target.objects:
        if (
            OF_GLIBC.match(base_name(image.path))
            or image.path == target.facts.exe
            or not image.mappings
        ):
            yield image


def find_variable(target: Target, first: Image, name: str) -> int | None:
    """Return a variable's address, looked for in `first` and then in glibc's other files."""
    others = (image for image in glibc_files(target) if image is not first)
    found = (image.address(name) for image in (first, *others))
    return next((address for address in found if address is not None), None)


def own_variable(target: Target, image: Image, inside: int, name: str) -> int | None:
    """Return the address of a file's own variable, though ld.so has one of the same name: .dynsym
    tells. `inside` is an address of the file.
    """
    link_map = link_map_of(target, image, inside)
    exported = image.exported(name, link_map.base if link_map else None)
    return image.address(name) if exported is None else exported


class LinkMap(NamedTuple):
    """A library as ld.so lists it: its struct link_map, load address, and namespace (0: base)."""

    address: int
    base: int
    namespace: int


def link_map_of(target: Target, image: Image, inside: int) -> LinkMap | None:
    """Return a file's struct link_map, None where ld.so's list can't be read.

    Where the file's load address isn't known, it is the one with the highest load address (l_addr)
    below `inside`, an address of the file; in any namespace.
    """
    rtld_global = find_variable(target, image, RTLD_GLOBAL)
    if rtld_global is None:
        return None
    below: list[LinkMap] = []
    for namespace, head in enumerate(_heads(target, rtld_global)):
        try:
            maps = [LinkMap(*each, namespace) for each in link_maps(target.space, head)]
        except MemoryFault:
            continue
        exact = [each for each in maps if image.base is not None and each.base == image.base]
        if exact:
            return exact[0]
        below += (each for each in maps if image.base is None and 0 < each.base <= inside)
    return max(below, key=lambda link_map: link_map.base, default=None)


def _heads(target: Target, rtld_global: int) -> range:
    """Return where the lists of all namespaces may begin; without debug info, at any word."""
    spaces = [image.struct("link_namespaces") for image in glibc_files(target)]
    step = next((space.size for space in spaces if space), 0)
    if step:
        return range(rtld_global, rtld_global + NAMESPACES * step, step)
    return range(rtld_global, rtld_global + SPACES_SIZE, target.space.word)


def link_maps(space: Space, head: int) -> list[tuple[int, int]]:
    """Return address and l_addr of every link_map in one namespace (elf/link.h, public part)."""
    maps: dict[int, int] = {}
    node = space.read_word(head)
    while node and node not in maps and len(maps) < MOST_LIBRARIES:
        maps[node], _name, _ld, following, _previous = space.words(node, 5)
        node = following
    return list(maps.items())


def loaded_before(target: Target, image: Image, inside: int) -> list[Image]:
    """Return the files that ld.so searches before a library, the program first.

    All of them, in the order of their addresses, where ld.so's list can't be read.
    """
    own, rtld_global = (
        link_map_of(target, image, inside),
        find_variable(target, image, RTLD_GLOBAL),
    )
    try:
        listed = link_maps(target.space, rtld_global) if own and rtld_global is not None else []
    except MemoryFault:
        listed = []
    if own is None or not listed:
        return [other for other in target.objects if other is not image]
    by_base = {o.start if o.base is None else o.base: o for o in target.objects}
    before = []
    for address, base in listed:
        if address == own.address:
            break
        if base in by_base:
            before.append(by_base[base])
    return before
