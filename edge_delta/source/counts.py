"""What a range of ids has, by which it is told whether rows came into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from edge_delta.source.database import Database
    from edge_delta.source.schema import Table

_PRIME = 1_000_003
"""The sum is of remainders by it, which no number of rows makes too large for SQLite's integers."""


def counted(database: Database, table: Table, after: int, upto: int) -> tuple[int, int, str]:
    """How many rows have ids behind one and up to another, a sum over the ids, and the latest time as text.

    Visits the pages of these rows, and no index.
    """
    key, stamp = table.key, table.timestamp
    latest = f"CAST(max({quoted(stamp.name)}) AS TEXT)" if stamp is not None else "NULL"
    bounds = [f"{key} > {after}"] if after != BEFORE_FIRST else []
    where = " AND ".join([*bounds, f"{key} <= {upto}"])
    asked = f"count(*), ifnull(sum({key} % {_PRIME}), 0), {latest}"
    [(count, ids, time)] = database.rows(f"SELECT {asked} FROM {quoted(table.name)} WHERE {where}")
    return int(count), int(ids), str(time or "")
