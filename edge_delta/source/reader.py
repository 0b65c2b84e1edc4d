"""Batches out of SQLite: which rows are next, that the source is still the same, and where a batch ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, SourceReset
from edge_delta.core.model import BEFORE_FIRST, Batch, Cell, Column, Cursor, Layout, Mark, Waiting
from edge_delta.core.swept import Passed
from edge_delta.source import cells, ends
from edge_delta.source.database import Database, quoted
from edge_delta.source.extents import Extent, Extents
from edge_delta.source.moved import known
from edge_delta.source.read_options import PLAIN, ROWID, Options
from edge_delta.source.schema import find_again, find_table, refuse_unknown_columns
from edge_delta.source.witness import Witnesses, Witnessing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import polars as pl

    from edge_delta.core.errors import SourceUnavailable
    from edge_delta.source.census import Census
    from edge_delta.source.schema import Table


class SQLiteSource:
    """One table of one SQLite database, read in the order of its rowids.

    Args:
        database: the opened file.
        table: the table's name, None for the only one.
        timestamp: the timestamp column's name, None to find it.
        options: what else the settings say about reading it.

    Attributes:
        reads_ahead: whether other connections may read what comes next.
        batch_bytes: what a batch may have, as far as one row does not exceed it.
    """

    reads_ahead = True

    def __init__(
        self, database: Database, table: str | None = None, timestamp: str | None = None, options: Options = PLAIN
    ) -> None:
        self._database = database
        self._timestamp_name = timestamp
        self._options = options
        self.batch_bytes = options.batch_bytes
        self._extents = Extents(database, options.batch_bytes)
        self._witnessing = Witnessing()
        self._told: Witnesses | None = None
        database.limit(options.longest_cell)
        with database.snapshot():
            self._schema_version: int | None = database.scalar("PRAGMA schema_version")
            self._table = find_table(database, table, timestamp, options)
        refuse_unknown_columns(self._table, options)

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
    def keyed_by_rowid(self) -> bool:
        """False where rows can only be read in the order of their time."""
        return self._table.key_is_rowid

    @property
    def tells_times(self) -> bool:
        """Whether a row's time leaves the device as it is."""
        return self._witnesses.timed

    @property
    def timestamp_reason(self) -> str:
        """Why that is it, or why there is none."""
        return self._table.timestamp_reason

    def sample(self, count: int) -> dict[str, list[Cell]]:
        """Some cells of each column, by name: of so many rows at either end."""
        return cells.sampled(self._database, self._table, count)

    def changed(self) -> bool:
        """Whether another process wrote since the last call."""
        return self._database.changed()

    def moved(self) -> bool:
        """Whether the path names another file now; what is open can still be read to its end."""
        return self._database.moved()

    def gone(self) -> SourceUnavailable | None:
        """Why there is no file now, if what is open can still be read to its end."""
        return self._database.gone()

    def unreadable(self) -> SourceUnavailable | None:
        """None: of a single file all can be read, or nothing can."""
        return None

    def reopen(self) -> None:
        """Close the file; the next read opens the one that is there then."""
        self._database.close()
        self._schema_version = None

    @contextlib.contextmanager
    def _looking(self) -> Iterator[Table]:
        """A read transaction with the table as it is now, also if it was altered a moment ago."""
        with self._database.snapshot():
            self._notice_schema_change()
            yield self._table

    def waiting(self, cursor: Cursor) -> Waiting:
        """What lies behind the cursor, from the two ends of the b-tree."""
        with self._looking() as table:
            bounds = [table.behind(cursor.rowid)] if cursor.rowid != BEFORE_FIRST else []
            end = table.end(None)
            bounds += [f"{table.key} <= {end}"] if end is not None else []
            source = quoted(table.name) + (f" WHERE {' AND '.join(bounds)}" if bounds else "")
            first = self._database.scalar(f"SELECT min({table.key}) FROM {source}")
            last = self._database.scalar(f"SELECT max({table.key}) FROM {source}") if first is not None else None
            return Waiting(first, last)

    def passed(self, cursor: Cursor) -> Passed:
        """What a table that is read in the order of time has besides the rows that wait; visits all rows."""
        with self._looking():
            if self._table.key_is_rowid or self._table.timestamp is None or cursor.rowid == BEFORE_FIRST:
                return Passed(0, 0)
            count = self._not_behind(cursor.rowid)
            end, name = self._table.end(None), quoted(self._table.name)
            ahead = self._database.scalar(f"SELECT count(*) FROM {name} WHERE {self._table.key} > {end}")
        return Passed(max(0, count - cursor.marks.get(Mark.COUNTED, count)), int(ahead))

    def _not_behind(self, key: int) -> int:
        """How many rows are not behind a key; of a table in the order of time, whose keys are no ids."""
        name = quoted(self._table.name)
        every = self._database.scalar(f"SELECT count(*) FROM {name}")
        return int(every - self._database.scalar(f"SELECT count(*) FROM {name} WHERE {self._table.behind(key)}"))

    def span(self) -> tuple[datetime | None, datetime | None]:
        """The times of the first and the last row, as they are understood; None where they are none."""
        with self._looking() as table:
            return ends.first(self._database, table), ends.last(self._database, table)

    def time_of(self, rowid: int) -> datetime | None:
        """The time of a row, as it is understood; None if it has none."""
        with self._looking() as table:
            return ends.of(self._database, table, f"WHERE {table.key} = {rowid}")

    def between(self, after: int, upto: int) -> tuple[int | None, int | None, int]:
        """The first and the last key behind one and up to another, and how many rows have one of those."""
        with self._looking() as table:
            return ends.between(self._database, table, after, upto)

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
        wanted = round(time.timestamp() * 1_000_000)
        with self._looking():
            return ends.lasts().first_since(self._database, self._table, stamp, wanted, upto=upto)  # type: ignore[no-any-return]

    def placed(self, cursor: Cursor, rowid: int) -> Cursor:
        """The cursor at a row, with what tells the source again."""
        with self._looking():
            return cursor.moved_to(rowid, self._witnesses.at(rowid))

    def verify(self, cursor: Cursor) -> bool:
        """Check that the source is still the one that the cursor belongs to.

        Returns:
            Whether the row at the cursor was updated since it was delivered.

        Raises:
            SourceReset: if it is not, or if it cannot be told from here.
        """
        with self._looking():
            return self._verify(cursor)

    def known(self, cursor: Cursor, *, moved: bool = False) -> tuple[int, int] | None:
        """See `edge_delta.core.ports.Source.known`."""
        with self._looking():
            return known(self._witnesses, cursor, moved=moved) if self._table.key_is_rowid else None

    def times_as_before(self, cursor: Cursor) -> bool:
        """Whether the rows that a cursor's witnesses are have their times still, whatever their values are."""
        with self._looking():
            return self._witnesses.times_as_before(cursor)

    def nearest(self, rowid: int) -> list[int]:
        """The ids of some rows up to one, at growing distance from it."""
        with self._looking():
            return self._witnesses.ids(rowid)

    @property
    def census(self) -> Census:
        """Counts its rows."""
        from edge_delta.source.census import Census  # noqa: PLC0415 - not before a sweep

        return Census(self._database, self._looking)

    @property
    def _witnesses(self) -> Witnesses:
        if self._told is None or not self._told.made_of(self._table, self._witnessing):
            self._told = Witnesses(self._database, self._table, self._witnessing)
        return self._told

    def _verify(self, cursor: Cursor) -> bool:
        if not self._table.key_is_rowid or not (cursor.witnesses or cursor.fingerprint is not None):
            return False
        found = self._witnesses.verdict(cursor)
        if found.same:
            return found.updated
        raise SourceReset(found.reason, unsure=found.unsure, likely_same=found.likely_same)

    def last_values(
        self,
        sensor: Column | None,
        columns: Mapping[str, tuple[Column, float | None, float | None]],
        *,
        upto: int,
    ) -> pl.DataFrame:
        """Each sensor's last value in a row whose cells all fit, see `edge_delta.source.lasts`."""
        with self._looking():
            return ends.lasts().values(self._database, self._table, sensor, columns, upto=upto)  # type: ignore[no-any-return]

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

    def tell_by(self, witnessing: Witnessing, options: Options | None = None) -> None:
        """Set by what the source is told again, and how it is read from the next look on."""
        self._witnessing = witnessing
        if options is not None and options != self._options:
            self._options, self._schema_version = options, None

    # -- for those that read ahead

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def twin(self) -> SQLiteSource:
        """The same table, over a connection of its own."""
        twin = SQLiteSource(self._database.twin(), self._table.name, self._timestamp_name, self._options)
        twin.tell_by(self._witnessing)
        return twin

    def extent_after(self, after: int, *, limit: int, upto: int | None) -> Extent | None:
        """The rows of the batch behind a key, without reading them; None if there are none."""
        with self._database.snapshot():
            return self._extents.next(self._table, after, limit=limit, upto=upto)

    def learn(self, batch: Batch) -> None:
        """Take a batch that a twin read for an example of those to come."""
        self._extents.learn(batch)

    def read_extent(self, extent: Extent, base: Cursor) -> Batch | None:
        """The rows of an extent, in a transaction of their own; told by a cursor to be still of the same source."""
        with self._looking():
            self._verify(base)
            return self._read_extent(extent, base)

    @property
    def file(self) -> tuple[int, int]:
        """See `edge_delta.core.ports.Source.file`."""
        return self._database.opened_as

    def _read_extent(self, extent: Extent, cursor: Cursor) -> Batch | None:
        from edge_delta.source import rows  # noqa: PLC0415 - not before there are some

        self._table, frame, rejected = rows.read(self._database, self._table, extent, self._options.max_row_bytes)
        ids = [*frame[ROWID].head(1), *frame[ROWID].tail(1), *(r.rowid for r in rejected)]
        if not ids:
            return None
        if not self._table.key_is_rowid:
            cursor = cursor.marked(**{Mark.COUNTED: self._not_behind(max(ids))})
        batch = Batch(frame, rejected, cursor.moved_to(max(ids), self._witnesses.at(max(ids))), min(ids), self.layout)
        self._extents.learn(batch)
        return batch

    def read_ids(self, rowids: Sequence[int]) -> Batch | None:
        """Those of the rows that are still there; None if none is."""
        with self._looking():
            ids = ", ".join(map(str, rowids))
            where = f"{quoted(self._table.name)} WHERE {self._table.key} IN ({ids})"
            extent = Extent(where, max(rowids), len(rowids), f" ORDER BY {self._table.key}")
            return self._read_extent(extent, Cursor())

    def _notice_schema_change(self) -> None:
        version = self._database.scalar("PRAGMA schema_version")
        if version != self._schema_version:
            self._table = find_again(self._database, self._table.name, self._timestamp_name, self._options)
        self._schema_version = version
