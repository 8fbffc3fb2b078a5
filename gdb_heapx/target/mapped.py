"""The bytes of a mapped file as memory holds them, by their offset in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import MemoryFault
from .mappings import Mapping, Memory

LARGEST_SLICE = 64 << 20  # bytes


class Mapped:
    """A file to slice, as far as it is mapped: each slice ends at the first gap.

    What the program can't write is as it is in the file; the rest is as it is now. `start` is where
    the file's first byte is mapped.
    """

    def __init__(self, memory: Memory, mappings: Iterable[Mapping]) -> None:
        self._memory = memory
        readable = [m for m in mappings if m.permissions.startswith("r")]
        # A page may be mapped twice, at the end of a constant part and at the beginning of another.
        self._mappings = sorted(readable, key=lambda m: ("w" in m.permissions, m.start))
        self.start = min((m.start for m in readable if not m.offset), default=0)

    def __getitem__(self, part: slice) -> bytes:
        at, stop = part.start or 0, part.stop
        stop = min(stop, at + LARGEST_SLICE)
        parts = []
        while at < stop:
            data = self._read(at, stop)
            if not data:
                break
            parts.append(data)
            at += len(data)
        return b"".join(parts)

    def _read(self, offset: int, stop: int) -> bytes:
        """Return what one mapping holds from an offset on, b"" where none can be read."""
        for mapping in self._mappings:
            if mapping.offset <= offset < mapping.offset + mapping.size:
                size = min(stop - offset, mapping.offset + mapping.size - offset)
                try:
                    return bytes(self._memory.read(mapping.start + offset - mapping.offset, size))
                except MemoryFault:
                    continue
        return b""

    def pieces(self, size: int, overlap: int) -> Iterator[bytes]:
        """Yield all that the program can't write, so many bytes at once, each with the last ones of
        the piece before it.
        """
        for mapping in self._mappings:
            for at in range(0, 0 if "w" in mapping.permissions else mapping.size, size):
                start = max(at - overlap, 0)
                yield self[mapping.offset + start : mapping.offset + min(at + size, mapping.size)]
