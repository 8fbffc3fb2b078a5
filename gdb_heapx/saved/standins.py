"""Records that files have as others: by what isn't in RAM, since that is mostly nothing."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from operator import sub
from typing import Any, NamedTuple

from ..heap.cells import WORDS
from ..heap.strips import Strip
from ..target.amounts import Amount


class FiledAmount(NamedTuple):
    """An amount, and what of it is not in RAM."""

    bytes: int
    absent: int | None = 0
    swapped: int | None = 0
    shared: int | None = 0


class FiledStrip(NamedTuple):
    """A strip. Where residency is known the table has what is not in RAM, not what is."""

    arena: int
    address: int
    end: int
    reserved: int
    bits: int
    known: bool
    table: array[int]


class StandIn(NamedTuple):
    """The class of a record in files; what makes it of the record that it is for, and that of it:
    ValueError where it can't be.
    """

    record: Any
    filed: Callable[[Any], Any]
    restored: Callable[[Any], Any]


def _filed_amount(amount: Amount) -> FiledAmount:
    resident = amount.resident
    absent = None if resident is None else amount.bytes - resident
    return FiledAmount(amount.bytes, absent, amount.swapped, amount.shared)


def _amount(filed: FiledAmount) -> Amount:
    resident = None if filed.absent is None else filed.bytes - filed.absent
    return Amount(filed.bytes, resident, filed.swapped, filed.shared)


def _filed_strip(strip: Strip) -> FiledStrip:
    table = _turned(strip.table) if strip.known else strip.table
    return FiledStrip(
        strip.arena, strip.address, strip.end, strip.reserved, strip.bits, strip.known, table
    )


def _strip(filed: FiledStrip) -> Strip:
    return Strip(*filed._replace(table=_turned(filed.table) if filed.known else filed.table))


def _turned(table: array[int]) -> array[int]:
    """Return a table with bytes that are not in RAM where it has those that are, or the reverse."""
    sizes, parts = table[::WORDS], table[1::WORDS]
    if any(part > size for size, part in zip(sizes, parts)) or len(sizes) != len(parts):
        raise ValueError("a strip with more in RAM than there is")
    found = array("Q", table)
    found[1::WORDS] = array("Q", map(sub, sizes, parts))
    return found


def _itself(value: Any) -> Any:
    return value


STAND_INS = {
    "Amount": StandIn(FiledAmount, _filed_amount, _amount),
    "Strip": StandIn(FiledStrip, _filed_strip, _strip),
}
NONE = StandIn(None, _itself, _itself)
