"""Run a program as a container's: contained.py ROOT BINDS CAPABILITIES USER PROGRAM [ARGUMENT ...]

It is run in a mount namespace of its own, by unshare(1). ROOT becomes all that is there: what was
there before is unmounted. BINDS are directories to mount in it, FROM:TO with commas between them.
CAPABILITIES is a mask in hex: what the program may have at most. USER is a number.
"""

from __future__ import annotations

import ctypes
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
BIND, RECURSIVE, DETACH = 0x1000, 0x4000, 2  # sys/mount.h
BOUNDING_DROP, LAST_CAPABILITY = 24, 40  # linux/prctl.h, linux/capability.h
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # numbers of the system call


def call(name: str, *arguments: object) -> None:
    """Call a function of libc; OSError where it fails."""
    words = (each.encode() if isinstance(each, str) else each for each in arguments)
    if LIBC[name](*words) < 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}")


def main(root: str, binds: str, capabilities: str, user: str, *command: str) -> None:
    """Make this the container's first process, or one more of it."""
    call("mount", root, root, None, BIND | RECURSIVE, None)
    call("mount", "proc", f"{root}/proc", "proc", 0, None)
    for bind in filter(None, binds.split(",")):
        source, target = bind.split(":")
        call("mount", source, f"{root}{target}", None, BIND | RECURSIVE, None)
    os.chdir(root)
    call("syscall", PIVOT_ROOT[os.uname().machine], ".", ".")  # one over the other (pivot_root(2))
    call("umount2", ".", DETACH)
    os.chdir("/")
    for capability in range(LAST_CAPABILITY + 1):
        if not int(capabilities, 16) >> capability & 1:
            call("prctl", BOUNDING_DROP, capability, 0, 0, 0)
    if int(user):
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
