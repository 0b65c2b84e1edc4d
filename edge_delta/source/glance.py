"""One look at what is waiting in a SQLite table, for `status`, `health` and metrics: no scan, no Polars."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.time_formats import TimeForm, moment
from edge_delta.source import cells
from edge_delta.source.census import Census
from edge_delta.source.database import Database, quoted
from edge_delta.source.read_options import Options
from edge_delta.source.schema import find_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from edge_delta.source.schema import Table

_BUSY_MS = 1_000
_AUTO = TimeForm()


class Behind(Struct, frozen=True):
    """What waits behind one cursor.

    Attributes:
        rows: the width of the id range, see `edge_delta.core.model.Waiting`.
        oldest: the time of the first row that waits, None if there is none or it cannot be read.
        began_again: whether the ids end before the cursor, as in a source that was replaced.
    """

    rows: int
    oldest: datetime | None
    began_again: bool = False


def glance(
    path: Path, table: str | None, timestamp: str | None, cursors: Iterable[int], form: TimeForm = _AUTO
) -> dict[int, Behind]:
    """What waits behind each of these rowids, with times in the given form.

    Raises:
        EdgeDeltaError: if the database cannot be read.
    """
    database = Database(path, busy_timeout_ms=_BUSY_MS)
    with contextlib.closing(database):
        found = find_table(database, table, timestamp, Options(form))
        with database.snapshot():
            return {cursor: _behind(database, found, cursor) for cursor in cursors}


def has_still(path: Path, table: str | None, timestamp: str | None, known: Iterable[tuple[int, int]]) -> bool:
    """Whether a table may be the one that rows were read of.

    Args:
        path: the database.
        table: the table.
        timestamp: the column with the time.
        known: ids, and checksums of their times as `edge_delta.source.census.Census.stamps` gives them.

    Returns:
        False if one of them has another time, or if all are gone and ids end before them.

    Raises:
        EdgeDeltaError: if the database cannot be read.
    """
    before = dict(known)
    database = Database(path, busy_timeout_ms=_BUSY_MS)
    with contextlib.closing(database):
        found = find_table(database, table, timestamp, Options())

        @contextlib.contextmanager
        def looking() -> Iterator[Table]:
            with database.snapshot():
                yield found

        there = dict(Census(database, looking).stamps(before))
        last = database.scalar(f"SELECT max({found.key}) FROM {quoted(found.name)}")
    return all(before[i] == time for i, time in there.items()) and (bool(there) or last is None or last >= max(before))


def _behind(database: Database, table: Table, cursor: int) -> Behind:
    name, key = quoted(table.name), table.key
    last = database.scalar(f"SELECT max({key}) FROM {name}")
    if last is None:
        return Behind(0, None)
    began_again = max(last, _last_ever(database, table)) < cursor
    after = BEFORE_FIRST if began_again else cursor
    where = "" if after == BEFORE_FIRST else f" WHERE {table.behind(after)}"
    first = database.scalar(f"SELECT min({key}) FROM {name}{where}")
    if first is None:
        return Behind(0, None)
    oldest = None
    if table.timestamp is not None:
        cell = cells.read_cell(database, table.timestamp, f"{name} WHERE {key} = {first}")
        oldest = moment(cell, table.timestamp.time)
    return Behind(last - first + 1, oldest, began_again)


def _last_ever(database: Database, table: Table) -> int:
    """The largest id that SQLite gave to a row of the table, one that was deleted included, where it keeps that."""
    if not table.autoincrement:
        return BEFORE_FIRST
    name = table.name.replace("'", "''")
    found = database.scalar(f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{name}'")
    return BEFORE_FIRST if found is None else int(found)
