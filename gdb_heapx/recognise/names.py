"""What is said of chunks of one key: what they are, and how that is known."""

from __future__ import annotations

import re
from collections.abc import Callable

from .classes import arguments
from .contents import ENCODINGS
from .kinds import Code, Key, Type
from .recognisers import SIGNED
from .surroundings import Surroundings

KINDS = ("", "0", "number", "bytes", "heap", "file", "code")  # of words: where they lead
FIRST_WORDS, CONTENTS = "first words", "contents"
# The functions that resume a coroutine, with the mangled name of that: of gcc's, which is given the
# frame, and of clang's.
RESUMES = (re.compile(r".*?\d(_Z.+?)\.Frame\.actor$"), re.compile(r"(_Z.+?)\.resume$"))
OTHERS = {
    Code.PYTHON: "other objects of CPython's",
    Code.FRAME: "leads to other code",
    Code.FUNCTION: "leads to other code",
    Code.TEXT: "other text",
    Code.BEGINS_WITH_TEXT: "other text",
    Code.FUNCTOR: "functors of other std::functions",
    Code.SYMBOL: "begins with other variables' addresses",
    Code.SIGNATURE: "other words",
}
HANDLER = "std::_Function_handler<"
PLAIN = {
    Code.UNRECOGNISED: Type("not recognised", None),
    Code.UNREAD: Type("not read", None),
    Code.STRING: Type("string body", "holder"),
    Code.VECTOR: Type("vector body", "holder"),
    Code.STREAM: Type("stream buffer", "holder"),
    Code.DEQUE_MAP: Type("deque map", "holder"),
    Code.DEQUE_BLOCK: Type("deque block", "holder"),
    Code.BUCKETS: Type("hash buckets", "holder"),
    Code.HASH_NODE: Type("hash node", "holder"),
    Code.TREE_NODE: Type("tree node", "links"),
    Code.LIST_NODE: Type("list node", "links"),
    Code.DICT_TABLE: Type("dict table", CONTENTS),
    Code.ZEROS: Type("zeros", CONTENTS),
    Code.POINTERS: Type("pointers only", CONTENTS),
}


def type_of(key: Key, around: Surroundings) -> Type:
    """Return what chunks of a key are."""
    if key.code in PLAIN:
        return PLAIN[key.code]
    if not key.value:  # of those that there was no room for
        return Type(OTHERS.get(key.code, "other objects"), None)
    return NAMED[key.code](key, around)


def _object(key: Key, around: Surroundings) -> Type:
    name, how = around.classes.name(key.value)
    return Type(name, how, key.offset)


def _inside(key: Key, around: Surroundings) -> Type:
    name, how = around.classes.name(key.value)
    return Type(name, f"{how}, inside")


def _dead(key: Key, around: Surroundings) -> Type:
    name, how = around.classes.name(key.value)
    return Type(f"{name} (dead)", how, key.offset)


def _array(key: Key, around: Surroundings) -> Type:
    name, how = around.classes.name(key.value)
    return Type(name, f"{how}, new[]", key.offset)


def _control(key: Key, around: Surroundings) -> Type:
    _, how = around.classes.name(key.value)
    owned, inside = around.classes.controlled(key.value)
    if not inside:
        return Type(f"control block of {owned.removesuffix('*')}", how, 0)
    dead = " (dead)" if key.code is Code.DEAD_CONTROL else ""
    return Type(f"{owned} of make_shared{dead}", how, 0)


def _python(key: Key, around: Surroundings) -> Type:
    found = around.type_object(key.value)
    return Type(found.name if found else "?", "CPython", key.offset)


def _function(key: Key, around: Surroundings) -> Type:
    symbol = around.parts.symbol(key.value)
    if symbol is None:
        return Type(f"leads to code: {around.parts.place(key.value)}", "code", key.offset)
    resumed = [found[1] for each in RESUMES if (found := each.match(symbol.name))]
    if key.code is Code.FRAME and resumed:
        return Type(f"coroutine frame of {_plain(resumed[0], around)}", "code", key.offset)
    name = _plain(symbol.name, around)
    if key.offset and name.startswith(HANDLER):
        return Type(f"std::function: {arguments(name)[1]}", "code", key.offset)
    return Type(f"leads to code: {name}", "code", key.offset)


def _functor(key: Key, around: Surroundings) -> Type:
    symbol = around.parts.symbol(key.value)
    name = _plain(symbol.name, around) if symbol else ""
    called = arguments(name)[1] if name.startswith(HANDLER) else around.parts.place(key.value)
    return Type(f"functor of std::function: {called}", "holder")


def _plain(symbol: str, around: Surroundings) -> str:
    return around.demangle(symbol) or symbol


def _text(key: Key, around: Surroundings) -> Type:
    begins = "begins with " if key.code is Code.BEGINS_WITH_TEXT else ""
    return Type(begins + ENCODINGS[key.value], CONTENTS)


def _symbol(key: Key, around: Surroundings) -> Type:
    found = around.parts.symbol(key.value)
    name = found.name if found else around.parts.place(key.value)
    return Type(f"begins with &{_plain(name, around)}", "symbol", 0)


def _signature(key: Key, around: Surroundings) -> Type:
    kinds = [key.value >> 4 * (SIGNED - 1 - at) & 15 for at in range(SIGNED)]
    size = key.value >> 4 * SIGNED
    words = ", ".join(KINDS[kind] for kind in kinds if kind)
    return Type(f"{size} bytes: {words}" if size else f"words: {words}", FIRST_WORDS)


NAMED: dict[Code, Callable[[Key, Surroundings], Type]] = {
    Code.OBJECT: _object,
    Code.DEAD: _dead,
    Code.ARRAY: _array,
    Code.CONTROL: _control,
    Code.DEAD_CONTROL: _control,
    Code.PYTHON: _python,
    Code.FRAME: _function,
    Code.FUNCTION: _function,
    Code.FUNCTOR: _functor,
    Code.TEXT: _text,
    Code.BEGINS_WITH_TEXT: _text,
    Code.SYMBOL: _symbol,
    Code.SIGNATURE: _signature,
    Code.INSIDE: _inside,
}
