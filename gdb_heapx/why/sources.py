"""Who set malloc's settings, as far as it can be told; and what became of what the user set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..glibc.releases import DEFAULT_MMAP_THRESHOLD, DERIVED, SETTERS, UNSEEN
from ..target.procfs import TUNABLES

if TYPE_CHECKING:
    from ..snapshots.malloc import Malloc

OF_MALLOC = "glibc.malloc."
DEFAULT, BY_FREE, MALLOPT, UNTOLD = "default", "raised by a free", "mallopt", "unknown"
WHEN = " when it starts"  # of what only a restart can change
WITH_A_LIMIT = "set with a limit"

# What malloc/malloc-debug.c took over in 2.34.
DEBUGGING = ("MALLOC_CHECK_", "glibc.malloc.check")
ULONG_MAX = (1 << 64) - 1
MOST_DIGITS = 22  # of a number up to ULONG_MAX, in base 8; Python refuses to read thousands
LIMITS = ("trim_threshold", "top_pad", "mmap_threshold", "n_mmaps_max")  # they end its raising

Environment = Mapping[str, str]


class Setting(NamedTuple):
    """One variable or tunable of the environment, as it was given."""

    variable: str
    text: str
    tunable: str | None = None

    @property
    def name(self) -> str:
        return self.tunable or self.variable

    @property
    def number(self) -> int:
        """What glibc makes of its text (elf/dl-misc.c, _dl_strtoul): 0 of what is no number."""
        sign, digits = _parsed(self.text).group(1, 2)
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[:1] == "0" else 10
        digits = digits.lstrip("0xX") or "0"
        number = ULONG_MAX if len(digits) > MOST_DIGITS else min(int(digits, base), ULONG_MAX)
        return -number % (ULONG_MAX + 1) if sign == "-" else number

    @property
    def clean(self) -> bool:
        """Whether the whole text is a number."""
        found = _parsed(self.text)
        return bool(found[2]) and found.end() == len(self.text)

    def gives(self, value: int) -> bool:
        """Tell whether a member of malloc_par with this value may have it from here."""
        return value in (self.number, self.number % (1 << 32))  # of 4 bytes, on some machines

    @property
    def members(self) -> list[str]:
        """The members of malloc_par that it sets."""
        return [name for name, setter in SETTERS.items() if self.name in setter]


def _parsed(text: str) -> re.Match[str]:
    """Return the number that a text begins with: sign and digits, which may be missing."""
    found = re.match(r"[ \t]*([-+]?)(0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*|)", text)
    assert found is not None
    return found


def settings_of(environment: Environment) -> Iterator[Setting]:
    """Yield what an environment sets: malloc's variables and all tunables."""
    for variable, text in sorted(environment.items()):
        if variable != TUNABLES:
            yield Setting(variable, text)
            continue
        for entry in filter(None, text.split(":")):
            tunable, _, value = entry.partition("=")
            yield Setting(variable, value, tunable)


def source_of(malloc: Malloc, name: str, environment: Environment | None) -> str:
    """Return who set a member of malloc_par: DEFAULT, BY_FREE, MALLOPT, WITH_A_LIMIT, UNTOLD, the
    name of a variable or a tunable; where it can't be told, all that may have: "free or mallopt".

    Of several settings in the environment it is the one whose value malloc has; a tunable goes
    before a variable (elf/dl-tunables.c).
    """
    value = malloc.parameters[name]
    if value == malloc.defaults[name]:
        return DEFAULT
    given = [each for each in settings_of(environment or {}) if name in each.members]
    given.sort(key=lambda each: each.tunable is None)
    for each in given:
        if name in DERIVED or each.gives(value):
            return each.name
    if name == "no_dyn_threshold":
        return WITH_A_LIMIT
    if name not in SETTERS or not SETTERS[name].mallopt:
        return UNTOLD
    by_free = _by_free(malloc, name, environment or {})
    if by_free:
        return BY_FREE
    unsure = ("free",) if by_free is None else ()
    others = (*unsure, MALLOPT) if environment is not None else (*unsure, MALLOPT, "environment")
    return " or ".join(filter(None, (", ".join(others[:-1]), others[-1])))


def _by_free(malloc: Malloc, name: str, environment: Environment) -> bool | None:
    """Tell whether a free of a mmapped block set this threshold; None if that isn't sure.

    It makes the chunk's size mmap_threshold, and twice that trim_threshold (malloc.c, __libc_free);
    that ends with the first limit that the user sets, be it to its default.
    """
    if name not in ("mmap_threshold", "trim_threshold"):
        return False
    if not malloc.parameters["no_dyn_threshold"]:
        return True
    for each in settings_of(environment):
        if any(m in LIMITS and each.gives(malloc.parameters[m]) for m in each.members):
            return False  # it never could
    chunk = malloc.parameters[name] // (2 if name == "trim_threshold" else 1)
    was_mapped = DEFAULT_MMAP_THRESHOLD < chunk <= malloc.parameters["max_mmapped_mem"]
    return None if was_mapped else False


def set_by(malloc: Malloc, name: str, environment: Environment | None) -> str:
    """Say who set a member of malloc_par: `set by MALLOC_TOP_PAD_`."""
    origin = source_of(malloc, name, environment)
    return f"set by {SETTERS[name].tunable if origin == UNTOLD else origin}"


def undo(malloc: Malloc, name: str, environment: Environment | None) -> str:
    """Say how to take back what the user set, for a remedy: the beginning of a sentence."""
    setter, source = SETTERS[name], source_of(malloc, name, environment)
    if source == setter.variable:
        return f"Remove {source} from its environment"
    if source == setter.tunable or not setter.mallopt:  # nothing else sets it
        return f"Remove {setter.tunable} from GLIBC_TUNABLES"
    if source == MALLOPT:
        return f"Remove mallopt({setter.mallopt}) from the program"
    return f"Remove {setter.mallopt}, or set it to {malloc.defaults[name]}"


def assign(malloc: Malloc, name: str, value: int, environment: Environment | None) -> str:
    """Say how to set a member of malloc_par when the program starts, for a remedy: the beginning of
    a sentence. What sets it now would go before a variable, so that is what must be changed.
    """
    setter, source = SETTERS[name], source_of(malloc, name, environment)
    if source == MALLOPT:
        return f"mallopt({setter.mallopt}, {value}) in the program, which sets it now"
    if any(each.tunable == setter.tunable for each in settings_of(environment or {})):
        return f"{setter.tunable}={value} in GLIBC_TUNABLES{WHEN}"
    return f"{setter.variable}={value}{WHEN}"


def outcome(setting: Setting, malloc: Malloc) -> str:
    """Say what became of a setting: whether malloc has that value."""
    if malloc.debugging and setting.name in DEBUGGING:
        return "in force: libc_malloc_debug.so serves malloc"
    members = [name for name in setting.members if name in malloc.parameters]
    if not members:
        return _without_member(setting)
    name = members[0]
    value = malloc.parameters[name]
    changed = any(malloc.parameters[m] != malloc.defaults.get(m) for m in members)
    if not setting.gives(value) and not (name in DERIVED and changed):
        return f"not in force: {name} is {value:,}"
    return "in force" if setting.clean else f"malformed: read as {value:,}"


def _without_member(setting: Setting) -> str:
    """Say of a setting that isn't in malloc_par whether malloc knows it."""
    if setting.tunable is not None and not setting.tunable.startswith(OF_MALLOC):
        return "not malloc's"
    if setting.name in UNSEEN or setting.members:
        checks = setting.name in DEBUGGING
        return "can't be told" + ("; from 2.34 on it needs libc_malloc_debug.so" if checks else "")
    known = {setter.variable for setter in SETTERS.values()} | set(UNSEEN)
    if f"{setting.name}_" in known:
        return "unknown to malloc: a _ is missing at the end of the name"
    if setting.name.rstrip("_") in known:
        return "unknown to malloc: no _ belongs at the end of the name"
    return "unknown to malloc"
