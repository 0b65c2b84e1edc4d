"""What a range of ids has, by which it is told whether rows came into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from edge_delta.source.database import Database
    from edge_delta.source.schema import Table

_LARGE_IDS = 10**11
_PRIME = 1_000_003
"""Of large ids, the sum is of remainders by it: their own would be too large for SQLite's integers."""
_FEW_ROWS = 10_000
"""The most rows of a range whose latest time is looked for; it costs five times as much as counting."""


def counted(database: Database, table: Table, after: int, upto: int) -> tuple[int, int, str]:
    """How many rows have ids behind one and up to another, a sum over the ids, and the latest time as text.

    Visits the pages of these rows, and no index. Where there are many rows, the time is left out.
    """
    key, stamp = table.key, table.timestamp
    summed = key if abs(upto) < _LARGE_IDS and abs(after) < _LARGE_IDS else f"{key} % {_PRIME}"
    bounds = [f"{key} > {after}"] if after != BEFORE_FIRST else []
    where = " AND ".join([*bounds, f"{key} <= {upto}"])
    rows = f"FROM {quoted(table.name)} WHERE {where}"
    [(count, ids)] = database.rows(f"SELECT count(*), ifnull(sum({summed}), 0) {rows}")
    time = None
    if stamp is not None and count <= _FEW_ROWS:
        time = database.scalar(f"SELECT CAST(max({quoted(stamp.name)}) AS TEXT) {rows}")
    return int(count), int(ids), str(time or "")
