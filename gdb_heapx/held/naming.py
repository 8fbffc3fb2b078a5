"""What a root's word is called: by the symbols of its file, or by whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..locate.tcbs import FIRST_KEYS
from ..target.images import Image
from ..target.target import Target
from .root import LocalBlock, Root, RootKind, Roots


class Where(NamedTuple):
    """A place that may hold a pointer: whose it is, and how far into `name` it lies.

    `module` is the path of the file that has it, None where none does; `name` is the variable's;
    without one, that of the file's section; of a stack None, and `offset` is from the stack
    pointer; of other memory the mapping's, and `offset` is from its beginning; of what else is a
    thread's, from where that part of it begins.
    """

    kind: RootKind
    lwp: int | None
    module: str | None
    name: str | None
    offset: int


def where_is(target: Target, roots: Roots, address: int) -> Where | None:
    """Return what an address is called, None where it is no root's; a thread-local variable that
    lies in a chunk is called by its name, too.
    """
    block, root = roots.block_at(address), roots.at(address)
    if block is not None and (root is None or root.kind is RootKind.TLS):
        return _thread_local(target.objects, block, address)
    if root is None:
        return None
    if root.kind is RootKind.GLOBAL and root.image is not None:
        return _variable(target.objects[root.image], root, address)
    if root.kind is RootKind.KEY:
        return _key(target, root, address)
    name = None if root.kind in (RootKind.STACK, RootKind.RED_ZONE) else root.name or None
    start = root.end if root.kind is RootKind.RED_ZONE else root.start
    mapping = target.space.mapping_at(address)
    if root.kind in (RootKind.MAPPING, RootKind.SHARED) and mapping:
        start = mapping.start
    return Where(root.kind, root.lwp, None, name, address - start)


def _thread_local(images: Sequence[Image], block: LocalBlock, address: int) -> Where:
    image, offset = None if block.image is None else images[block.image], address - block.start
    found = image.thread_local_at(offset) if image else None
    name, path = found.name if found else None, image.path if image else None
    return Where(RootKind.TLS, block.lwp, path, name, found.offset if found else offset)


def _variable(image: Image, root: Root, address: int) -> Where:
    """Return a file's variable; without symbols its section, else how far into the file it is."""
    found = image.symbol_at(address)
    if found is not None:
        return Where(root.kind, None, image.path, found.name, found.offset)
    name, offset = image.section_at(address) or (None, address - (image.base or image.start))
    return Where(root.kind, None, image.path, name, offset)


def _key(target: Target, root: Root, address: int) -> Where:
    """Return a key's value: each of the first keys has two words; pointers to others follow."""
    word = target.space.word
    number = (address - root.start) // (2 * word)
    if number >= FIRST_KEYS:
        return Where(root.kind, root.lwp, None, root.name, address - root.start)
    return Where(root.kind, root.lwp, None, f"pthread key {number}", 0)
