"""The compiled walk, found and loaded: walk.c as scripts/build_walk has compiled it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..records import dataclass
from ..target.space import Space

if TYPE_CHECKING:
    import ctypes

ABI = 11  # what heapx_abi of walk.c returns: raised there and here when what it is given changes
HERE = Path(__file__).resolve().parent
WORD = 8  # bytes


class Walker(NamedTuple):
    """What walks over chunks, in words, and where that is from or why it isn't compiled."""

    name: str
    how: str


@dataclass(frozen=True)
class Library:
    """`code` has the functions of walk.c, None where the walk is Python's; then `why` says so.

    `machine` and `path` are what was loaded, or what was looked for.
    """

    code: ctypes.CDLL | None
    machine: str
    path: Path
    why: str = ""

    @property
    def walker(self) -> Walker:
        """What `heapx about` says of it."""
        if self.code is None:
            return Walker("Python", self.why)
        return Walker(f"compiled ({self.machine})", str(self.path))


def library(space: Space) -> Library:
    """Return the compiled walk for a target, as far as it can walk there, and is wanted."""
    if not space.compiled:
        return _none("set heapx compiled off")
    if space.word != WORD:
        return _none(f"the target's words have {space.word} bytes")
    if space.byteorder == "big":
        return _none("the target is big-endian")
    return _loaded()


def _none(why: str) -> Library:
    machine = os.uname().machine
    return Library(None, machine, HERE / f"walk-{machine}.so", why)


@functools.cache
def _loaded() -> Library:
    return load(HERE)


def load(directory: Path) -> Library:
    """Return the compiled walk for this machine from a directory.

    It is as trusted as the Python that lies there: nothing is searched for, neither a path nor a
    name that the environment gives.
    """
    machine = os.uname().machine
    path = directory / f"walk-{machine}.so"
    lacking = functools.partial(Library, None, machine, path)
    if sys.maxsize < 1 << 32:
        return lacking("this Python has 32 bits")
    if sys.byteorder == "big":
        return lacking("this machine is big-endian")
    if not path.exists():
        return lacking(_never_built(path))
    for source in _newer(path):
        return lacking(f"{path.name} is older than {source.name}: run scripts/build_walk")
    try:
        from ctypes import CDLL, c_uint64  # some Pythons come without
    except ImportError:
        return lacking("this Python has no ctypes")
    try:
        code = CDLL(str(path))
        abi: Callable[[], int] = code.heapx_abi
    except (OSError, AttributeError) as error:
        return lacking(str(error))
    code.heapx_abi.restype = c_uint64
    if abi() != ABI:
        return lacking(f"{path.name} is of another heapx: {abi()} where {ABI} is needed")
    return Library(code, machine, path)


def _never_built(path: Path) -> str:
    """Return why there is no file: what scripts/build_walk left instead, if it ran."""
    said = path.with_suffix(".txt")
    if said.exists():
        return said.read_text(errors="replace").strip()
    if _sources(path):
        return f"{path.name} isn't built: run scripts/build_walk"
    return f"heapx was installed without {path.name}"


def _newer(path: Path) -> list[Path]:
    """Return the sources that are newer than what was compiled of them."""
    compiled = path.stat().st_mtime
    return [source for source in _sources(path) if source.stat().st_mtime > compiled]


def _sources(path: Path) -> list[Path]:
    """Return what a checkout has to compile; what is installed has none."""
    folders = (path.parent, *(path.parents[1] / name for name in ("held", "recognise", "reach")))
    return [*chain.from_iterable(folder.glob("*.[ch]") for folder in folders)]
