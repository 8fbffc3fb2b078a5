"""Values of gdb's expressions, without a trace in the process, and settings of gdb's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import index
from typing import Any

import gdb

from ..errors import HeapxError
from ..target.facts import ByteOrder

OBJECTS = (
    gdb.TYPE_CODE_STRUCT,
    gdb.TYPE_CODE_UNION,
    gdb.TYPE_CODE_ARRAY,
    gdb.TYPE_CODE_FUNC,
)
REFERENCES = (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)
# An assignment, ++ or --: `=` that isn't of ==, !=, <= or >=.
WRITES = re.compile(r"(?<![=!<>])=(?!=)|<<=|>>=|\+\+|--")


def evaluated(expression: str) -> int:
    """Return the address that an expression means; gdb.error if it means none, would write to the
    process, or call a function there.
    """
    if WRITES.search(expression):
        raise gdb.error("it would write to the process")
    with setting("may-call-functions", "off"):
        return address_of(gdb.parse_and_eval(expression))


def address_of(value: gdb.Value) -> int:
    """Return the address that a value is; of an object the one where it lies; a reference is what
    it refers to. gdb.error if none. A negative number is the address of the same bits.

    For a string that isn't in memory gdb would call malloc in the process.
    """
    with setting("may-call-functions", "off"):
        if value.type.strip_typedefs().code in REFERENCES:
            value = value.referenced_value()
        if value.type.strip_typedefs().code in OBJECTS and value.address is not None:
            value = value.address
        return int(value) % (1 << 8 * word_size())


def word_size() -> int:
    """Return the size of a word in the process: of C's long. Go has no type of that name."""
    with setting("language", "c"):
        return int(gdb.lookup_type("long").sizeof)


def byteorder() -> ByteOrder:
    """Return the order of the bytes of a word in the process."""
    return "big" if "big endian" in gdb.execute("show endian", to_string=True) else "little"


def as_address(value: Any) -> int:
    """Return the address that a script means by a number or a gdb.Value; HeapxError if none."""
    try:
        return address_of(value) if isinstance(value, gdb.Value) else index(value)
    except (gdb.error, TypeError) as error:
        raise HeapxError(f"{value} is no address: {error}") from None


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """Set a parameter of gdb for a while."""
    before = gdb.parameter(name)
    if isinstance(before, bool):
        before = "on" if before else "off"
    gdb.execute(f"set {name} {value}", to_string=True)
    try:
        yield
    finally:
        with suppress(gdb.error):  # of scheduler-locking, where the process is gone meanwhile
            gdb.execute(f"set {name} {before}", to_string=True)
