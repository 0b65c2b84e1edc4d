"""The times of single rows, as they are understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.time_formats import moment
from edge_delta.source import cells
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

    from edge_delta.source.database import Database
    from edge_delta.source.schema import Table


def of(database: Database, table: Table, which: str) -> datetime | None:
    """The time of one row; None if it has none.

    Args:
        database: the file.
        table: the table.
        which: WHERE or ORDER BY that give the row first.
    """
    stamp = table.timestamp
    if stamp is None:
        return None
    return moment(cells.read_cell(database, stamp, f"{quoted(table.name)} {which}"), stamp.time)


def first(database: Database, table: Table) -> datetime | None:
    """That of the first row."""
    return of(database, table, f"ORDER BY {table.key} ASC")


def last(database: Database, table: Table) -> datetime | None:
    """That of the last row."""
    return of(database, table, f"ORDER BY {table.key} DESC")


def between(database: Database, table: Table, after: int, upto: int) -> tuple[int | None, int | None, int]:
    """The first and the last key behind one and up to another, and how many rows have one of those."""
    where = f"{table.key} > {after} AND {table.key} <= {upto}" if after != BEFORE_FIRST else f"{table.key} <= {upto}"
    source = f"{quoted(table.name)} WHERE {where}"
    [found] = database.rows(f"SELECT min({table.key}), max({table.key}), count(*) FROM {source}")
    return found


def lasts() -> ModuleType:
    """What looks back over all rows."""
    from edge_delta.source import lasts  # noqa: PLC0415 - Polars, and only for that

    return lasts
