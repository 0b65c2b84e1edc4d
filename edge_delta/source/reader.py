"""Batches out of SQLite, as fast as it visits its rows, with every cell accounted for.

Each column's kind is pinned by its declaration. When a cell is of another one, the rows are read again with the misfits
told apart by ``typeof()``, in the same transaction.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, SourceReset, SourceUnavailable
from edge_delta.core.model import BEFORE_FIRST, Batch, Column, Cursor, Kind, Layout, Rejection, Waiting
from edge_delta.source import cells
from edge_delta.source.columns import KINDS, TEXT_AS_BYTES
from edge_delta.source.database import Database, quoted
from edge_delta.source.extents import Extent, Extents
from edge_delta.source.pinning import fits, not_utf8, pinned, portions
from edge_delta.source.schema import find_table, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import polars as pl

ROWID = "_rowid"
"""The name of the key in the frames."""
_LARGEST = sys.float_info.max
_SENSORS = 1_024
"""How many are expected."""


class SQLiteSource:
    """One table of one SQLite database, read in the order of its rowids.

    Args:
        database: the opened file.
        table: the table's name, None for the only one.
        timestamp: the timestamp column's name, None to detect it.
    """

    def __init__(self, database: Database, table: str | None = None, timestamp: str | None = None) -> None:
        self._database = database
        self._timestamp_name = timestamp
        self._schema_version: int | None = None
        self._extents = Extents(database)
        self._table = find_table(database, table, timestamp)

    def traced(self, told: Callable[[str], None]) -> None:
        """Let something hear of each statement before it runs."""
        self._database.traced = told

    @property
    def table(self) -> str:
        """The table's name."""
        return self._table.name

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, as they were when last looked at."""
        return self._table.columns

    @property
    def timestamp(self) -> Column | None:
        """The column with the reading's time."""
        return self._table.timestamp

    @property
    def layout(self) -> Layout:
        """What is known of the columns."""
        return Layout(self._table.columns, self._table.timestamp, self._table.id_column)

    @property
    def id_column(self) -> Column | None:
        """The column that is the rowid under another name, if any."""
        return self._table.id_column

    @property
    def keyed_by_rowid(self) -> bool:
        """False where rows can only be read in the order of their time."""
        return self._table.key_is_rowid

    def changed(self) -> bool:
        """Whether another process wrote since the last call."""
        return self._database.changed()

    def moved(self) -> bool:
        """Whether the path names another file now; what is open can still be read to its end."""
        return self._database.moved()

    def reopen(self) -> None:
        """Close the file; the next read opens the one that is there then."""
        self._database.close()
        self._schema_version = None

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """A read transaction in which the table is described as it is now, also if it was altered a moment ago."""
        with self._database.snapshot():
            self._notice_schema_change()
            yield

    def waiting(self, cursor: Cursor) -> Waiting:
        """What lies behind the cursor, from the two ends of the b-tree."""
        with self._looking():
            return self._waiting(cursor)

    def _waiting(self, cursor: Cursor) -> Waiting:
        key, table = self._table.key, quoted(self._table.name)
        where = "" if cursor.rowid == BEFORE_FIRST else f" WHERE {key} > {cursor.rowid}"
        first = self._database.scalar(f"SELECT min({key}) FROM {table}{where}")
        last = self._database.scalar(f"SELECT max({key}) FROM {table}{where}")
        return Waiting(first, last)

    def between(self, after: int, upto: int) -> tuple[int | None, int | None, int]:
        """The first and the last key behind one and up to another, and how many rows have one of those."""
        with self._looking():
            key = self._table.key
            where = f"{key} > {after} AND {key} <= {upto}" if after != BEFORE_FIRST else f"{key} <= {upto}"
            [found] = self._database.rows(
                f"SELECT min({key}), max({key}), count(*) FROM {quoted(self._table.name)} WHERE {where}"
            )
        return found

    def first_since(self, time: datetime, *, upto: int) -> int | None:
        """The lowest key, up to one, of a row that is not older than a time. Visits all rows.

        Raises:
            ConfigurationError: if the table has no times.
        """
        stamp = self._table.timestamp
        if stamp is None:
            raise ConfigurationError(
                f"table {self._table.name!r} in {self._database.path} has no timestamp column",
                "Name it with --timestamp-field, or use ids",
            )
        wanted, key = round(time.timestamp() * 1000), self._table.key
        with self._database.snapshot():
            found = self._database.scalar(
                f"SELECT min({key}) FROM {quoted(self._table.name)} "
                f"WHERE {milliseconds(quoted(stamp.name))} >= {wanted} AND {key} <= {upto}"
            )
        return None if found is None else int(found)

    def placed(self, cursor: Cursor, rowid: int) -> Cursor:
        """The cursor at a row, with that row's fingerprint if it is there."""
        with self._looking():
            return cursor.moved_to(rowid, self._fingerprint(rowid) if self._table.key_is_rowid else None)

    def verify(self, cursor: Cursor) -> None:
        """Check that the source is still the one that the cursor belongs to.

        Raises:
            SourceReset: if it is not.
        """
        with self._looking():
            self._verify(cursor)

    def _verify(self, cursor: Cursor) -> None:
        if cursor.fingerprint is None or not self._table.key_is_rowid:
            return
        now = self._fingerprint(cursor.rowid)
        place = f"table {self._table.name!r} in {self._database.path}"
        if now is not None:
            if not cells.same_row(cursor.fingerprint, now, timed=self._table.timestamp is not None):
                raise SourceReset(f"row {cursor.rowid} of {place} is not the row that was delivered under that id")
            return
        # The row was purged, unless ids went back.
        last = self._database.scalar(f"SELECT max({self._table.key}) FROM {quoted(self._table.name)}")
        if self._table.autoincrement:
            last = self._sequence() if last is None else max(last, self._sequence() or 0)
        if last is not None and last < cursor.rowid:
            raise SourceReset(f"ids of {place} end at {last}, but rows up to {cursor.rowid} were delivered")

    def _sequence(self) -> int | None:
        name = self._table.name.replace("'", "''")
        found = self._database.scalar(f"SELECT seq FROM sqlite_sequence WHERE name = '{name}'")
        return int(found) if found is not None else None

    def _fingerprint(self, rowid: int) -> int | None:
        found = cells.read_rows(self._database, self._table, [rowid])
        return cells.fingerprint(self._table, *found[0]) if found else None

    def last_values(
        self,
        sensor: Column | None,
        columns: Mapping[str, tuple[Column, float | None, float | None]],
        *,
        upto: int,
    ) -> pl.DataFrame:
        """Each sensor's last value in a row whose cells all fit. Visits all rows: for the start, not for each batch.

        Args:
            sensor: the column with the sensor's name, None for one sensor.
            columns: by name in the result, the column and the limits within which a value counts.
            upto: the last rowid that counts.

        Returns:
            ``sensor_id`` and the named columns, one row a sensor and column.
        """
        import polars as pl  # noqa: PLC0415

        who = f"CAST({quoted(sensor.name)} AS TEXT)" if sensor is not None else "NULL"
        frames = []
        with self._looking():
            whole = ["(" + " AND ".join(fits(c) for c in part) + ")" for part in portions(self.columns)]
            for name, (column, low, high) in columns.items():
                value = quoted(column.name)
                bounds = [f"CAST({value} AS REAL) >= {low!r}"] if low is not None else []
                bounds += [f"CAST({value} AS REAL) <= {high!r}"] if high is not None else []
                bounds += [f"abs(CAST({value} AS REAL)) <= {_LARGEST!r}"] if column.kind is Kind.REAL else []
                where = " AND ".join([f"{self._table.key} <= {upto}", f"{value} IS NOT NULL", *bounds, *whole])
                # With max(), SQLite takes the other columns from the row that has the maximum.
                last = (
                    f"(SELECT {who} AS who, {pinned(column)} AS value, max({self._table.key}) "
                    f"FROM {quoted(self.table)} WHERE {where} GROUP BY 1)"
                )
                typed = {"sensor_id": ("u", "who"), name: (KINDS[column.kind], "value")}
                found = self._database.frame(typed, last, rows=_SENSORS)
                if found is not None:  # a name that is no UTF-8 has nothing to be filled with
                    frames.append(found)
        if not frames:
            return pl.DataFrame(schema={"sensor_id": pl.String, **dict.fromkeys(columns, pl.Float64)})
        merged = pl.concat(frames, how="diagonal_relaxed")
        return merged.group_by("sensor_id", maintain_order=True).agg(pl.col(n).drop_nulls().last() for n in columns)

    def read_after(
        self,
        cursor: Cursor,
        *,
        limit: int,
        upto: int | None = None,
    ) -> Batch | None:
        """At most ``limit`` rows behind the cursor, in the order of their rowids.

        A table without rowids is read in the order of time, and rows of one millisecond stay together even beyond
        the limit.

        Args:
            cursor: where to go on.
            limit: the most rows to read.
            upto: the last rowid to read, None for all there are.

        Returns:
            The batch, or None if no row is behind the cursor.

        Raises:
            SourceReset: if the row at the cursor is not the one that was delivered.
            SourceUnavailable: if the database cannot be read now.
        """
        with self._looking():
            self._verify(cursor)
            extent = self._extents.next(self._table, cursor.rowid, limit=limit, upto=upto)
            return None if extent is None else self._read_extent(extent, cursor)

    # -- for those that read ahead

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def twin(self) -> SQLiteSource:
        """The same table, over a connection of its own."""
        return SQLiteSource(Database(self._database.path), self._table.name, self._timestamp_name)

    def extent_after(self, after: int, *, limit: int, upto: int | None) -> Extent | None:
        """The rows of the batch behind a key, without reading them; None if there are none."""
        with self._database.snapshot():
            return self._extents.next(self._table, after, limit=limit, upto=upto)

    def learn(self, batch: Batch) -> None:
        """Take a batch that a twin read for an example of those to come."""
        self._extents.learn(batch)

    def read_extent(self, extent: Extent, base: Cursor) -> Batch | None:
        """The rows of an extent, in a transaction of their own.

        Args:
            extent: the rows.
            base: a cursor in the same source, by which it is told that it is still the same.
        """
        with self._looking():
            self._verify(base)
            return self._read_extent(extent, base)

    def same_file(self, other: SQLiteSource) -> bool:
        """Whether both have the same file open."""
        return self._database.opened_as == other._database.opened_as

    def _read_extent(self, extent: Extent, cursor: Cursor) -> Batch | None:
        frame, rejected = self._read(extent)
        ids = [*frame[ROWID].head(1), *frame[ROWID].tail(1), *(r.rowid for r in rejected)]
        if not ids:
            return None
        fingerprint = self._fingerprint(max(ids)) if self._table.key_is_rowid else None
        batch = Batch(frame, rejected, cursor.moved_to(max(ids), fingerprint), min(ids), self.layout)
        self._extents.learn(batch)
        return batch

    def read_ids(self, rowids: Sequence[int]) -> Batch | None:
        """Those of the rows that are still there; None if none is.

        Raises:
            SourceUnavailable: if the database cannot be read now.
        """
        with self._looking():
            ids = ", ".join(map(str, rowids))
            rows = f"{quoted(self._table.name)} WHERE {self._table.key} IN ({ids}) ORDER BY {self._table.key}"
            return self._read_extent(Extent(rows, max(rowids), len(rowids)), Cursor())

    def _notice_schema_change(self) -> None:
        version = self._database.scalar("PRAGMA schema_version")
        if version != self._schema_version:
            self._table = find_table(self._database, self._table.name, self._timestamp_name)
        self._schema_version = version

    # -- the fast way, and the careful one

    def _read(self, extent: Extent) -> tuple[pl.DataFrame, tuple[Rejection, ...]]:
        frame = self._select(extent, {c: (KINDS[c.kind], pinned(c)) for c in self.columns})
        if frame is not None:
            return frame, ()
        whole = {
            c: (
                TEXT_AS_BYTES if c.kind is Kind.TEXT else KINDS[c.kind],
                f"CASE WHEN {fits(c)} THEN {pinned(c)} END",
            )
            for c in self.columns
        }
        frame = self._select(extent, whole)
        if frame is None:
            raise SourceUnavailable(f"{self._database.path}: table {self.table!r} cannot be read as it is declared")
        bad = self._misfits(extent) | not_utf8(frame, self.columns, ROWID)
        return self._without(frame, bad), self._rejections(sorted(bad))

    def _select(self, extent: Extent, asked: Mapping[Column, tuple[str, str]]) -> pl.DataFrame | None:
        """The rows in their order, None if a cell is not of its column's kind."""
        own = self._table.id_column  # the key under another name comes once
        columns = {ROWID: (KINDS[Kind.INTEGER], self._table.key)}
        columns |= {column.alias: cell for column, cell in asked.items() if column != own}
        frame = self._database.frame(columns, extent.source, rows=extent.rows)
        if frame is None:
            return None
        if not frame[ROWID].is_sorted():
            frame = frame.sort(ROWID, maintain_order=True)
        return frame if own is None else frame.with_columns(frame[ROWID].alias(own.alias))

    def _without(self, frame: pl.DataFrame, bad: set[int]) -> pl.DataFrame:
        """The other rows, and texts as such again."""
        import polars as pl  # noqa: PLC0415

        texts = [pl.col(c.alias).cast(pl.String) for c in self.columns if c.kind is Kind.TEXT]
        return frame.filter(~pl.col(ROWID).is_in(list(bad))).with_columns(texts)

    def _misfits(self, extent: Extent) -> set[int]:
        """The keys of the batch's rows that have a cell which does not fit."""
        bad: set[int] = set()
        for part in portions(self.columns):
            all_fit = " AND ".join(fits(c) for c in part)
            inner = f"SELECT {self._table.key} AS k, ({all_fit}) AS ok FROM {extent.source}"
            bad.update(k for (k,) in self._database.rows(f"SELECT k FROM ({inner}) WHERE NOT ok"))
        return bad

    def _rejections(self, rowids: list[int]) -> tuple[Rejection, ...]:
        rows = cells.read_rows(self._database, self._table, rowids)
        return tuple(cells.rejection(self._table, rowid, row) for rowid, row in rows)
