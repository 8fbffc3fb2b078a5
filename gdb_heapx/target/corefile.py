"""What is wrong with the file of a core: packed, or cut short."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from ..errors import HeapxError
from .elf import Elf


class _Packer(NamedTuple):
    """A way to pack files: its first bytes, its name, and the command that unpacks to stdout."""

    magic: bytes
    name: str
    unpack: str


# systemd-coredump packs with the first three, by its version; others with gzip or bzip2.
PACKERS = (
    _Packer(b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    _Packer(b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    _Packer(b"\xfd7zXZ\0", "xz", "xz -dc"),
    _Packer(b"\x1f\x8b", "gzip", "gzip -dc"),
    _Packer(b"BZh", "bzip2", "bzip2 -dc"),
)


def check_core(path: str) -> str | None:
    """See to it that a core can be looked at; HeapxError if it is packed, or has no headers.

    Return how much of it is there, None if all is. What is no core at all is left to gdb.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
        packer = next((each for each in PACKERS if head.startswith(each.magic)), None)
        core = None if packer else Elf.open(path)
        if core and core.segments():
            return cut_short(core)
    except OSError as error:
        raise HeapxError(f"cannot open the core {path}: {error.strerror}") from None
    except ValueError:
        return None
    if packer is None:
        raise HeapxError(f"the core {path} is cut short: not even its program headers are there")
    raise HeapxError(
        f"the core {path} is packed with {packer.name}",
        f"Unpack it: {packer.unpack} {shlex.quote(path)} >core",
        "Of systemd's, this does so: coredumpctl dump PID --output=core",
        "Then: heapx --core core",
    )


def cut_short(core: Elf) -> str | None:
    """Say how much of a core is there, None if all of it is."""
    if core.size >= core.end:
        return None
    return f"the core is cut short: {core.size:,} of {core.end:,} bytes are there"


def is_cut(statement: str) -> HeapxError:
    """Say that what is needed isn't in a core, with what to do."""
    return HeapxError(
        f"{statement}, and malloc's own data is not among them",
        "Was the disk full, or ulimit -c too low? In coredump.conf it is ProcessSizeMax,",
        "  ExternalSizeMax and MaxUse.",
        "A core of a process that lives on: gcore PID, or gdb -p PID -batch -ex gcore.",
    )
