"""Runtimes and allocators that map memory of their own, beside glibc's malloc."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..target.images import Image, base_name
from ..target.mappings import Mapping, merged, outside
from ..target.target import Target
from .allocators import ALLOCATORS, Allocator, known_allocator
from .loader import OF_GLIBC
from .own_heaps import (
    Finder,
    go_arenas,
    java_heap,
    pymalloc_arenas,
    ruby_pages,
    v8_pages,
    zend_chunks,
)


class TrimCall(NamedTuple):
    """How malloc_trim(0) is called, where, and what more must be known of that."""

    call: str = "malloc_trim(0)"
    where: str = " in the program"
    more: str = ""


CALL = TrimCall()


class Runtime(NamedTuple):
    """How a runtime is told, and its memory.

    `files` are the names that its program or library has, as a regular expression, and `symbol` is
    exported by it alone. `memory` is what `find` finds, None where nothing tells that. Other memory
    is likely `whose`, unless that is None. `tools` go on from there. `trim` is how
    malloc_trim(0) is called in it.
    """

    name: str
    files: str
    symbol: str
    memory: str
    find: Finder
    whose: str | None
    tools: str
    trim: TrimCall = CALL


RUNTIMES = (
    Runtime(
        *("CPython", r"(lib)?python", "PyObject_Malloc"),
        *("CPython's pymalloc", pymalloc_arenas, None),
        "sys._debugmallocstats() in the program tells how full it is, tracemalloc who allocates. "
        "PYTHONMALLOC=malloc when it starts makes it malloc's, so that heapx sees into "
        "it.",
        TrimCall("ctypes.CDLL(None).malloc_trim(0)", " in it"),
    ),
    Runtime(
        *("PHP", r"php|libphp|mod_php", "_emalloc"),
        *("PHP's Zend MM", zend_chunks, "PHP's"),
        "memory_get_usage(), and with true, in the program tell how full it is. gc_mem_caches() "
        "returns what is free. USE_ZEND_ALLOC=0 when it starts makes it malloc's, "
        "so that heapx sees into it.",
    ),
    Runtime(
        *("V8", r"(lib)?node|libv8|d8", "_ZN2v87Isolate3NewERKNS0_12CreateParamsE"),
        *("V8's heap", v8_pages, "V8's"),
        "v8.getHeapStatistics() and process.memoryUsage() in it tell how full it is, "
        "v8.writeHeapSnapshot() of what. --max-old-space-size=MIB limits it.",
    ),
    Runtime(
        *("the JVM", r"libjvm\.so", "gHotSpotVMStructs"),
        *("the Java heap", java_heap, "the JVM's"),
        "jcmd PID GC.heap_info tells how full the heap is. jcmd PID VM.native_memory tells "
        "of the rest, if it was started with -XX:NativeMemoryTracking=summary. -Xmx limits the "
        "heap. jcmd PID System.trim_native_heap is a malloc_trim.",
        TrimCall("jcmd PID System.trim_native_heap", "", "JDK 17.0.9 has it, and 18 and newer."),
    ),
    Runtime(
        *("Go", r"", "crosscall2"),
        *("Go's heap", go_arenas, "Go's"),
        "runtime/metrics and pprof tell how full it is. debug.FreeOSMemory() returns what is free. "
        "GOMEMLIMIT and GOGC limit it.",
    ),
    Runtime(
        *("Ruby", r"(lib)?ruby", "rb_gc_start"),
        *("Ruby's heap pages", ruby_pages, "Ruby's"),
        "GC.stat and ObjectSpace.count_objects_size in the program tell how full it is. "
        "GC.compact lets pages become free.",
        TrimCall("Process.warmup", " in it", "Ruby 3.3 and newer have it; it collects, too."),
    ),
)


class Claim(NamedTuple):
    """A range that is a runtime's, by what it calls its memory."""

    start: int
    end: int
    memory: str


class Present(NamedTuple):
    """A runtime, and the file that it is in."""

    runtime: Runtime
    image: Image


def runtimes_in(target: Target) -> tuple[Present, ...]:
    """Return the runtimes that are mapped, each once."""
    images = [image for image in target.objects if not OF_GLIBC.match(base_name(image.path))]
    found = ((each, next(_with(each, target, images), None)) for each in RUNTIMES)
    return tuple(Present(runtime, image) for runtime, image in found if image)


def _with(runtime: Runtime, target: Target, images: Iterable[Image]) -> Iterator[Image]:
    """Yield the files that have a runtime: the program, or one that is named so."""
    for image in images:
        named = re.match(runtime.files, base_name(image.path)) if runtime.files else None
        if not named and image.path != target.facts.exe:
            continue
        if image.elf is None:
            if named and ".so" in image.path:  # a core, and this host hasn't the file
                yield image
        elif image.function(runtime.symbol) is not None or image.address(runtime.symbol):
            yield image


def claims(target: Target, present: Iterable[Present], free: Sequence[Mapping]) -> list[Claim]:
    """Return what runtimes own of memory that nobody else does, as far as its contents tell."""
    found: list[Claim] = []
    for runtime, image in present:
        left = list(outside(free, [(claim.start, claim.end) for claim in found]))
        spans = merged(runtime.find(target.space, image, left))
        inside = outside(left, _complement(spans))
        found += (Claim(part.start, part.end, runtime.memory) for part in inside)
    return found


def _complement(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    edges = [0, *(edge for span in spans for edge in span), 1 << 65]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2]) if start < end]


def loaded_allocators(target: Target, present: Iterable[Present]) -> tuple[str, ...]:
    """Return the allocators that are loaded, or are part of a library: whether they serve malloc or
    only who loaded them.
    """
    runtimes = [image for _, image in present]  # CPython has a mimalloc that few use
    names = set()
    for image in target.objects:
        file = base_name(image.path)
        if OF_GLIBC.match(file) or image in runtimes or not _is_code(image):
            continue
        names.add(_named(file) or known_allocator(image))
    return tuple(sorted(name for name in names if name))


def _named(file: str) -> str | None:
    return next((each.name for each in ALLOCATORS if file.startswith(each.library)), None)


def _is_code(image: Image) -> bool:
    return any("x" in mapping.permissions for mapping in image.mappings)


def whose(names: Iterable[str]) -> str | None:
    """Return whose memory without a sign of its owner likely is, None where nobody's is known."""
    own = {each.name: each.whose for each in RUNTIMES}
    found = [own.get(name, f"{name}'s") for name in names]
    return " or ".join(each for each in found if each) or None


def how_to_trim(names: Container[str]) -> TrimCall:
    """Return how malloc_trim(0) is called in a program with these runtimes."""
    own = (each.trim for each in RUNTIMES if each.name in names and each.trim is not CALL)
    return next(own, CALL)


def tools_for(memory: str) -> str | None:
    """Return what goes on from a runtime's memory, or from what is likely somebody's."""
    own = next((r for r in RUNTIMES if memory == r.memory or (r.whose and r.whose in memory)), None)
    if own:
        return own.tools
    other = _allocator_of(memory)
    return f"Ask {other.name}: {other.statistics}." if other else None


def _allocator_of(memory: str) -> Allocator | None:
    return next((each for each in ALLOCATORS if f"{each.name}'s" in memory), None)
