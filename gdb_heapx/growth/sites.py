"""Call sites: whose requests made malloc's memory grow, by how much, and what was free then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..glibc.releases import MALLOC_FUNCTIONS
from ..records import dataclass
from ..target.images import Image, base_name
from .watched import Growth, SourceLine

# Who allocates for others: nobody learns from these who asked.
WRAPPERS = re.compile(
    r"operator new|std::|__gnu_cxx::|__rust_|__rdl_|__rg_|alloc::(alloc|raw_vec)"
    r"|_?x(m|c|re)alloc|_?Py(Object|Mem)_\w*[aA]lloc|g_(try_)?(malloc|realloc)(0|_n|0_n)?\b"
)


# Its own files, by any release: none of their functions is the program's.
LIBC_FILES = re.compile(r"/(libc|libpthread|ld|ld-linux[-\w]*|libc_malloc_debug)[-.0-9][^/]*$")


class Frame(NamedTuple):
    """What a frame of a backtrace is called, the file it is in, and whether it only allocates for
    others: malloc itself, operator new. With debug info, the source that it stands in, and the line
    there.
    """

    name: str
    file: str | None
    allocates: bool
    source: str | None = None
    line: int | None = None

    @property
    def at(self) -> str | None:
        """Where it stands, such as `server.c:133`, None without debug info."""
        return f"{base_name(self.source)}:{self.line}" if self.source else None


class Names:
    """What frames are called: functions where there are symbols, else file and offset."""

    def __init__(
        self,
        images: Iterable[Image],
        mallocs: Iterable[Image],
        demangled: Callable[[str], str | None],
        code: Mapping[int, Sequence[SourceLine]],
    ) -> None:
        self._images = tuple(images)
        self._mallocs = tuple(mallocs)
        self._demangled = demangled
        self._code = code
        self._known: dict[tuple[int, bool], tuple[Frame, ...]] = {}

    def of(self, stack: Sequence[int]) -> tuple[Frame, ...]:
        """Return the frames of a backtrace, which begins with the innermost; functions that were
        inlined have frames of their own.
        """
        parts = (self._frames(pc, bool(number)) for number, pc in enumerate(stack))
        return tuple(frame for part in parts for frame in part)

    def _frames(self, pc: int, called: bool) -> tuple[Frame, ...]:
        """Return the frames of one place; of one that has called another, pc is the instruction
        behind the call, which may be another function's.
        """
        if (pc, called) not in self._known:
            whole = self._named(pc - 1 if called else pc)
            code = self._code.get(pc, ())
            self._known[pc, called] = tuple(_inlined(whole, c) for c in code) or (whole,)
        return self._known[pc, called]

    def _named(self, address: int) -> Frame:
        image = next((each for each in self._images if address in each), None)
        if image is None:
            return Frame(f"{address:#x}", None, False)
        of_malloc = image in self._mallocs
        symbol = image.symbol_at(address)
        if symbol is not None:
            name = self._demangled(symbol.name) or symbol.name
            static = of_malloc and image.static
            allocates = _is_malloc(symbol.name) if static else of_malloc
            return Frame(name, image.path, allocates or is_wrapper(name))
        name = f"{base_name(image.path)}+{address - (image.base or 0):#x}"
        return Frame(name, image.path, of_malloc and not image.static)


def is_wrapper(name: str) -> bool:
    """Tell whether a function only allocates for others. A template's name has what it returns
    before it: `void std::vector<int>::_M_realloc_insert<int>(...)`.
    """
    start, depth = 0, 0
    for at, character in enumerate(name if not name.startswith("operator") else ""):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and not depth:
            break
        if character == " " and not depth:
            start = at + 1
    return WRAPPERS.match(name, start) is not None


def _inlined(whole: Frame, code: SourceLine) -> Frame:
    """Return the frame of a function by debug info; the code is part of `whole`."""
    name, source, line = code
    of_malloc = whole.allocates and not is_wrapper(whole.name)
    return Frame(name, whole.file, of_malloc or is_wrapper(name), source, line)


def _is_malloc(symbol: str) -> bool:
    return MALLOC_FUNCTIONS.match(symbol) is not None


def site_of(frames: Sequence[Frame]) -> Frame | None:
    """Return the frame that asked: the innermost one that doesn't allocate for others; None of an
    empty backtrace.
    """
    asked = (frame for frame in frames if not frame.allocates and frame.file)
    return next(asked, frames[-1] if frames else None)


NOWHERE = Frame("?", None, False)  # where no backtrace was to be had


@dataclass(frozen=True)
class Backtrace:
    """One backtrace: its frames, the innermost first, its requests, and their bytes."""

    frames: tuple[Frame, ...]
    requests: int
    bytes: int


@dataclass(frozen=True)
class CallSite:
    """One call site: the requests that it made malloc grow by.

    `smallest` and `largest` are sizes of chunks, None where no size is known. `arenas` are indexes.
    `most_free` is the request for which most was free in its arena, None where that is unknown for
    all; `looked` the one with most that was free anywhere, of those for which that is known, which
    are `known`.
    """

    frame: Frame
    requests: int
    bytes: int
    smallest: int | None
    largest: int | None
    sources: tuple[str, ...]
    arenas: tuple[int, ...]
    threads: tuple[int, ...]
    most_free: Growth | None
    looked: Growth | None
    known: int
    stacks: tuple[Backtrace, ...]


def sites_of(growths: Iterable[Growth], names: Names, arenas: Mapping[int, int]) -> list[CallSite]:
    """Return the call sites of these requests, those with most bytes first."""
    frames: dict[tuple[int, ...], tuple[Frame, ...]] = {}
    found: dict[Frame, list[Growth]] = {}
    for growth in growths:
        if growth.stack not in frames:
            frames[growth.stack] = names.of(growth.stack)
        site = site_of(frames[growth.stack]) or NOWHERE
        found.setdefault(site, []).append(growth)
    sites = (_site(site, each, frames, arenas) for site, each in found.items())
    return sorted(sites, key=lambda site: (-site.bytes, site.frame.name, site.frame.line or 0))


def _site(
    frame: Frame,
    growths: Sequence[Growth],
    frames: Mapping[tuple[int, ...], tuple[Frame, ...]],
    arenas: Mapping[int, int],
) -> CallSite:
    sizes = [each.chunk_size for each in growths if each.chunk_size is not None]
    known = [each for each in growths if each.free is not None]
    looked = [each for each in growths if each.unusable is not None]
    used = {arenas[each.arena] for each in growths if each.arena and each.arena in arenas}
    return CallSite(
        frame,
        len(growths),
        sum(each.bytes for each in growths),
        min(sizes, default=None),
        max(sizes, default=None),
        tuple(sorted({each.source for each in growths})),
        tuple(sorted(used)),
        tuple(sorted({each.thread for each in growths})),
        max(known, key=lambda each: each.free.bytes if each.free else 0, default=None),
        max(looked, key=_unusable, default=None),
        len(looked),
        tuple(_stacks(growths, frames)),
    )


def _unusable(growth: Growth) -> int:
    """Return how many bytes were free anywhere when a request was made."""
    return sum(part.bytes for part in (growth.unusable or {}).values())


def _stacks(
    growths: Sequence[Growth], frames: Mapping[tuple[int, ...], tuple[Frame, ...]]
) -> list[Backtrace]:
    """Return the backtraces of requests by their names, those with most bytes first."""
    sums: dict[tuple[Frame, ...], tuple[int, int]] = {}
    for each in growths:
        requests, size = sums.get(frames[each.stack], (0, 0))
        sums[frames[each.stack]] = requests + 1, size + each.bytes
    stacks = (Backtrace(key, *found) for key, found in sums.items())
    return sorted(stacks, key=lambda stack: -stack.bytes)
