"""A lock that two processes share: who waits for it learns at once that its holder has died.

The kernel gives up a robust lock at the very beginning of a thread's end (kernel/fork.c,
exit_mm_release). What else tells of that end comes later, when memory is freed, files are closed
and traced processes are let go (kernel/exit.c, do_exit).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

SIZE = mmap.PAGESIZE
SHARED, ROBUST = 1, 1  # pthread.h, PTHREAD_PROCESS_SHARED and PTHREAD_MUTEX_ROBUST
ATTRIBUTES = 64  # bytes; glibc's and musl's are smaller


def create() -> int:
    """Return the descriptor of a new lock, for both processes; OSError where there can't be one."""
    descriptor = os.memfd_create("lifeline")
    os.ftruncate(descriptor, SIZE)
    attributes, libc = ctypes.create_string_buffer(ATTRIBUTES), _libc()
    libc.pthread_mutexattr_init(attributes)
    libc.pthread_mutexattr_setpshared(attributes, SHARED)
    libc.pthread_mutexattr_setrobust(attributes, ROBUST)
    libc.pthread_mutex_init(Lifeline(descriptor).lock, attributes)
    return descriptor


class Lifeline:
    """One process's end of it."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, SIZE)
        self.lock = ctypes.byref(ctypes.c_char.from_buffer(self._memory))

    def hold(self) -> bool:
        """Hold it as this thread; tell whether that worked: not with a libc of another make."""
        return bool(_libc().pthread_mutex_trylock(self.lock) == 0)

    def let_go(self) -> None:
        """Let go of what this thread holds."""
        _libc().pthread_mutex_unlock(self.lock)

    def outlived(self) -> bool:
        """Wait until nobody holds it; tell whether who did has died."""
        result = _libc().pthread_mutex_lock(self.lock)
        self.let_go()
        return bool(result == errno.EOWNERDEAD)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
