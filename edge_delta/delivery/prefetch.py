"""Reading ahead of a backlog: while one batch is written, the next ones are read and prepared on other threads.

SQLite and the driver release the interpreter's lock, so two readers keep two cores busy. Each has a connection of its
own, from the one SQLite library of the process, and reads one extent in one short transaction; none spans an upload.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import Cursor
from edge_delta.source.database import Database
from edge_delta.source.reader import SQLiteSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from edge_delta.core.model import Batch
    from edge_delta.source.extents import Extent

_READERS = 2
_IN_FLIGHT = 2
"""Batches being read or waiting to be taken; with the one being written they bound the memory."""
_WORTH_ROWS = 100_000


@dataclass(slots=True)
class _Coming:
    """A batch that is being read."""

    after: int
    last: int
    future: Future[Batch | None]


class ReadAhead(SQLiteSource):
    """A `SQLiteSource` that reads ahead where the backlog is large and there is a second core."""

    def __init__(self, database: Database, table: str | None = None, timestamp: str | None = None) -> None:
        super().__init__(database, table, timestamp)
        self._coming: deque[_Coming] = deque()
        self._base = Cursor()
        self._pool: ThreadPoolExecutor | None = None
        self._free: SimpleQueue[SQLiteSource] = SimpleQueue()

    def read_after(
        self,
        cursor: Cursor,
        *,
        limit: int,
        upto: int | None = None,
        prepare: Callable[[Batch], object] | None = None,
    ) -> Batch | None:
        """See `SQLiteSource.read_after`."""
        if self._coming and self._coming[0].after != cursor.rowid:
            self._drop()
        if not self._coming:
            if upto is None or not self._worth(cursor, upto):
                return super().read_after(cursor, limit=limit, upto=upto)
            self._base = cursor
        self._fill(cursor, limit, upto, prepare)
        import polars as pl  # noqa: F401, PLC0415 - while the readers are inside SQLite; it is what they need next

        while self._coming:
            batch = self._coming.popleft().future.result()
            if batch is not None:
                self._extents.learn(batch)
                self._fill(batch.cursor, limit, upto, prepare)
                return replace(batch, cursor=cursor.moved_to(batch.cursor.rowid, batch.cursor.fingerprint))
        return None  # purged since they were counted

    def reopen(self) -> None:
        """See `SQLiteSource.reopen`."""
        self._drop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        while not self._free.empty():
            self._free.get().reopen()
        super().reopen()

    def _worth(self, cursor: Cursor, upto: int) -> bool:
        cores = len(os.sched_getaffinity(0))
        first = max(cursor.rowid, 0)
        return self._table.key_is_rowid and cores > 1 and upto - first > _WORTH_ROWS and not self.moved()

    def _fill(self, cursor: Cursor, limit: int, upto: int | None, prepare: Callable[[Batch], object] | None) -> None:
        """Start reading what comes next, up to the bound."""
        after = self._coming[-1].last if self._coming else cursor.rowid
        while len(self._coming) < _IN_FLIGHT and (upto is None or after < upto):
            with self._database.snapshot():
                extent = self._extents.next(self._table, after, limit=limit, upto=upto)
            if extent is None:
                return
            self._coming.append(_Coming(after, extent.last, self._submit(extent, prepare)))
            after = extent.last

    def _submit(self, extent: Extent, prepare: Callable[[Batch], object] | None) -> Future[Batch | None]:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for a backlog

            self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
            for _ in range(_READERS):
                own = Database(self._database.path)
                self._free.put(SQLiteSource(own, self._table.name, self._timestamp_name))
        return self._pool.submit(self._read_elsewhere, extent, self._base, prepare)

    def _read_elsewhere(self, extent: Extent, base: Cursor, prepare: Callable[[Batch], object] | None) -> Batch | None:
        reader = self._free.get()
        try:
            batch = reader.read_extent(extent, base)
        finally:
            self._free.put(reader)
        if not reader.same_file(self):
            raise SourceUnavailable(f"{self._database.path} was replaced while it was read")
        if batch is not None and batch.layout != self.layout:
            raise SourceUnavailable(f"table {self.table!r} in {self._database.path} was altered while it was read")
        return batch if batch is None or prepare is None else replace(batch, prepared=prepare(batch))

    def _drop(self) -> None:
        """Forget what was read ahead: the cursor went another way."""
        while self._coming:
            coming = self._coming.popleft().future
            if not coming.cancel():
                coming.exception()
