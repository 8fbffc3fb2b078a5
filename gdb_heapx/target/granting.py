"""What memory the kernel refuses a process: by its limits, and by what it commits to all."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from ..records import dataclass
from .procfs import number_of, status_of, text_of

ADDRESS_SPACE, DATA, OVERCOMMIT = "RLIMIT_AS", "RLIMIT_DATA", "overcommit"
DATA_IS_ALL_WRITABLE = (4, 7)  # the first Linux where RLIMIT_DATA counts mappings, too
# In proc(5)'s order: stat's fields from the third on, behind the name.
START_DATA, END_DATA, START_BREAK = 42, 43, 44
ALWAYS, NEVER = 1, 2  # vm.overcommit_memory
IMPRECISION = 128  # each counter of what is committed is off by at most 1/256 (mm_compute_batch)


class Refusal(NamedTuple):
    """Memory that the kernel refuses: by which limit, how much that allows, how much of it is used,
    and how much more is `wanted`; all in bytes.
    """

    limit: str
    allows: int
    used: int
    wanted: int


class Quota(NamedTuple):
    """A limit of the kernel's, and what of it is used: in bytes."""

    limit: str
    allows: int
    used: int

    def refuses(self, wanted: int) -> Refusal | None:
        return Refusal(*self, wanted) if self.used + wanted > self.allows else None


@dataclass(frozen=True)
class Granting:
    """What a process may have of memory: `space` is counted by all that is mapped, `data` by all
    that is private and writable, `broken` by what lies below the program break from the address
    `start_break` on, `committed` by all that is private and not only reserved, which the kernel
    may also count where it is `reserved`. None where nothing is limited, or it isn't known.
    """

    space: Quota | None = None
    data: Quota | None = None
    broken: Quota | None = None
    start_break: int = 0
    committed: Quota | None = None
    counts_reserved: bool = False

    def mapping(self, size: int) -> Refusal | None:
        """Tell why a new private and writable mapping is refused; None where it may be granted."""
        return _first(size, self.space, self.data, self.committed)

    def reserving(self, size: int) -> Refusal | None:
        """The same of a mapping that can't be accessed."""
        return _first(size, self.space)

    def writing(self, size: int) -> Refusal | None:
        """The same of what was reserved, and is to be writable (mprotect_fixup).

        Where the whole limit on address space is used up, that on data isn't asked.
        """
        full = self.space is not None and self.space.refuses(size) is not None
        committed = self.committed if self.counts_reserved else None
        return _first(size, committed if full else self.data, committed)

    def breaking(self, begin: int, end: int, pages: int) -> Refusal | None:
        """The same of moving the program break, by so many bytes of whole pages (brk)."""
        refused = _used(self.broken, begin - self.start_break)
        return _first(end - begin, refused) or self.mapping(pages)

    def less(self, mapped: int, writable: int) -> Granting:
        """Return what is left when so much more is mapped, and so much of it is writable."""
        return replace(
            self,
            space=_used(self.space, mapped),
            data=_used(self.data, writable),
        )


NOTHING_KNOWN = Granting()


def _first(wanted: int, *limits: Quota | None) -> Refusal | None:
    refused = (limit.refuses(wanted) for limit in limits if limit is not None)
    return next((each for each in refused if each is not None), None)


def _used(limit: Quota | None, more: int) -> Quota | None:
    return limit and limit._replace(used=limit.used + more)


def granting_of(pid: int, page: int) -> Granting:
    """Return what a living process may have; what /proc doesn't tell is taken to be granted."""
    with suppress(OSError):
        return _granting(pid, page, text_of(f"/proc/{pid}/limits"))
    return NOTHING_KNOWN


def _granting(pid: int, page: int, limits: str) -> Granting:
    status, stat = status_of(pid), text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
    space, data = _soft(limits, "address space"), _soft(limits, "data size")
    mapped, writable = (_kib(status.get(name)) for name in ("VmSize", "VmData"))
    start_data, end_data, start_break = (int(stat[n]) for n in (START_DATA, END_DATA, START_BREAK))
    overcommit = number_of(_setting("/proc/sys/vm/overcommit_memory"))
    return Granting(
        _whole_pages(ADDRESS_SPACE, space, mapped, page),
        _whole_pages(DATA, data if _counts_mappings() else None, writable, page),
        Quota(DATA, data, end_data - start_data) if data and start_break else None,
        start_break,
        None if overcommit == ALWAYS else _committed(overcommit == NEVER),
        overcommit == NEVER,
    )


def _soft(limits: str, name: str) -> int | None:
    """Return a soft limit of /proc/PID/limits in bytes, None where there is none."""
    found = re.search(rf"^Max {name} +(\d+) ", limits, re.M)
    return int(found[1]) if found else None


def _kib(text: str | None) -> int | None:
    number = number_of(text.removesuffix(" kB")) if text else None
    return None if number is None else number << 10


def _whole_pages(limit: str, allows: int | None, used: int | None, page: int) -> Quota | None:
    """The kernel counts pages (may_expand_vm)."""
    if allows is None or used is None:
        return None
    return Quota(limit, allows // page * page, used)


def _setting(path: str) -> str:
    with suppress(OSError):
        return text_of(path).strip()
    return ""


def _counts_mappings() -> bool:
    """Tell whether RLIMIT_DATA is about more than the program break."""
    release = re.match(r"(\d+)\.(\d+)", _setting("/proc/sys/kernel/osrelease"))
    new = release is not None and (int(release[1]), int(release[2])) >= DATA_IS_ALL_WRITABLE
    return new and _setting("/sys/module/kernel/parameters/ignore_rlimit_data") != "Y"


def _committed(never: bool) -> Quota | None:
    """Return what can be committed: where the kernel never gives more than it has, what all have
    asked for counts; else no single request may be larger than RAM and swap (__vm_enough_memory).
    """
    with suppress(OSError):
        if os.stat("/proc/meminfo").st_dev != os.stat("/proc").st_dev:
            return None  # what a container is told instead (lxcfs), which the kernel doesn't go by
        found = re.findall(r"^(\w+): +(\d+) kB$", text_of("/proc/meminfo"), re.M)
        meminfo = {name: int(kib) << 10 for name, kib in found}
        whole, swap = meminfo["MemTotal"], meminfo["SwapTotal"]
        if not never:
            return Quota(OVERCOMMIT, whole + swap, 0)
        used = max(meminfo["Committed_AS"] - whole // IMPRECISION, 0)
        return Quota(OVERCOMMIT, meminfo["CommitLimit"], used)
    return None
