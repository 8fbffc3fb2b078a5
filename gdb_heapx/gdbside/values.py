"""Values of gdb's expressions."""

from __future__ import annotations

import gdb

OBJECTS = (
    gdb.TYPE_CODE_STRUCT,
    gdb.TYPE_CODE_UNION,
    gdb.TYPE_CODE_ARRAY,
    gdb.TYPE_CODE_FUNC,
)


def address_of(value: gdb.Value) -> int:
    """Return the address that a value is; of an object the one where it lies. gdb.error if none."""
    if value.type.strip_typedefs().code in OBJECTS and value.address is not None:
        value = value.address
    return int(value) % (1 << 64)
