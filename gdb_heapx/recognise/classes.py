"""C++ classes by the vtables of their objects, in stripped files, too.

The word before a vtable leads to the class's type_info, and that to its mangled name (Itanium C++
ABI, 2.5.2 and 2.9.5). Without it a symbol tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .kinds import Meaning
from .parts import Parts

# The names of the ABI library's own classes of which type_infos are, however that is linked.
ABI_CLASSES = frozenset(
    f"N10__cxxabiv1{len(name)}{name}E".encode()
    for name in ("__class_type_info", "__si_class_type_info", "__vmi_class_type_info")
)
FARTHEST = 1 << 24  # bytes from a base to the top of its object
VTABLE = "_ZTV"
# Control blocks of shared_ptr, in libstdc++ and libc++, by the beginnings of their names.
INT_COUNTS = re.compile(r"St\d+_Sp_counted_(?:ptr_inplace|ptr|deleter|array)I")
LONG_COUNTS = re.compile(r"NSt(?:3__1|6__ndk1)\d+__shared_ptr_(?:emplace|pointer)I")
INPLACE = ("_Sp_counted_ptr_inplace", "__shared_ptr_emplace")
Demangle = Callable[[str], "str | None"]


class Classes:
    """The classes whose vtables words of a target lead to."""

    def __init__(self, parts: Parts, word: int, demangle: Demangle) -> None:
        self._parts, self._word, self._demangle = parts, word, demangle
        self._names: dict[int, str | None] = {}  # of classes, mangled, by their type_info
        self._of_abi: dict[int, bool] = {}  # by the vtable of a type_info

    def meaning(self, vtable: int) -> Meaning:
        """Return what an address is: of a vtable, where an object's first word leads, or where that
        of its second base does; NOTHING else.
        """
        name = self._mangled(vtable)
        if name is None:
            return Meaning.NOTHING
        if self._to_top(vtable):
            return Meaning.SECOND
        if INT_COUNTS.match(name):
            return Meaning.COUNTS_INT
        return Meaning.COUNTS_LONG if LONG_COUNTS.match(name) else Meaning.VTABLE

    def name(self, vtable: int) -> tuple[str, str]:
        """Return the name of the class that a vtable is of, and how it is known."""
        symbol = self._parts.symbol(vtable)
        by_symbol = symbol is not None and symbol.name.startswith(VTABLE)
        how = "vtable" if by_symbol else "RTTI"
        mangled = self._mangled(vtable)
        return (demangled(self._demangle, mangled) if mangled else "?"), how

    def _mangled(self, vtable: int) -> str | None:
        """Return the mangled name of the class that a vtable is of, None where it is none."""
        word = self._word
        if vtable % word:
            return None
        before = self._parts.words(vtable - 2 * word, 3)
        if not before:
            return None
        to_top, info, first = before
        if to_top and (1 << 8 * word) - to_top > FARTHEST:  # it isn't above the base
            return None
        if info:
            return self._class_of(info)
        return self._by_symbol(vtable) if self._parts.is_code(first) else None

    def _to_top(self, vtable: int) -> int:
        return self._parts.words(vtable - 2 * self._word, 1)[0]

    def _by_symbol(self, vtable: int) -> str | None:
        """Return the class of a vtable without a type_info: of what -fno-rtti has compiled."""
        found = self._parts.symbol(vtable)
        named = found is not None and found.name.startswith(VTABLE) and found.offset
        return found.name[len(VTABLE) :] if found and named else None

    def _class_of(self, info: int) -> str | None:
        """Return the mangled name of the class that a type_info is of, None where it is none."""
        if info not in self._names:
            self._names[info] = self._read_class(info)
        return self._names[info]

    def _read_class(self, info: int) -> str | None:
        words = self._parts.words(info, 2) if info % self._word == 0 else ()
        if not words or not self._is_of_abi(words[0]):
            return None
        name = self._parts.text(words[1])
        if not name or not name.isascii():
            return None
        return name.decode().lstrip("*")  # a type of one file only: compared by its address

    def _is_of_abi(self, vtable: int) -> bool:
        """Tell whether a type_info's vtable is one of the ABI library's, by that one's own."""
        if vtable not in self._of_abi:
            info = self._parts.words(vtable - self._word, 1)
            name = self._parts.words(info[0] + self._word, 1) if info else ()
            self._of_abi[vtable] = bool(name) and self._parts.text(name[0]) in ABI_CLASSES
        return self._of_abi[vtable]

    def controlled(self, vtable: int) -> tuple[str, bool]:
        """Return what a control block's class is of, and whether that lies in the block."""
        name, _ = self.name(vtable)
        mangled = self._mangled(vtable) or ""
        return arguments(name)[0], any(each in mangled for each in INPLACE)


def demangled(demangle: Demangle, mangled: str) -> str:
    """Return the name of a class, as its type_info has it; mangled where nobody can tell."""
    found = demangle(VTABLE + mangled)
    return found[len("vtable for ") :] if found and found.startswith("vtable for ") else mangled


def arguments(name: str) -> list[str]:
    """Return the arguments of the first template in a name; without one the name itself."""
    _, bracket, rest = name.partition("<")
    found, depth, begin = [], 0, 0
    for at, character in enumerate(rest):
        if depth == 0 and character in ",>":
            found.append(rest[begin:at].strip())
            begin = at + 1
            if character == ">":
                break
        depth += (character in "<({[") - (character in ">)}]")
    return found if bracket else [name]
