"""gdb's convenience functions: what malloc knows of an address, in expressions and conditions."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import gdb

from ..errors import HeapxError
from ..inventory.chunk import IN_USE, Chunk
from ..report.notes import sentence
from .asked import catalogue, counted
from .values import address_of, setting

OUTSIDE = -1  # the arena of what is in none


def _chunk(address: gdb.Value) -> Chunk | None:
    return catalogue().at(address_of(address))


def _arena(address: gdb.Value) -> int:
    """Return the index of the arena that has the chunk at ADDRESS: $_heapx_arena(ADDRESS).

    -1 for a mmapped chunk, and outside of malloc. Any address inside the chunk will do.
    """
    chunk = _chunk(address)
    return OUTSIDE if chunk is None or chunk.arena is None else chunk.arena


def _header(address: gdb.Value) -> int:
    """Return the address of the chunk that has ADDRESS, its header's: $_heapx_chunk(ADDRESS).

    0 outside of malloc.
    """
    chunk = _chunk(address)
    return chunk.address if chunk else 0


def _size(address: gdb.Value) -> int:
    """Return the size in bytes of the chunk that has ADDRESS: $_heapx_size(ADDRESS).

    The header is in it. 0 outside of malloc.
    """
    chunk = _chunk(address)
    return chunk.size if chunk else 0


def _state(address: gdb.Value) -> str:
    """Return the state of the chunk that has ADDRESS: $_heapx_state(ADDRESS).

    "in use", "tcache", "fast", "binned", "top", "overhead", "mmapped"; "outside" where no chunk is.
    In a condition compare it with $_streq: for == gdb would copy the string into the process.

    Example: break free if $_streq($_heapx_state($rdi), "tcache")
    """
    chunks = catalogue()
    chunk = chunks.at(address_of(address))
    if chunk is None:
        return "outside"
    missing = chunks.inventory_of(chunk).missing_tcaches
    if chunk.state == IN_USE and missing:
        raise HeapxError("whether it is in use or in a tcache is unknown", sentence(missing))
    return chunk.state


def _in_use() -> int:
    """Return the bytes that the program holds, in all arenas and mmapped: $_heapx_in_use()."""
    return _known(counted().in_use, "what is in use")


def _free() -> int:
    """Return the bytes that are free inside malloc: $_heapx_free().

    In tcaches, fastbins and bins, and in tops.
    """
    return _known(counted().free, "what is free")


def _known(amount: int | None, what: str) -> int:
    if amount is None:
        raise HeapxError(f"{what} is unknown", "heapx check tells why.")
    return amount


FUNCTIONS: dict[str, Callable[..., int | str]] = {
    "arena": _arena,
    "chunk": _header,
    "size": _size,
    "state": _state,
    "in_use": _in_use,
    "free": _free,
}


class _Function(gdb.Function):
    """One of them as gdb sees it."""

    def __init__(self, name: str, function: Callable[..., int | str]) -> None:
        self.__doc__ = inspect.getdoc(function)
        self._name, self._function = name, function
        super().__init__(name)

    def invoke(self, *arguments: gdb.Value) -> gdb.Value | int | str:
        expected = self._function.__code__.co_argcount
        if len(arguments) != expected:
            needs = "takes no argument" if expected == 0 else "needs one argument, an address"
            raise gdb.GdbError(f"${self._name} {needs}.")
        try:
            value = self._function(*arguments)
        except HeapxError as error:
            raise gdb.GdbError(str(error)) from None
        except gdb.error as error:
            raise gdb.GdbError(f"${self._name} needs an address: {error}") from None
        if isinstance(value, int) and value >= 0:
            with setting("language", "c"):  # others have no such type, or call it otherwise
                return gdb.Value(value).cast(gdb.lookup_type("unsigned long"))
        return value


def register() -> None:
    """Make them gdb's."""
    for name, function in FUNCTIONS.items():
        _Function(f"_heapx_{name}", function)
