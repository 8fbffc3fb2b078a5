"""Columns that the tables of several commands have."""

from __future__ import annotations

from ..report.model import DATA_ONLY, Column, Kind, within

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
