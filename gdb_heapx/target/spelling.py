"""Names of C++ as the source has them, where a demangler writes all out.

Default arguments of the standard library's templates are left out, its strings have their short
names, and the tags and inline namespaces of an ABI are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TAG = re.compile(r"\[abi:\w+\]")
INLINE = re.compile(r"\bstd::(?:__cxx11|__1|__ndk1)::")
# What the templates of std have by default: {0} and {1} are the first two arguments. An allocator
# of libstdc++'s is the last one; before it, in order, what compares and hashes.
ALLOCATOR, PAIRS = "std::allocator<{0}>", "std::allocator<std::pair<{0} const, {1}>>"
LESS, HASH, EQUAL = "std::less<{0}>", "std::hash<{0}>", "std::equal_to<{0}>"
TRAITS = "std::char_traits<{0}>"
DEFAULTS = {
    **dict.fromkeys(("vector", "list", "forward_list", "deque"), (1, (ALLOCATOR,))),
    **dict.fromkeys(("set", "multiset"), (1, (LESS, ALLOCATOR))),
    **dict.fromkeys(("map", "multimap"), (2, (LESS, PAIRS))),
    **dict.fromkeys(("unordered_set", "unordered_multiset"), (1, (HASH, EQUAL, ALLOCATOR))),
    **dict.fromkeys(("unordered_map", "unordered_multimap"), (2, (HASH, EQUAL, PAIRS))),
    **dict.fromkeys(("queue", "stack"), (1, ("std::deque<{0}>",))),
    "priority_queue": (1, ("std::vector<{0}>", LESS)),
    "unique_ptr": (1, ("std::default_delete<{0}>",)),
    "basic_string": (1, (TRAITS, ALLOCATOR)),
    "basic_string_view": (1, (TRAITS,)),
}
CHARACTERS = {"char": "", "wchar_t": "w", "char8_t": "u8", "char16_t": "u16", "char32_t": "u32"}
TEMPLATE = re.compile(r"\bstd::(\w+)$")


def spelled(name: str) -> str:
    """Return a demangled name as the source has it, as far as that is sure."""
    name = INLINE.sub("std::", TAG.sub("", name))
    if "<" not in name or "operator" in name:  # of an operator < isn't a bracket
        return name
    found, end = _list(name, 0)
    return found[0] if end == len(name) and len(found) == 1 else name


def _list(name: str, at: int) -> tuple[list[str], int]:
    """Return what stands there, divided by commas, and where it ends: at a bracket that closes."""
    found: list[str] = []
    depth, text = 0, ""
    while at < len(name):
        character = name[at]
        if character == "<":
            arguments, at = _list(name, at + 1)
            if at == len(name):
                return [], -1  # a bracket that isn't one
            text = _template(text, arguments)
        elif not depth and character in ",>":
            found.append(text.strip())
            text = ""
            if character == ">":
                return found, at
        else:
            depth += (character in "({[") - (character in ")}]")
            text += character
        at += 1
    return [*found, text.strip()], at


def _template(before: str, arguments: Sequence[str]) -> str:
    """Return a template with its arguments, without those that it has by default."""
    match = TEMPLATE.search(before)
    if match and match[1] in DEFAULTS:
        needed, defaults = DEFAULTS[match[1]]
        usual = [_filled(each, arguments) for each in defaults[: len(arguments) - needed]]
        given = list(arguments)
        while len(given) > needed and given[-1] == usual[len(given) - needed - 1]:
            given.pop()
        arguments = given
    short = match and _string(match[1], arguments)
    if match and short:
        return before[: match.start()] + short
    return f"{before}<{', '.join(arguments)}>"


def _filled(default: str, arguments: Sequence[str]) -> str:
    """Return an argument by default; what is const already isn't made so again."""
    return default.format(*arguments).replace(" const const", " const")


def _string(template: str, arguments: Sequence[str]) -> str | None:
    kind = template.removeprefix("basic_")
    if kind == template or len(arguments) != 1 or arguments[0] not in CHARACTERS:
        return None
    return f"std::{CHARACTERS[arguments[0]]}{kind}"
