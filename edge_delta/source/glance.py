"""One look at what is waiting in a SQLite table, for `status`, `health` and metrics: no scan, no Polars."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.source.database import Database, quoted
from edge_delta.source.schema import find_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_delta.source.schema import Table

_BUSY_MS = 1_000
_MICROSECONDS_A_UNIT = ((1e17, 1e-3), (1e14, 1.0), (1e11, 1e3))
"""From this size on, a number of a time counts units of that many microseconds; smaller ones count seconds."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What waits behind one cursor.

    Attributes:
        rows: the width of the id range, see `edge_delta.core.model.Waiting`.
        oldest: the time of the first row that waits, None if there is none or it cannot be read.
        began_again: whether the ids end before the cursor, as in a source that was replaced.
    """

    rows: int
    oldest: datetime | None
    began_again: bool = False


def glance(path: Path, table: str | None, timestamp: str | None, cursors: Iterable[int]) -> dict[int, Behind]:
    """What waits behind each of these rowids.

    Raises:
        EdgeDeltaError: if the database cannot be read.
    """
    database = Database(path, busy_timeout_ms=_BUSY_MS)
    with contextlib.closing(database):
        found = find_table(database, table, timestamp)
        with database.snapshot():
            return {cursor: _behind(database, found, cursor) for cursor in cursors}


def _behind(database: Database, table: Table, cursor: int) -> Behind:
    name, key = quoted(table.name), table.key
    last = database.scalar(f"SELECT max({key}) FROM {name}")
    if last is None:
        return Behind(0, None)
    began_again = last < cursor
    after = BEFORE_FIRST if began_again else cursor
    where = "" if after == BEFORE_FIRST else f" WHERE {key} > {after}"
    first = database.scalar(f"SELECT min({key}) FROM {name}{where}")
    if first is None:
        return Behind(0, None)
    oldest = None
    if table.timestamp is not None:
        stamp = quoted(table.timestamp.name)
        oldest = as_time(database.scalar(f"SELECT {stamp} FROM {name} WHERE {key} = {first} LIMIT 1"))
    return Behind(last - first + 1, oldest, began_again)


def as_time(value: object) -> datetime | None:
    """A time as sensors store it: ISO 8601 (UTC where it does not say), or a number since 1970."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, int | float):
            unit = next((unit for least, unit in _MICROSECONDS_A_UNIT if abs(value) >= least), 1e6)
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value * unit)
    except (ValueError, OverflowError):
        pass
    return None
