"""Why a process may not be attached to, and what helps: as the kernel decides (ptrace(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from .procfs import number_of, status_of, text_of, tracer_of

CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21  # linux/capability.h
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
    scope, root, capable = ptrace_scope(), os.geteuid() == 0, _has(CAP_SYS_PTRACE)
    if scope == NOBODY:
        yield f"{YAMA} is {NOBODY}: nobody may attach to any process until the next boot."
    elif not capable and root:
        yield "heapx runs as root, but without the capability CAP_SYS_PTRACE, as in a container."
        yield IN_CONTAINERS
        yield from _as_its_user(pid, scope)
    elif not capable:
        yield _as_a_user(pid, scope)
    elif _of_other_users(pid):
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
    if same and _of_other_users(pid):
        return "It is yours, but in another user namespace: run heapx as root of the host."
    if same:
        return "It is yours, but keeps what it has to itself (as after setuid): run heapx as root."
    return "It is another user's: run heapx as root, or as that user."


def _as_its_user(pid: int, scope: int | None) -> Iterator[str]:
    """Say how root without the capability becomes a process's user, where that may attach."""
    uid, gid = (status_of(pid).get(kind, "").partition("\t")[0] for kind in ("Uid", "Gid"))
    if not scope and uid not in ("", "0"):
        yield f"Or as its user: setpriv --reuid={uid} --regid={gid} --clear-groups heapx -p {pid}"


def ptrace_scope() -> int | None:
    """Return what Yama permits, None where the kernel hasn't that."""
    with suppress(OSError):
        return number_of(text_of(YAMA).strip())
    return None


def root_to_name(pid: int) -> str | None:
    """Return where gdb must be told that the files of a process are: those of another mount
    namespace, which gdb may not enter. None where it finds them by itself.
    """
    if _has(CAP_SYS_ADMIN) or not _apart(pid, "mnt"):
        return None
    return f"/proc/{pid}/root"


def _has(capability: int) -> bool:
    """Tell whether this process has a capability in its own user namespace."""
    mask = status_of(os.getpid()).get("CapEff", "0")
    return bool(int(mask, 16) >> capability & 1)


def _of_other_users(pid: int) -> bool:
    """Tell whether a process is in another user namespace. Which one may be told only to who may
    attach; how its ids are mapped is told to all (user_namespaces(7)).
    """
    with suppress(OSError):
        return text_of(f"/proc/{pid}/uid_map") != text_of("/proc/self/uid_map")
    return False


def _apart(pid: int, namespace: str) -> bool:
    """Tell whether a process is in another namespace than this; False if /proc doesn't tell."""
    with suppress(OSError):
        own = os.readlink(f"/proc/self/ns/{namespace}")
        return os.readlink(f"/proc/{pid}/ns/{namespace}") != own
    return False
