"""The SQLite end: everything that runs SQL on the device, read-only."""

from __future__ import annotations

from edge_delta.source.database import Database
from edge_delta.source.reader import SQLiteSource
from edge_delta.source.schema import Table, find_table

__all__ = ["Database", "SQLiteSource", "Table", "find_table"]
