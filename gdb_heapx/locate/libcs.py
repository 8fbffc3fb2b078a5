"""Where glibc malloc's data is in a target, and how each thing was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from ..errors import HeapxError, MemoryFault, Problem
from ..glibc import releases
from ..glibc.layout import Layout, Release
from ..records import dataclass
from ..target.images import Image, base_name
from ..target.space import Record, Space
from ..target.target import Target
from .by_structure import find_main_arena, find_mp, is_main_arena, is_mp_at
from .loader import glibc_files, link_map_of
from .release import NOTHING_GIVEN, Found, Given, find_release, layout_of, possible_releases

PREFERENCE = {"main_arena": "main-arena", "mp_": "mp"}
DEBUG_MALLOC = "libc_malloc_debug"  # a second copy of malloc, which stands before libc's own


@dataclass(frozen=True)
class Libc:
    """One glibc of the target whose malloc can be read.

    `proven` is False where something was guessed or given by hand, so that only the chunks can
    prove it. `debugs` is None but for the malloc of libc_malloc_debug.so: there it is the libc that
    this one stands before, whose break it moves. `copy` tells apart those of one file (dlmopen).
    """

    image: Image
    layout: Layout
    main_arena: int
    parameters: Record
    found: tuple[Found, ...]
    problems: tuple[Problem, ...]
    proven: bool
    debugs: Image | None = None
    copy: int = 1

    @property
    def path(self) -> str:
        """Its name, which no other one of the target has."""
        return self.image.path if self.copy == 1 else f"{self.image.path} ({self.copy})"

    @property
    def own(self) -> Image:
        """The libc's own file, which has what isn't malloc's."""
        return self.debugs or self.image

    @cached_property
    def tcache_dummy(self) -> int | None:
        """Where threads without a tcache point (from 2.43), None without."""
        return self.image.address("__tcache_dummy")

    @property
    def inside(self) -> int:
        """An address in that file."""
        return self.debugs.start if self.debugs else self.main_arena


class Place(NamedTuple):
    """Where to look for something: `main_arena` is known when mp_ is searched."""

    space: Space
    image: Image
    layout: Layout
    given: Given
    main_arena: int | None = None


class Strategy(NamedTuple):
    """One way to find main_arena or mp_; `certain` needs no proof."""

    how: str
    find: Callable[[Place, str], int | None]
    certain: bool


def _by_hand(place: Place, name: str) -> int | None:
    """Return what the user has set, if it is this file's; HeapxError if it can't be right."""
    space, image, layout, given, main_arena = place
    address = given.main_arena if name == "main_arena" else given.mp
    if address is None or (image.mappings and address not in image):
        return None
    if name == "main_arena":
        right = is_main_arena(space, image, layout, address)
    else:
        right = main_arena is not None and is_mp_at(space, layout, main_arena, address)
    if not right:
        raise HeapxError(
            f"{name} was set to {address:#x} by hand: what is there can't be it",
            f"set heapx {PREFERENCE[name]} (without a value) lets heapx look for it.",
            "set heapx release 2.NN tells glibc's release, if that is wrong.",
        )
    return address


def _by_debug_info(place: Place, name: str) -> int | None:
    return place.image.debug.address(name) if place.image.debug else None


def _by_symbol_table(place: Place, name: str) -> int | None:
    return place.image.address(name)


def _by_structure(place: Place, name: str) -> int | None:
    space, image, layout, _, main_arena = place
    if name == "main_arena" or main_arena is None:
        return find_main_arena(space, image, layout)
    return find_mp(space, image, layout, main_arena)


STRATEGIES = (
    Strategy("set by hand", _by_hand, False),
    Strategy("debug symbols of libc", _by_debug_info, True),
    Strategy("the file's symbol table", _by_symbol_table, True),
    Strategy("structure", _by_structure, False),
)


def _locate(place: Place, name: str) -> tuple[int, Strategy] | None:
    """Return a variable's address and how it was found."""
    for strategy in STRATEGIES:
        address = strategy.find(place, name)
        if address is not None:
            return address, strategy
    return None


class Candidates(NamedTuple):
    """A file that brings glibc, and what its malloc may be, the likeliest first.

    Of several only one can be proven; of none its malloc was not found.
    """

    image: Image
    libcs: tuple[Libc, ...]


def find_libcs(target: Target, given: Given = NOTHING_GIVEN) -> list[Candidates]:
    """Return every glibc, the program's own first; [] without one.

    HeapxError where what the user gave can't be right.
    """
    images = glibc_images(target)
    debug = debug_images(target) if images else []
    places = (*images, *debug)
    for address in (given.main_arena, given.mp):
        if address is not None and not any(not i.mappings or address in i for i in places):
            raise HeapxError(
                f"{address:#x}, set by hand, is not in the data of any libc",
                "Set another address, or none: heapx then looks for it.",
            )
    found = [Candidates(image, tuple(_candidates(target, image, given))) for image in images]
    if len(found) > 1:
        found.sort(key=lambda each: _namespace(target, each))
    first = found[0].image if found else None
    of_debug = (Candidates(i, tuple(_candidates(target, i, given, first))) for i in debug)
    return [*found, *of_debug]


def _namespace(target: Target, candidates: Candidates) -> int:
    image, libcs = candidates
    link_map = link_map_of(target, image, libcs[0].main_arena if libcs else image.start)
    return link_map.namespace if link_map else 0


def glibc_images(target: Target) -> list[Image]:
    """Return the files that bring glibc's malloc, or may do so."""
    likely = [i for i in glibc_files(target) if DEBUG_MALLOC not in i.path]
    certain = [image for image in likely if _is_libc(image)]
    if certain:
        return certain
    others = [i for i in target.objects if i not in likely and DEBUG_MALLOC not in i.path]
    renamed = [image for image in others if _is_libc(image)]
    return renamed or [i for i in likely if i.static or (i.elf is None and "libc" in i.path)]


def debug_images(target: Target) -> list[Image]:
    """Return the files that are libc_malloc_debug.so: with MALLOC_CHECK_ it serves by a malloc of
    its own (2.34), else it hands on to libc's.
    """
    return [i for i in target.objects if base_name(i.path).startswith(DEBUG_MALLOC)]


def _is_libc(image: Image) -> bool:
    return (
        image.address("__libc_version") is not None
        or image.address("main_arena") is not None
        or image.function("gnu_get_libc_version") is not None
    )


def _candidates(
    target: Target, image: Image, given: Given, debugs: Image | None = None
) -> Iterator[Libc]:
    """Yield what the malloc of a file may be: by its release, else by each that fits."""
    known = find_release(target.space, debugs or image, given)
    wrong: list[HeapxError] = []
    fit = False
    for release, found in (known,) if known else possible_releases(target.facts):
        try:
            libc = _read(target, image, given, release, found, known is not None, debugs)
        except HeapxError as error:
            wrong.append(error)
            continue
        if libc is not None:
            fit = True
            yield libc
    if wrong and not fit:
        raise wrong[0]


def _read(
    target: Target,
    image: Image,
    given: Given,
    release: Release,
    found: Found,
    release_told: bool,
    debugs: Image | None,
) -> Libc | None:
    """Return a file's malloc, if it is where glibc of this release would have it."""
    space = target.space
    layout, how, problems = layout_of(target.facts, image, release, debugs is not None)
    arena = _locate(Place(space, image, layout, given), "main_arena")
    if arena is None:
        return None
    mp = _locate(Place(space, image, layout, given, arena[0]), "mp_")
    if mp is None:
        return None
    told = release_told and given.release is None
    if not told and not is_main_arena(space, image, layout, arena[0]):
        return None
    try:
        parameters = space.read_struct(layout.par, mp[0])
    except MemoryFault:
        return None
    hp_pagesize = parameters.get("hp_pagesize")
    layout = replace(layout, heap_max=releases.heap_max(space.word, release, hp_pagesize))
    certain = arena[1].certain and mp[1].certain and told
    return Libc(
        image,
        layout,
        arena[0],
        parameters,
        (
            found,
            Found("main_arena", f"{arena[0]:#x}", arena[1].how),
            Found("mp_", f"{mp[0]:#x}", mp[1].how),
            Found("layout", f"malloc_state of {layout.state.size} bytes", how),
        ),
        tuple(problems),
        certain,
        debugs,
    )
