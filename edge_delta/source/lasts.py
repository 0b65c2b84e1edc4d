"""Questions that visit all rows of a table: each sensor's last value, and the first row since a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core import time_columns
from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import BEFORE_FIRST, Column, Kind
from edge_delta.source.columns import KINDS
from edge_delta.source.database import Database, quoted
from edge_delta.source.pinning import fits, pinned, portions
from edge_delta.source.read_options import ROWID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.source.schema import Table

_LARGEST = sys.float_info.max
_ROWS = 200_000
_SENSORS = 1_024
"""How many are expected."""


def values(
    database: Database,
    table: Table,
    sensor: Column | None,
    columns: Mapping[str, tuple[Column, float | None, float | None]],
    *,
    upto: int,
) -> pl.DataFrame:
    """Each sensor's last value in a row whose cells all fit. Visits all rows: for the start, not for each batch.

    Args:
        database: the file.
        table: the table.
        sensor: the column with the sensor's name, None for one sensor.
        columns: by name in the result, the column and the limits within which a value counts.
        upto: the last key that counts.

    Returns:
        ``sensor_id`` and the named columns, one row a sensor and column.
    """
    who = f"CAST({quoted(sensor.name)} AS TEXT) COLLATE BINARY" if sensor is not None else "NULL"
    whole = ["(" + " AND ".join(fits(c) for c in part) + ")" for part in portions(table.columns)]
    frames = []
    for name, (column, low, high) in columns.items():
        within = " AND ".join([f"{table.key} <= {upto}", *_within(column, low, high), *whole])
        # With max(), SQLite takes the other columns from the row that has the maximum.
        last = (
            f"(SELECT {who} AS who, {pinned(column)} AS value, max({table.key}) "
            f"FROM {quoted(table.name)} WHERE {within} GROUP BY 1)"
        )
        found = database.frame({"sensor_id": ("u", "who"), name: (KINDS[column.kind], "value")}, last, rows=_SENSORS)
        if found is not None:  # a name that is no UTF-8 has nothing to be filled with
            frames.append(found)
    if not frames:
        return pl.DataFrame(schema={"sensor_id": pl.String, **dict.fromkeys(columns, pl.Float64)})
    merged = pl.concat(frames, how="diagonal_relaxed")
    there = [name for name in columns if name in merged.columns]
    return merged.group_by("sensor_id", maintain_order=True).agg(pl.col(n).drop_nulls().last() for n in there)


def _within(column: Column, low: float | None, high: float | None) -> list[str]:
    value = quoted(column.name)
    bounds = [f"{value} IS NOT NULL"]
    bounds += [f"CAST({value} AS REAL) >= {low!r}"] if low is not None else []
    bounds += [f"CAST({value} AS REAL) <= {high!r}"] if high is not None else []
    bounds += [f"abs(CAST({value} AS REAL)) <= {_LARGEST!r}"] if column.kind is Kind.REAL else []
    return bounds


def first_since(database: Database, table: Table, stamp: Column, wanted: int, *, upto: int) -> int | None:
    """The lowest key, up to one, of a row that is not older than a time.

    Args:
        database: the file.
        table: the table.
        stamp: the column with the times, which are read as everywhere else.
        wanted: microseconds since 1970, UTC.
        upto: the last key that counts.
    """
    after = BEFORE_FIRST
    cells = {ROWID: (KINDS[Kind.INTEGER], "k"), "time": (KINDS[stamp.kind], "t")}
    columns = f"{table.key} AS k, CASE WHEN {fits(stamp)} THEN {pinned(stamp)} END AS t"
    while True:
        bounds = [f"{table.key} <= {upto}", *([f"{table.key} > {after}"] if after != BEFORE_FIRST else [])]
        where = " AND ".join(bounds)
        part = f"(SELECT {columns} FROM {quoted(table.name)} WHERE {where} ORDER BY {table.key} LIMIT {_ROWS})"
        found = database.frame(cells, part, rows=_ROWS)
        if found is None:
            raise SourceUnavailable(f"the times in {stamp.name!r} of table {table.name!r} are not all UTF-8")
        since = found.filter(time_columns.parse(found["time"], stamp.time).cast(pl.Int64) >= wanted)
        if since.height or found.height < _ROWS:
            return since[ROWID].min()  # type: ignore[return-value]
        after = int(found[ROWID].max())  # type: ignore[arg-type]
