"""Much memory of a process at once, copied straight into heapx's own.

/proc/PID/mem copies each page twice, by way of one of the kernel's (fs/proc/base.c, mem_rw): where
what is read goes to memory that no processor has in its cache, that takes half as long again.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

MUCH = 64 << 10  # bytes: of less the call costs more than it saves


class _Span(ctypes.Structure):
    """A struct iovec (process_vm_readv(2))."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


@functools.cache
def _copies() -> Any:
    """Return the function of this process's libc, None without."""
    try:
        function = ctypes.CDLL(None).process_vm_readv
    except (OSError, AttributeError):
        return None
    span = ctypes.POINTER(_Span)
    function.argtypes = (ctypes.c_int, *(span, ctypes.c_ulong) * 2, ctypes.c_ulong)
    function.restype = ctypes.c_ssize_t
    return function


def copier(pid: int) -> Callable[[int, memoryview], bool]:
    """Return what fills memory with what a process has at an address, in any thread; it returns
    False where that didn't work: the kernel may not permit it (seccomp), and reads nothing that the
    process itself can't.
    """
    function = _copies()

    def copy(address: int, room: memoryview) -> bool:
        if function is None:
            return False
        own = _Span(ctypes.addressof(ctypes.c_char.from_buffer(room)), len(room))
        read: int = function(pid, own, 1, _Span(address, len(room)), 1, 0)
        return read == len(room)

    return copy
