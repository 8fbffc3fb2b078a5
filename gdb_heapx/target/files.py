"""Which files a target is made of: ELF files by its mappings, each with its debug info."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby

from .elf import Elf
from .images import DebugInfo, Image, base_name
from .mappings import DELETED, Mapping, Mappings, Memory


def find_images(
    mappings: Iterable[Mapping],
    memory: Memory,
    open_mapped: Callable[[Mapping, str | None], Elf | None],
    debug: Iterable[DebugInfo] = (),
) -> tuple[Image, ...]:
    """Return the ELF files of a target by address, each with its debug info.

    Debug info of a file with another build-id is left out: it isn't about what the target runs.
    """
    images = []
    for (name, _), group in groupby(_numbered(mappings), lambda pair: pair[0]):
        parts = tuple(mapping for _, mapping in group)
        if name and parts[0].inode and not parts[0].offset:
            opener = partial(open_mapped, parts[0])
            images.append(Image(name.removesuffix(DELETED), parts, memory, opener))
    known = list(debug)
    for image in images:
        image.debug = next((info for info in known if _is_about(info, image)), None)
    return tuple(images)


def programs_among(images: Iterable[Image], mappings: Iterable[Mapping]) -> frozenset[str]:
    """Return the names of mapped files that are programs or libraries: ELF files, and what may be
    executed. All others hold data.
    """
    kinds = Mappings.of(mappings).kinds
    executed = {m.name.removesuffix(DELETED) for m in kinds if m.inode and "x" in m.permissions}
    others = (image for image in images if image.path not in executed)
    return frozenset(executed) | {i.path for i in others if i.debug or i.architecture or i.file}


def _numbered(mappings: Iterable[Mapping]) -> Iterator[tuple[tuple[str, int], Mapping]]:
    """Yield each file's mappings with a number that a further copy of the file changes."""
    number = 0
    for mapping in Mappings.of(mappings).in_order.where(lambda kind: bool(kind.inode)):
        number += not mapping.offset and "w" not in mapping.permissions
        yield (mapping.name, number), mapping


def _is_about(info: DebugInfo, image: Image) -> bool:
    if info.build_id and image.build_id:
        if info.build_id != image.build_id:
            return False
    elif base_name(info.path) != base_name(image.path):
        return False
    # One file may be mapped twice (dlmopen): any of these tells which one is meant.
    for name in ("main_arena", "_rtld_global", "_IO_stdin_used"):
        address = info.address(name)
        if address is not None:
            return address in image
    return True
