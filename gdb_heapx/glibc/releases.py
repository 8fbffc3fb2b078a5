"""glibc's malloc structs and facts, release by release: the one place to add a new release.

Sources: malloc/malloc.c and malloc/arena.c of the tags glibc-2.17 to glibc-2.44.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from .architecture import Architecture
from .layout import Field, Layout, Release, align_up, lay_out

OLDEST: Release = (2, 23)
NEWEST: Release = (2, 44)

CHAR, SHORT, INT, WORD = 1, 2, 4, 0
FASTCHUNKS_BIT = 1  # malloc_state.flags, to 2.26: there are no fast chunks

DEFAULT_MMAP_THRESHOLD = DEFAULT_TRIM_THRESHOLD = DEFAULT_TOP_PAD = 128 << 10
DEFAULT_MMAPS_MAX = 65536

# The functions of malloc.c, arena.c and hooks.c that change the heap, by any of their names.
MALLOC_FUNCTIONS = re.compile(
    r"(__libc_|__GI___libc_|__debug_|__)?(malloc|calloc|realloc|free|cfree|memalign|malloc_trim|mallopt"
    r"|posix_memalign|aligned_alloc|valloc|pvalloc|mallinfo2?|malloc_info)(_check|2)?$"
    r"|_int_(malloc|free|realloc|memalign).*|sysmalloc.*|systrim.*|heap_trim.*|malloc_consolidate"
    r"|unlink_chunk.*|tcache_.*|arena_get.*|reused_arena|(grow|shrink|new|alloc_new)_heap.*"
    r"|_mid_memalign.*|munmap_chunk|mremap_chunk|__malloc_arena_thread_freeres"
)

# The functions that end a process, by any of their names.
ABORT_FUNCTIONS = re.compile(
    r"(__GI_)?(abort|__libc_message(_impl)?|malloc_printerr(_tail)?|__malloc_assert|__libc_fatal"
    r"|__assert_fail(_base)?|__libc_assert_fail|__fortify_fail)$"
)

# What malloc.c says when it finds damage: malloc_printerr, and malloc's assertions.
MALLOC_ABORTS = re.compile(
    r"[a-z_]+(\(\)|_get_size): |double free|corrupted (size|double|unsorted|bin)|break adjusted"
    r"|invalid (fastbin|chunk|pointer|next|old)|unaligned |.*\bmalloc assertion failure"
    r"|.*\b(malloc|arena)\.c:\d+: |\*\*\* Error in .*': "
)


def malloc_state(word: int, alignment: int) -> tuple[Field, ...]:
    """struct malloc_state: one arena."""
    # NFASTBINS: 10, but 11 where chunks are aligned to four words (i386 from 2.26).
    nfastbins = 11 if alignment > 2 * word else 10
    return (
        Field("mutex", INT),
        Field("flags", INT),
        # 2.27: its own word instead of an inverted bit in flags; 2.43 removed fastbins.
        Field("have_fastchunks", INT, since=(2, 27), until=(2, 43)),
        Field("fastbinsY", WORD, nfastbins, until=(2, 43)),
        Field("top", WORD),
        Field("last_remainder", WORD),
        Field("bins", WORD, 254),
        Field("binmap", INT, 4),
        Field("next", WORD),
        Field("next_free", WORD),
        Field("attached_threads", WORD, since=(2, 23)),
        Field("system_mem", WORD),
        Field("max_system_mem", WORD),
    )


# struct malloc_par: the parameters, mp_.
MALLOC_PAR = (
    Field("trim_threshold", WORD),
    Field("top_pad", WORD),
    Field("mmap_threshold", WORD),
    Field("arena_test", WORD),
    Field("arena_max", WORD),
    Field("thp_mode", INT, since=(2, 43)),
    Field("thp_pagesize", WORD, since=(2, 35)),
    Field("hp_pagesize", WORD, since=(2, 35)),
    Field("hp_flags", INT, since=(2, 35)),
    Field("n_mmaps", INT),
    Field("n_mmaps_max", INT),
    Field("max_n_mmaps", INT),
    Field("no_dyn_threshold", INT),
    Field("mmapped_mem", WORD),
    Field("max_mmapped_mem", WORD),
    Field("max_total_mem", WORD, until=(2, 24)),
    Field("sbrk_base", WORD),
    Field("tcache_bins", WORD, since=(2, 26), until=(2, 42)),
    Field("tcache_small_bins", WORD, since=(2, 42)),
    Field("tcache_max_bytes", WORD, since=(2, 26)),
    Field("tcache_count", WORD, since=(2, 26)),
    Field("tcache_unsorted_limit", WORD, since=(2, 26), until=(2, 44)),
)

# struct _heap_info: the head of a non-main arena's heap, without its padding.
HEAP_INFO = (
    Field("ar_ptr", WORD),
    Field("prev", WORD),
    Field("size", WORD),
    Field("mprotect_size", WORD),
    Field("pagesize", WORD, since=(2, 35)),
)

# struct tcache_perthread_struct. 2.42 counts free slots, downwards, and has 12 large bins more.
TCACHE_PERTHREAD = (
    Field("counts", CHAR, 64, since=(2, 26), until=(2, 30)),
    Field("counts", SHORT, 64, since=(2, 30), until=(2, 42)),
    Field("num_slots", SHORT, 76, since=(2, 42)),
    Field("entries", WORD, 64, since=(2, 26), until=(2, 42)),
    Field("entries", WORD, 76, since=(2, 42)),
)

# MALLOC_ALIGNMENT of 32-bit architectures where it is more than two words: alignof (long double).
_WIDE_ALIGNMENT_32 = {
    Architecture.RISCV: (2, 17),
    Architecture.POWERPC: (2, 24),
    Architecture.X32: (2, 17),
    Architecture.I386: (2, 26),
}
_TLS_BELOW = frozenset(
    (
        Architecture.X86_64,
        Architecture.X32,
        Architecture.I386,
        Architecture.S390,
        Architecture.SPARC,
    )
)


def malloc_alignment(word: int, architecture: Architecture, release: Release) -> int:
    """Return MALLOC_ALIGNMENT in bytes."""
    wide = _WIDE_ALIGNMENT_32.get(architecture)
    return 16 if word == 8 or (wide and release >= wide) else 8


def default_heap_max(word: int) -> int:
    """Return HEAP_MAX_SIZE in bytes: 2 * DEFAULT_MMAP_THRESHOLD_MAX."""
    return 64 << 20 if word == 8 else 1 << 20


def heap_max(word: int, release: Release, hp_pagesize: int) -> int:
    """Return HEAP_MAX_SIZE of a running libc in bytes.

    From 2.35 to 2.41 huge pages for arenas (tunable glibc.malloc.hugetlb=2) quadruple their size
    (malloc/arena.c, heap_max_size); 2.42 made it a constant again (9f551e28a7).
    """
    if hp_pagesize and (2, 35) <= release < (2, 42):
        return 4 * hp_pagesize
    return default_heap_max(word)


def safe_linking(release: Release) -> bool:
    """Tell whether tcache and fastbin links are protected (2.32, a1a486d70ebc)."""
    return release >= (2, 32)


def page_sized_mmap_header(release: Release) -> bool:
    """Tell whether an mmapped chunk's size excludes its header (2.43, 614cfd0f8a)."""
    return release >= (2, 43)


def tcache_has_key(release: Release) -> bool:
    """Tell whether a chunk in a tcache has a key behind its link (from 2.29)."""
    return release >= (2, 29)


def tcache_sizes(layout: Layout) -> range:
    """Return the sizes that the chunk of a tcache itself may have; none where there is none.

    From 2.43 tcache_init hands _int_malloc what is padded already, so that it is padded twice, but
    where it comes by __libc_malloc2. A rest below MINSIZE is left to a chunk.
    """
    if layout.tcache is None:
        return range(0)
    least = layout.chunk_size(layout.tcache.size)
    most = layout.chunk_size(least) if layout.release >= (2, 43) else least
    return range(least, most + layout.min_size, layout.alignment)


def _largest_cached(layout: Layout) -> dict[str, int]:
    """Return the default of tcache_max_bytes; fixes within 2.42 changed it, so none is given there.

    To 2.41 the largest request that is cached, from 2.43 the first chunk size that isn't.
    """
    if layout.release == (2, 42):
        return {}
    largest = layout.min_size + 63 * layout.alignment
    after = layout.release > (2, 42)
    return {"tcache_max_bytes": largest + 1 if after else largest - layout.word}


def default_parameters(layout: Layout) -> dict[str, int]:
    """Return the settings in malloc_par as they are where nobody has changed any.

    malloc.c: mp_, DEFAULT_TRIM_THRESHOLD, DEFAULT_TOP_PAD, NARENAS_FROM_NCORES, MAX_TCACHE_SIZE,
    TCACHE_FILL_COUNT (16 from 2.43). What malloc only counts there has no default.
    """
    defaults = {
        "trim_threshold": DEFAULT_TRIM_THRESHOLD,
        "top_pad": DEFAULT_TOP_PAD,
        "mmap_threshold": DEFAULT_MMAP_THRESHOLD,
        **dict.fromkeys(("tcache_bins", "tcache_small_bins"), 64),
        **dict.fromkeys(("thp_pagesize", "hp_pagesize", "hp_flags", "tcache_unsorted_limit"), 0),
        "arena_test": 8 if layout.word == 8 else 2,
        "arena_max": 0,
        "n_mmaps_max": DEFAULT_MMAPS_MAX,
        "no_dyn_threshold": 0,
        **_largest_cached(layout),
        "tcache_count": 16 if layout.release >= (2, 43) else 7,
    }
    return {name: defaults[name] for name in layout.par.members if name in defaults}


class Setter(NamedTuple):
    """What sets a member of malloc_par: variable, tunable and mallopt's parameter ("" without)."""

    variable: str = ""
    tunable: str = ""
    mallopt: str = ""


def _setter(name: str, variable: str) -> Setter:
    return Setter(variable, f"glibc.malloc.{name}", f"M_{variable[7:].strip('_')}")


# By member of malloc_par (malloc.c, ptmalloc_init and do_set_…; elf/dl-tunables.list).
SETTERS = {
    "trim_threshold": _setter("trim_threshold", "MALLOC_TRIM_THRESHOLD_"),
    "top_pad": _setter("top_pad", "MALLOC_TOP_PAD_"),
    "mmap_threshold": _setter("mmap_threshold", "MALLOC_MMAP_THRESHOLD_"),
    "n_mmaps_max": _setter("mmap_max", "MALLOC_MMAP_MAX_"),
    "arena_max": _setter("arena_max", "MALLOC_ARENA_MAX"),
    "arena_test": _setter("arena_test", "MALLOC_ARENA_TEST"),
    "tcache_max_bytes": Setter(tunable="glibc.malloc.tcache_max"),
    "tcache_bins": Setter(tunable="glibc.malloc.tcache_max"),
    "tcache_count": Setter(tunable="glibc.malloc.tcache_count"),
    "tcache_unsorted_limit": Setter(tunable="glibc.malloc.tcache_unsorted_limit"),
    "hp_pagesize": Setter(tunable="glibc.malloc.hugetlb"),
    "hp_flags": Setter(tunable="glibc.malloc.hugetlb"),
    "thp_pagesize": Setter(tunable="glibc.malloc.hugetlb"),
}
# Members whose value isn't the number that was set, but follows from it.
DERIVED = ("tcache_max_bytes", "tcache_bins", "hp_pagesize", "hp_flags", "thp_pagesize")
# What malloc keeps elsewhere, or not at all (malloc.c, hooks.c).
UNSEEN = (
    *("MALLOC_CHECK_", "MALLOC_PERTURB_", "MALLOC_TRACE"),
    *("glibc.malloc.check", "glibc.malloc.perturb", "glibc.malloc.mxfast"),
)


def without_tcache(layout: Layout) -> Layout:
    """Return the layout of the malloc in libc_malloc_debug.so.0: malloc.c, compiled without its
    tcache (2.34, malloc/malloc-debug.c and malloc-check.c).
    """
    fields = tuple(field for field in MALLOC_PAR if not field.name.startswith("tcache"))
    par = lay_out("malloc_par", fields, layout.word, layout.release)
    return replace(layout, par=par, tcache=None)


def thread_list_in_loader(release: Release) -> bool:
    """Tell whether ld.so keeps the lists of threads (2.34, when libpthread moved into libc)."""
    return release >= (2, 34)


def tls_below_thread_pointer(architecture: Architecture) -> bool:
    """Tell whether static TLS lies below struct pthread (TLS_TCB_AT_TP: x86, s390, sparc)."""
    return architecture in _TLS_BELOW


def releases() -> list[Release]:
    """Return every release that this file describes, the oldest first."""
    return [(2, minor) for minor in range(OLDEST[1], NEWEST[1] + 1)]


def same_layout(word: int, architecture: Architecture, one: Release, other: Release) -> bool:
    """Tell whether two releases can't be told apart by what their malloc has in memory.

    A member that only one of them has at the end of malloc_par doesn't tell.
    """
    ours, theirs = (annotated_layout(word, architecture, release) for release in (one, other))
    shared = set(ours.par.members.items()) & set(theirs.par.members.items())
    same_par = len(shared) == min(len(ours.par.members), len(theirs.par.members))
    same_lists = thread_list_in_loader(one) == thread_list_in_loader(other)
    return same_par and same_lists and replace(ours, release=other, par=theirs.par) == theirs


def annotated_layout(word: int, architecture: Architecture, release: Release) -> Layout:
    """Return the layout of `release` as this file describes it."""
    alignment = malloc_alignment(word, architecture, release)
    heap_info = lay_out("_heap_info", HEAP_INFO, word, release)
    # Its padding puts the user memory of a chunk right behind it on MALLOC_ALIGNMENT (arena.c).
    padded = align_up(heap_info.size + 2 * word, alignment) - 2 * word
    return Layout(
        release=release,
        word=word,
        alignment=alignment,
        heap_max=default_heap_max(word),
        safe_linking=safe_linking(release),
        mmap_header=2 * word if page_sized_mmap_header(release) else 0,
        state=lay_out("malloc_state", malloc_state(word, alignment), word, release),
        par=lay_out("malloc_par", MALLOC_PAR, word, release),
        heap_info=replace(heap_info, size=padded),
        tcache=lay_out("tcache_perthread_struct", TCACHE_PERTHREAD, word, release)
        if release >= (2, 26)
        else None,
    )
