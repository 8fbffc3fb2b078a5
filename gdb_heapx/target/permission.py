"""Why a process may not be attached to, and what helps: as the kernel decides (ptrace(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from .procfs import number_of, status_of, text_of, tracer_of

CAP_SYS_PTRACE = 19
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
CHILDREN_ONLY, CAPABLE_ONLY, NOBODY = 1, 2, 3  # of that (Documentation/admin-guide/LSM/Yama.rst)
IN_CONTAINERS = (
    "docker run --cap-add=SYS_PTRACE gives it to a container, kubectl debug --profile=general to a "
    "debug container. Or run heapx on the host."
)


def why_not_permitted(pid: int) -> tuple[str, ...]:
    """Return why this process may not attach to another, and what helps, in sentences."""
    tracer = tracer_of(pid)
    if tracer is not None:
        whose = f"process {tracer[0]} ({tracer[1]})"
        return (f"It is traced by {whose}, and can have one tracer only.",)
    return tuple(_reasons(pid))


def _reasons(pid: int) -> Iterator[str]:
    scope, root, capable = ptrace_scope(), os.geteuid() == 0, _is_capable()
    if scope == NOBODY:
        yield f"{YAMA} is {NOBODY}: nobody may attach to any process until the next boot."
    elif not capable and root:
        yield "heapx runs as root, but without the capability CAP_SYS_PTRACE, as in a container."
        yield IN_CONTAINERS
    elif not capable:
        yield _as_a_user(pid, scope)
    elif _other_users(pid):
        yield "It is in another user namespace, where heapx's CAP_SYS_PTRACE doesn't count."
        yield "Run heapx as root of the host, or of the namespace that both are below."
    else:
        yield (
            "heapx has CAP_SYS_PTRACE: a security module (AppArmor, SELinux) or seccomp forbids "
            "it. The kernel's log may tell."
        )


def _as_a_user(pid: int, scope: int | None) -> str:
    """Say who may attach, to one who isn't root."""
    uids = {number_of(uid) for uid in status_of(pid).get("Uid", "").split("\t")}
    same = uids == {os.geteuid()}
    if scope == CAPABLE_ONLY:
        return f"{YAMA} is {CAPABLE_ONLY}: run heapx as root."
    if same and scope == CHILDREN_ONLY:
        return f"Run heapx as root, or set sysctl kernel.yama.ptrace_scope=0: now it is {scope}."
    if same:
        return "It is yours, but keeps what it has to itself (as after setuid): run heapx as root."
    return "It is another user's: run heapx as root, or as that user."


def ptrace_scope() -> int | None:
    """Return what Yama permits, None where the kernel hasn't that."""
    with suppress(OSError):
        return number_of(text_of(YAMA).strip())
    return None


def _is_capable() -> bool:
    """Tell whether this process has CAP_SYS_PTRACE in its own user namespace."""
    mask = status_of(os.getpid()).get("CapEff", "0")
    return bool(int(mask, 16) >> CAP_SYS_PTRACE & 1)


def _other_users(pid: int) -> bool:
    """Tell whether a process is in another user namespace; False if /proc doesn't tell."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    return False
