"""Columns that the tables of several commands have."""

from __future__ import annotations

from ..heap.bins import Bin
from ..report.model import DATA_ONLY, Column, Kind, Value
from ..target.amounts import Presence

LIBC = Column("libc", Kind.TEXT, DATA_ONLY)
STATE = Column("state", Kind.TEXT)
LIST = Column("list", Kind.TEXT, absent="-")
SIZES = (
    Column("min_size", Kind.BYTES, exact=True),
    Column("max_size", Kind.BYTES, absent="any", exact=True),
)
TOTALS = (Column("chunks", Kind.COUNT), Column("bytes", Kind.BYTES))
PRESENCE = (Column("resident", Kind.BYTES, rank=1), Column("swapped", Kind.BYTES, rank=4))
CHUNK_COLUMNS = (
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES, exact=True),
    STATE,
    Column("arena", Kind.INDEX, absent="-"),
    Column("heap", Kind.ADDRESS, rank=1, absent="-"),
    LIST,
    LIBC,
)


def presence_of(presence: Presence | Bin, state: str = "") -> dict[str, Value]:
    """Return the values of these columns."""
    prefix = f"{state}_" if state else ""
    return {f"{prefix}resident": presence.resident, f"{prefix}swapped": presence.swapped}
