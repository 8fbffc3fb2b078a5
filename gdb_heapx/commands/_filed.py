"""Tables that a saved snapshot has, as the commands show them that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import HeapxError
from ..report.schema import Table, total

if TYPE_CHECKING:
    from ..report.schema import Row, Schema
    from ..saved.saved import Saved


def filed_table(saved: Saved, schema: Schema) -> Table:
    """Return a table of a file as it is declared; HeapxError where the file hasn't it.

    None is what the file doesn't tell, since it is of an older heapx.
    """
    found = saved.tables.get(schema.name)
    if found is None:
        raise HeapxError(
            f"this snapshot was saved without {schema.name}",
            "heapx save FILE has types and pins, but with --brief, --no-types or --no-pins, if it "
            "can't tell, and without --pins where pins take long to find.",
        )
    rows: list[Row] = []
    for row in found.rows:
        named = found.named(row)
        rows.append(tuple(named.get(column.name) for column in schema.columns))
    sums = None if schema.adds is None else total(schema.columns, rows, *schema.adds)
    return Table(schema.name, schema.columns, rows, sums)
