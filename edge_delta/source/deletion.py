"""Deleting rows of a table that an application writes at the same time: in short transactions, and only as they were.

The rows of a range are copied first, into memory. Whoever decides that they may go looks at them afterwards, and a row
is deleted only if it still is what was copied: one that was updated in between, or another one under its id, stays.

Each deletion is one statement that commits by itself, so that nothing of ours runs while the write lock is held, and it
takes so many rows that the lock is held for some milliseconds. Then it is left free for several times as long:
SQLite's own busy handler asks again after 1, 2, 5, 10, 15, 20 and 25 ms (``sqliteDefaultBusyCallback``), so a writer
that came too late gets it at one of its next tries. Checkpoints are made here as well, which do not keep a writer out,
so that what was deleted is not left to be written by one of the application's own commits.
"""

from __future__ import annotations

import os
import random
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edge_delta.core.errors import ConfigurationError, SourceUnavailable
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.reach import refuse_barred
from edge_delta.source.database import Database, quoted
from edge_delta.source.extents import weight_of
from edge_delta.source.reader import SQLiteSource
from edge_delta.source.refusals import Locked
from edge_delta.source.schema import find_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from edge_delta.source.extents import Extent
    from edge_delta.source.read_options import Options

HELD_SECONDS = 0.002
"""How long the write lock is meant to be held at a time."""
_FREE = 4
"""How many times as long it is left free."""
_LEAST_FREE_SECONDS = 0.015
_FIRST, _LEAST, _MOST = 50, 5, 5_000
_PAGES = 8
_GROWTH = 2.0
_LOCKED_SECONDS = 60.0
_MOST_BACK_OFF = 0.2
_PER_CHECKPOINT = 16
_INCREMENTAL = 2
_IN_A_STATEMENT = 100
_IN_A_ROW = 500
_COPY = "temp.edge_delta_copied"
_BUSY_MS = 10
"""Without a WAL a commit waits for readers that are just reading."""


class Freed(NamedTuple):
    """What became of the room.

    Attributes:
        pages: pages that the file has and that nothing is in.
        page_size: bytes of each.
        returned: bytes by which the file became smaller.
        incremental: whether the database gives free pages back when it is asked.
    """

    pages: int
    page_size: int
    returned: int
    incremental: bool


class Pacer:
    """How many rows or pages go in one transaction, so that each holds the lock for about `HELD_SECONDS`.

    Args:
        first: how many to begin with.
        sleep: waits for so many seconds.
    """

    def __init__(self, first: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self.number = first
        self.longest = 0.0
        self._sleep = sleep

    def run(self, statement: Callable[[], None]) -> None:
        """Run a statement that writes, as soon as nobody else does, and leave the lock free afterwards.

        Raises:
            SourceUnavailable: if others hold it all the time.
        """
        until, pause = time.monotonic() + _LOCKED_SECONDS, 0.002
        while True:
            began = time.perf_counter()
            try:
                statement()
            except Locked:
                if time.monotonic() > until:
                    raise
                self._sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads tries, and keeps no secret
                pause = min(2 * pause, _MOST_BACK_OFF)
                continue
            self._took(time.perf_counter() - began)
            return

    def _took(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        wanted = self.number * min(_GROWTH, HELD_SECONDS / max(seconds, 1e-6))
        self.number = round(min(max(wanted, _LEAST), _MOST))
        self._sleep(max(_LEAST_FREE_SECONDS, _FREE * seconds))


class Deletion:
    """Deletes rows of one table over a connection of its own, which is the only one of edge-delta that may write.

    Args:
        path: the database.
        table: the table; None for the only one.
        timestamp: the column with the time; None finds it.
        options: what else the settings say of reading it.

    Attributes:
        source: reads the same table over the same connection.

    Raises:
        ConfigurationError: if rows of this table are not to be deleted from outside.
    """

    def __init__(self, path: Path, table: str | None, timestamp: str | None, options: Options) -> None:
        _refuse_a_file_of_others(path)
        self._database = Database(path, busy_timeout_ms=_BUSY_MS, writes=True)
        self.source = SQLiteSource(self._database, table, timestamp, options)
        self._table = find_table(self._database, self.source.table, timestamp, options)
        self._largest = options.max_row_bytes
        self._refuse_other_tables()
        for pragma in ("temp_store=MEMORY", "wal_autocheckpoint=0", "synchronous=NORMAL" if self._has_log else ""):
            if pragma:
                self._database.execute(f"PRAGMA {pragma}")
        self._pages_before = self._pages
        self.pacer = Pacer(_FIRST)
        self._since_checkpoint = 0

    @property
    def has_times(self) -> bool:
        """Whether its rows have times."""
        return self._table.timestamp is not None

    @property
    def _has_log(self) -> bool:
        return str(self._database.scalar("PRAGMA journal_mode")) == "wal"

    def _refuse_other_tables(self) -> None:
        table, place = self._table, f"table {self._table.name!r} in {self._database.path}"
        if table.kind != "table":
            raise ConfigurationError(f"{place} is a {table.kind}, so it has no rows to delete", "Purge its tables")
        if not table.key_is_rowid:
            raise ConfigurationError(
                f"{place} has no ids that grow, so nobody can say which of its rows were delivered",
                "Let the application delete them",
            )
        literal = table.name.replace("'", "''")
        referring = self._database.rows(
            "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f "
            f"WHERE m.type = 'table' AND f.\"table\" = '{literal}' COLLATE NOCASE ORDER BY 1"
        )
        if referring:
            names = ", ".join(repr(name) for (name,) in referring)
            raise ConfigurationError(
                f"rows of {place} are referred to by {names} (foreign keys)",
                "Let the application delete them: it knows what goes with them",
            )

    # -- which rows

    def kept_behind(self, upto: int, rows: int) -> int | None:
        """The key that so many rows up to another one are behind; None if there are no more than those."""
        key, name = self._table.key, quoted(self._table.name)
        asked = f"SELECT {key} FROM {name} WHERE {key} <= {upto} ORDER BY {key} DESC LIMIT 1 OFFSET {rows}"
        with self._database.snapshot():
            return self._database.scalar(asked)  # type: ignore[no-any-return]

    def copy(self, after: int, upto: int, *, limit: int) -> Extent | None:
        """Remember the next rows as they are now; None if there are none.

        Args:
            after: the key that they are behind.
            upto: the last key that counts.
            limit: the most rows; fewer where they are large. Those larger than the settings allow are left out.
        """
        extent = self.source.extent_after(after, limit=limit, upto=upto)
        if extent is None:
            return None
        table, columns = self._table, self._columns()
        places = ", ".join(f"c{i}" for i in range(len(columns)))
        bounds = f"{table.key} <= {extent.last}" + (f" AND {table.key} > {after}" if after != BEFORE_FIRST else "")
        database = self._database
        database.execute(f"DROP TABLE IF EXISTS {_COPY}")
        database.execute(f"CREATE TEMP TABLE {_COPY.partition('.')[2]} (k INTEGER PRIMARY KEY, {places})")
        database.execute(
            f"INSERT INTO {_COPY} SELECT {table.key}, {', '.join(columns)} FROM main.{quoted(table.name)} "
            f"WHERE {bounds} AND {weight_of(table)} <= {self._largest}"
        )
        return extent

    def _columns(self) -> list[str]:
        name = quoted(self._table.name)
        return [f"{name}.{quoted(column.name)}" for column in self._table.columns]

    def spare(self, ids: Iterable[int]) -> None:
        """Leave some of the copied rows where they are."""
        runs = list(_runs(sorted(ids)))
        for start in range(0, len(runs), _IN_A_STATEMENT):
            some = runs[start : start + _IN_A_STATEMENT]
            these = " OR ".join(f"k BETWEEN {first} AND {last}" for first, last in some)
            self._database.execute(f"DELETE FROM {_COPY} WHERE {these}")

    # -- deleting them

    def run(self) -> Iterator[tuple[int, int]]:
        """Delete the copied rows that were not spared, as far as they are what they were.

        Yields:
            After each transaction how many of them are not there any more, and the sum of their keys.
        """
        after = BEFORE_FIRST
        while True:
            ahead = f"SELECT k FROM {_COPY} WHERE k > {after} ORDER BY k LIMIT {self.pacer.number}"
            [(last, rows)] = self._database.rows(f"SELECT max(k), count(*) FROM ({ahead})")
            if not rows:
                self._checkpoint()
                return
            self.pacer.run(partial(self._database.execute, self._statement(after, last)))
            yield self._went(after, last)
            after = last
            self._since_checkpoint += 1
            if self._since_checkpoint >= _PER_CHECKPOINT:
                self._checkpoint()

    def _statement(self, after: int, last: int) -> str:
        table, name = self._table, quoted(self._table.name)
        columns = self._columns()
        same = [f"edge_delta_copy.k = {name}.{table.key}"]
        for start in range(0, len(columns), _IN_A_ROW):
            some = range(start, min(start + _IN_A_ROW, len(columns)))
            then = ", ".join(f"edge_delta_copy.c{i}" for i in some)
            now = ", ".join(f"{columns[i]} COLLATE BINARY" for i in some)
            same.append(f"({then}) IS ({now})")
        return (
            f"DELETE FROM main.{name} WHERE {table.key} > {after} AND {table.key} <= {last} AND EXISTS "
            f"(SELECT 1 FROM {_COPY} AS edge_delta_copy WHERE {' AND '.join(same)})"
        )

    def _went(self, after: int, last: int) -> tuple[int, int]:
        table, name = self._table, quoted(self._table.name)
        there = f"SELECT 1 FROM main.{name} WHERE {name}.{table.key} = edge_delta_copy.k"
        [found] = self._database.rows(
            f"SELECT count(*), ifnull(sum(k), 0) FROM {_COPY} AS edge_delta_copy "
            f"WHERE k > {after} AND k <= {last} AND NOT EXISTS ({there})"
        )
        return found

    def _checkpoint(self) -> None:
        """Carry what is in the log to the database, as far as no reader needs it; keeps no writer out."""
        self._since_checkpoint = 0
        self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # -- the room

    @property
    def _pages(self) -> int:
        return int(self._database.scalar("PRAGMA page_count"))

    def free(self) -> Freed:
        """Give free pages back where the database is made for that, some at a time."""
        database = self._database
        page_size = int(database.scalar("PRAGMA page_size"))
        incremental = database.scalar("PRAGMA auto_vacuum") == _INCREMENTAL
        pacer, steps = Pacer(_PAGES), 0
        while incremental and (left := int(database.scalar("PRAGMA freelist_count"))):
            pacer.run(partial(database.execute, f"PRAGMA incremental_vacuum({min(pacer.number, left)})"))
            steps += 1
            if steps % _PER_CHECKPOINT == 0:
                self._checkpoint()
        self.pacer.longest = max(self.pacer.longest, pacer.longest)
        self._checkpoint()
        free = int(database.scalar("PRAGMA freelist_count"))
        return Freed(free, page_size, max(0, self._pages_before - self._pages) * page_size, incremental)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _refuse_a_file_of_others(path: Path) -> None:
    """A file that SQLite makes beside the database has to be one that the application can write.

    Raises:
        ConfigurationError: if it would not be, or if the database may not be written at all.
        SourceUnavailable: if it cannot be looked at.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return  # opening it says so
    except OSError as error:
        refuse_barred(path)
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}", "Check the disk and --sqlite") from error
    user = os.geteuid()
    if not os.access(path, os.W_OK) or not os.access(path.resolve().parent, os.W_OK):
        raise ConfigurationError(
            f"{path} or its directory may not be written by user {user}",
            f"Run edge-delta purge where the application runs, as user {stat.st_uid}; a read-only mount is for run",
        )
    if user not in (0, stat.st_uid):  # SQLite gives the files beside a database its owner only if it is root
        raise ConfigurationError(
            f"{path} belongs to user {stat.st_uid}, and a log that user {user} makes beside it may shut that one out",
            f"Run edge-delta purge as user {stat.st_uid}",
        )


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as first and last of those that follow each other."""
    first = last = None
    for number in ids:
        if last is not None and first is not None and number != last + 1:
            yield first, last
            first = number
        first, last = number if first is None else first, number
    if first is not None and last is not None:
        yield first, last
