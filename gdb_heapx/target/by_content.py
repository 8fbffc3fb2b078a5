"""The ELF files that memory holds, by their headers, where nobody says which they are."""

from __future__ import annotations

from collections.abc import Iterable

from .elf import as_loaded, base_of
from .headers import PF_W, PT_LOAD
from .images import DebugInfo
from .mapped import Mapped
from .mappings import Mapping, Memory

HEADERS = 4096  # bytes that hold an ELF file's program headers, where nobody knows more


def named_by_content(
    mappings: tuple[Mapping, ...], memory: Memory, debug: Iterable[DebugInfo]
) -> tuple[Mapping, ...]:
    """Return a core's mappings with the names of the files that they hold, where it lists none.

    A file begins with its headers. Its name is a debugger's, by the build-id, else its own. As its
    inode stands 1.
    """
    paths = {info.build_id: info.path for info in debug}
    named: list[Mapping] = []
    parts: tuple[Mapping, ...] = ()
    for mapping in sorted(mappings, key=lambda mapping: mapping.start):
        if not parts or mapping.start >= parts[-1].end:
            parts = as_mapped(memory, mapping.start, "")
            loaded = as_loaded(Mapped(memory, parts)) if parts else None
            build_id = loaded.build_id() if loaded else None
            own = loaded.soname() if loaded else None
            name = paths.get(build_id or "") or own or f"file at {mapping.start:#x}"
        within = [part for part in parts if part.start < mapping.end]
        if within:
            offset = max(mapping.start - within[-1].start + within[-1].offset, 0)
            first = mapping.start == parts[0].start
            mapping = mapping._replace(name=name, inode=1, offset=0 if first else offset)
        named.append(mapping)
    return tuple(named)


def as_mapped(memory: Memory, start: int, name: str) -> tuple[Mapping, ...]:
    """Return where the parts of an ELF file must be whose first byte is at `start`, by its headers;
    () where no file begins. As its inode stands 1.
    """
    page = Mapping(start, start + HEADERS, "r--p", 1, name)
    elf = as_loaded(Mapped(memory, (page,)))
    base = base_of(elf, start) if elf else None
    if elf is None or base is None:
        return ()
    loads = (s for s in elf.segments() if s.kind == PT_LOAD)
    return tuple(
        Mapping(
            base + s.address,
            base + s.address + s.memory_size,
            "rw-p" if s.flags & PF_W else "r--p",
            1,
            name,
            s.offset,
        )
        for s in sorted(loads, key=lambda segment: segment.address)
    )
