"""Columns that the tables of several commands have, and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.schema import DATA_ONLY, Column, Kind, within

if TYPE_CHECKING:
    from ..heap.pins import Pin

LIBC = Column("libc", Kind.TEXT, DATA_ONLY)
STATE = Column("state", Kind.TEXT)
LIST = Column("list", Kind.TEXT, absent="-")
TOTALS = (Column("chunks", Kind.COUNT), Column("bytes", Kind.BYTES))
IN_MEMORY = (  # of an amount
    Column("resident", Kind.BYTES, rank=1),
    Column("swapped", Kind.BYTES, rank=4),
)
BIN_COLUMNS = (
    Column("min_size", Kind.BYTES, exact=True),
    Column("max_size", Kind.BYTES, absent="any", exact=True),
    Column("chunks", Kind.COUNT),
    *within("amount", Column("bytes", Kind.BYTES), *IN_MEMORY),
)
CHUNK_COLUMNS = (
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES, exact=True),
    STATE,
    Column("arena", Kind.INDEX, absent="-"),
    Column("heap", Kind.ADDRESS, rank=1, absent="-"),
    LIST,
    LIBC,
)


def threads_of(pin: Pin) -> str | None:
    """Return the threads whose tcaches hold some of a pin's chunks, None without any."""
    return ", ".join(map(str, pin.threads)) or None
