"""How many rows a table has up to a key, by which it is told whether rows came that are not behind the cursor.

Counting all rows of a table steps over its pages alone, and takes a third of what counting a range of ids does, which
visits each row. Neither reads a cell.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.counting import FEW_ROWS, SAMPLES, Counts, Times
from edge_delta.core.digests import blake2b
from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.source import time_order
from edge_delta.source.database import quoted
from edge_delta.source.refusals import UnknownOrder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from edge_delta.core.model import Column
    from edge_delta.source.database import Database
    from edge_delta.source.schema import Table

_SURE_AFTER = 2_000_000_000
"""Nanoseconds after which another writing has another time, whatever the file system's clock is."""
_HALF = 31
_MOST_ROWS = 2**30
_LARGEST = 2**63 - 1


class Census(Struct, frozen=True):
    """Counts the rows of one table.

    Args:
        database: the file.
        looking: opens a read transaction, and gives the table as it is now.
    """

    database: Database
    looking: Callable[[], AbstractContextManager[Table]]

    def written(self) -> str | None:
        """What changes whenever the file or its log is written, in no words; None while that is not sure yet."""
        stats = self._stats()
        if any(time.time_ns() - stat.st_mtime_ns < _SURE_AFTER for stat in stats):
            return None
        found = [number for s in stats for number in (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)]
        return blake2b(repr(found).encode(), digest_size=8).hexdigest()

    def state(self) -> object:
        """What changes at once whenever another process writes, beside the times of its files if it was opened anew."""
        return self.database.state(), [(stat.st_size, stat.st_mtime_ns) for stat in self._stats()]

    def _stats(self) -> list[os.stat_result]:
        path, found = self.database.path.resolve(), []
        for file in (path, path.with_name(path.name + "-wal")):
            with contextlib.suppress(FileNotFoundError):
                found.append(file.stat())
        return found

    # -- of tables with ids

    def counts(self, after: int, upto: int) -> Counts:
        """What a range of ids has; visits the pages of these rows, and no index."""
        with self.looking() as table:
            key, rows = table.key, _rows(table, after, upto)
            if max(abs(after), abs(upto)) * min(upto - after, _MOST_ROWS) < _LARGEST and after != BEFORE_FIRST:
                [found] = self.database.rows(f"SELECT count(*), ifnull(sum({key}), 0) {rows}")
                return Counts(*found)
            halves = f"ifnull(sum({key} >> {_HALF}), 0), ifnull(sum({key} & {(1 << _HALF) - 1}), 0)"
            [(count, high, low)] = self.database.rows(f"SELECT count(*), {halves} {rows}")
            return Counts(count, (high << _HALF) + low)

    def total(self) -> int:
        """All rows, whatever their keys are."""
        with self.looking() as table:
            asked = f"SELECT count(*) FROM {quoted(table.name)}"
            try:
                return int(self.database.scalar(asked))
            except UnknownOrder:  # it is counted by the smallest index, which has a collation of the application's
                return int(self.database.scalar(f"{asked} NOT INDEXED"))

    def ends(self, after: int, upto: int) -> tuple[int | None, int | None]:
        """The first and the last id of a range."""
        with self.looking() as table:
            rows = _rows(table, after, upto)
            first = self.database.scalar(f"SELECT min({table.key}) {rows}")
            return first, None if first is None else self.database.scalar(f"SELECT max({table.key}) {rows}")

    def behind(self, key: int) -> int:
        """How many rows are behind a key."""
        with self.looking() as table:
            name = quoted(table.name)
            return int(self.database.scalar(f"SELECT count(*) FROM {name} WHERE {table.behind(key)}"))

    def ids(self, after: int, upto: int, *, timed: bool) -> list[tuple[int, int]]:
        """The ids of a range in their order, with a checksum of each row's time, or 0."""
        with self.looking() as table:
            stamp = _stamp(table) if timed else None
            rows = f"{_rows(table, after, upto)} ORDER BY {table.key}"
            if stamp is None:
                return [(i, 0) for (i,) in self.database.rows(f"SELECT {table.key} {rows}")]
            asked = f"SELECT {table.key}, {_bytes_of(stamp)} {rows}"
            return [(i, _sum_of(time)) for i, time in self.database.rows(asked)]

    # -- times

    def times(self, ranges: Sequence[tuple[int, int, Counts]], first: int | None, *, most: int) -> list[Times]:
        """What `edge_delta.core.counting.Census.times` says."""
        with self.looking() as table:
            stamp = _stamp(table)
            if stamp is None:
                return [Times()] * len(ranges)
            sampled = [self._here_and_there(table, after, upto, first) if c.rows else [] for after, upto, c in ranges]
            there = dict(self._stamps(table, stamp, chain.from_iterable(sampled)))
            summed = sum(counts.rows for _, _, counts in ranges) <= most
            found = []
            for (after, upto, counts), ids in zip(ranges, sampled, strict=True):
                rows = _rows(table, after, upto)
                latest = self._latest(stamp, rows) if 0 < counts.rows <= FEW_ROWS else ""
                total = self.database.scalar(f"SELECT arrow_sum({table.key}, {stamp}) {rows}") if summed else None
                found.append(Times(latest, tuple((i, there[i]) for i in ids if i in there), total))
            return found

    def _latest(self, stamp: str, rows: str) -> str:
        found = self.database.scalar(f"SELECT {_bytes_of(f'max({stamp})')} {rows}")
        return bytes.fromhex(found).decode("utf-8", "backslashreplace")

    def _here_and_there(self, table: Table, after: int, upto: int, first: int | None) -> list[int]:
        if first is not None:
            return _spread(max(first, after + 1), upto)
        lowest = self.database.scalar(f"SELECT min({table.key}) {_rows(table, after, upto)}")
        if lowest is None:  # purged since they were counted
            return []
        near = "SELECT * FROM (SELECT {0} AS k FROM {1} WHERE {0} <= {2} ORDER BY {0} DESC LIMIT 1)"
        looked = " UNION ALL ".join(near.format(table.key, quoted(table.name), i) for i in _spread(lowest, upto))
        return [i for (i,) in self.database.rows(f"SELECT DISTINCT k FROM ({looked}) ORDER BY k")]

    def stamps(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """A checksum of the time of each of some rows, as far as they are there."""
        with self.looking() as table:
            stamp = _stamp(table)
            return [] if stamp is None else self._stamps(table, stamp, ids)

    def _stamps(self, table: Table, stamp: str, ids: Iterable[int]) -> list[tuple[int, int]]:
        some = ", ".join(map(str, ids))
        asked = f"SELECT {table.key}, {_bytes_of(stamp)} FROM {quoted(table.name)} WHERE {table.key} IN ({some})"
        return [(i, _sum_of(time)) for i, time in self.database.rows(asked)]

    # -- of rows that were updated

    def last_change(self, column: str) -> int:
        """The latest time of a column, in milliseconds since 1970, and no later than now; visits all rows."""
        with self.looking() as table:
            found = _changing(table, column)
            latest = self.database.scalar(f"SELECT max({time_order.milliseconds(found)}) FROM {quoted(table.name)}")
        # One row ahead of the clock must not hide those that come after it.
        return min(latest or 0, time_order.settled(found))

    def changed_since(
        self, column: str, since: int | None, *, after: int, upto: int, limit: int
    ) -> tuple[list[int], int]:
        """The ids of rows with a later time in a column, and the latest of these times, no later than now.

        By an index on the column, if there is one.
        """
        with self.looking() as table:
            found = _changing(table, column)
            where = _rows(table, after, upto)
            if since is not None:
                where += f" AND {time_order.behind(found, since)} AND {time_order.milliseconds(found)} > {since}"
            asked = f"SELECT {table.key} AS k, {time_order.milliseconds(found)} {where} ORDER BY k LIMIT {limit}"
            rows = self.database.rows(asked)
            return [i for i, _ in rows], min(max((at for _, at in rows), default=0), time_order.settled(found))

    # -- of tables in the order of time

    def primary(self) -> tuple[str, ...]:
        """The columns of the primary key, as frames name them; none of a view."""
        with self.looking() as table:
            return table.primary

    def cells(self, width: int, upto: int) -> dict[int, tuple[int, int]]:
        """How many rows each stretch of time has, and the sum of their keys within it; visits all rows.

        Args:
            width: of a stretch, in milliseconds; the first begins in 1970.
            upto: the last key that counts.
        """
        with self.looking() as table:
            # SQLite divides towards zero: without the shift, two stretches would be the first one.
            shift = f"(k - {BEFORE_FIRST // 2 // width * width})"
            inner = f"SELECT {table.key} AS k FROM {quoted(table.name)}"
            totals = f"{shift} / {width}, count(*), sum({shift} % {width})"
            found = self.database.rows(f"SELECT {totals} FROM ({inner}) WHERE k <= {upto} GROUP BY 1")
        return {cell + BEFORE_FIRST // 2 // width: (rows, ids) for cell, rows, ids in found}


def _changing(table: Table, name: str) -> Column:
    """The column with the time of a row's last change.

    Raises:
        SourceUnavailable: if it is gone.
    """
    found = table.column(name)
    if found is None:
        raise SourceUnavailable(f"table {table.name!r} has no column {name!r} now", "Check updated_column")
    return found


def _rows(table: Table, after: int, upto: int) -> str:
    bounds = [f"{table.key} > {after}"] if after != BEFORE_FIRST else []
    return f"FROM {quoted(table.name)} WHERE {' AND '.join([*bounds, f'{table.key} <= {upto}'])}"


def _spread(first: int, last: int) -> list[int]:
    """Ids at even distance; the last of them is the last of all."""
    return sorted({first + (last - first) * i // SAMPLES for i in range(1, SAMPLES + 1)})


def _stamp(table: Table) -> str | None:
    """SQL for the time as it is stored; by its bytes, because the column's own order may be one that we do not know."""
    return None if table.timestamp is None else f"{quoted(table.timestamp.name)} COLLATE BINARY"


def _bytes_of(cell: str) -> str:
    """SQL for a cell in hexadecimal digits, which are text whatever the cell holds."""
    return f"ifnull(hex(CAST({cell} AS BLOB)), '')"


def _sum_of(digits: str) -> int:
    return zlib.crc32(digits.encode())
