"""Reading ahead of a backlog: while one batch is written, the next ones are read and worked on by other threads.

A batch is read once for all lanes that stand at the same row and take it one after the other; the last of them lets go
of it. What lies close behind another place is read beside that: alerts do not wait for what is read ahead of a backlog.

SQLite and the driver release the interpreter's lock, so two readers keep two cores busy. Each has a connection of its
own, from the one SQLite library of the process, and reads one extent in one short transaction; none spans an upload.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.machine import cores
from edge_delta.core.memory import PLAIN
from edge_delta.core.model import Cursor, Mark

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from edge_delta.core.model import Batch
    from edge_delta.source import SQLiteSource
    from edge_delta.source.extents import Extent

W = TypeVar("W")
"""What the work on a batch comes to."""

_READERS = 2
_WORTH_ROWS = 100_000


class _Coming(Struct, Generic[W]):
    """A batch that is being read."""

    after: int
    last: int
    future: Future[tuple[Batch, W | None] | None]


class _Kept(Struct, frozen=True):
    """A batch that the next lane takes too."""

    before: Cursor
    limit: int
    batch: Batch

    def suits(self, cursor: Cursor, limit: int, upto: int | None) -> bool:
        """Whether the same rows would be read now."""
        same = stand_together(self.before, cursor) and limit == self.limit
        return same and (upto is None or self.batch.cursor.rowid <= upto)


def stand_together(one: Cursor, other: Cursor) -> bool:
    """Whether two lanes go on behind the same row of the same source, by all that a cursor says of it."""
    return _place(one) == _place(other)


def _place(cursor: Cursor) -> tuple[int, int, int | None, tuple[int, ...]]:
    # After a start, a cursor has the first of its witnesses alone until the others are asked for.
    return cursor.generation, cursor.rowid, cursor.fingerprint, cursor.witnesses[:1]


def _behind(batch: Batch, cursor: Cursor) -> Batch:
    """A batch as it goes on from a lane's cursor, with what the lane keeps there."""
    ends = batch.cursor
    counted = {Mark.COUNTED: ends.marks[Mark.COUNTED]} if Mark.COUNTED in ends.marks else {}
    return replace(batch, cursor=cursor.moved_to(ends.rowid, ends.witnesses).marked(**counted))


class Room:
    """How many batches may be read ahead at a time, by one source or by several together: they bound the memory.

    Args:
        batches: how many.
    """

    def __init__(self, batches: int = PLAIN.ahead) -> None:
        self.left = batches


class ReadAhead(Generic[W]):
    """Reads a source, and ahead of what is asked for where the backlog is large and there is a second core.

    Args:
        source: the source, which knows nothing of it.
        room: of all sources of the process, where there are several.
    """

    def __init__(self, source: SQLiteSource, room: Room | None = None) -> None:
        self.source = source
        self._room = room or Room()
        self._coming: deque[_Coming[W]] = deque()
        self._base = Cursor()
        self._kept: _Kept | None = None
        self._most = PLAIN.ahead
        self._pool: ThreadPoolExecutor | None = None
        self._free: deque[SQLiteSource] = deque()  # as many as the pool has threads: none ever waits for one

    def read_after(
        self,
        cursor: Cursor,
        work: Callable[[Batch], W | None],
        *,
        limit: int,
        upto: int | None = None,
        kept: bool = False,
    ) -> tuple[Batch, W | None] | None:
        """The next batch (see `SQLiteSource.read_after`), and what came of the work on it if it was read ahead.

        Args:
            cursor: where to go on.
            work: what to do with a batch that is read ahead, on the thread that reads it.
            limit: the most rows.
            upto: the last key to read, None for all there are.
            kept: whether another lane takes the same batch next.
        """
        if self._kept is not None and self._kept.suits(cursor, limit, upto):
            batch = _behind(self._kept.batch, cursor)
            self._kept = self._kept if kept else None
            return batch, None
        self._most = 1 if kept else PLAIN.ahead  # what several lanes make of a batch takes time and room
        found = self._read_after(cursor, work, limit, upto)
        if found is not None and kept:
            self._kept = _Kept(cursor, limit, found[0])
        return found

    def _read_after(
        self, cursor: Cursor, work: Callable[[Batch], W | None], limit: int, upto: int | None
    ) -> tuple[Batch, W | None] | None:
        if not (self._coming and self._coming[0].after == cursor.rowid):
            long = upto is not None and self._worth(cursor, upto)
            if long:
                self._drop()
            if not (long and self._room.left):
                batch = self.source.read_after(cursor, limit=limit, upto=upto)
                return None if batch is None else (batch, None)
            self._base = cursor
        self._fill(cursor, work, limit, upto)
        import polars as pl  # noqa: F401, PLC0415 - while the readers are inside SQLite; it is what they need next

        while self._coming:
            coming = self._coming.popleft()
            self._room.left += 1
            ready = coming.future.result()
            if ready is not None:
                batch, done = ready
                self.source.learn(batch)
                self._fill(batch.cursor, work, limit, upto)
                return _behind(batch, cursor), done
        return None  # purged since they were counted

    def leave(self) -> None:
        """Let go of what was read and not taken."""
        self._kept = None
        self._drop()

    def reopen(self) -> None:
        """Close all connections; the next read opens the file that is there then."""
        self.renew()
        self.source.reopen()

    def rest(self) -> None:
        """Close what only a backlog needs, unless one is being read."""
        if self._pool is not None and not self._coming:
            self.renew()

    def renew(self) -> None:
        """Forget the readers: the next ones read as the source is to be read now."""
        self.leave()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        while self._free:
            self._free.popleft().reopen()

    def _worth(self, cursor: Cursor, upto: int) -> bool:
        long = upto - max(cursor.rowid, 0) > _WORTH_ROWS
        asked = self.source.reads_ahead and self.source.keyed_by_rowid
        return asked and cores() > 1 and long and not self.source.moved()

    def _fill(self, cursor: Cursor, work: Callable[[Batch], W | None], limit: int, upto: int | None) -> None:
        """Start reading what comes next, up to the bound."""
        after = self._coming[-1].last if self._coming else cursor.rowid
        while self._room.left and len(self._coming) < self._most and (upto is None or after < upto):
            extent = self.source.extent_after(after, limit=limit, upto=upto)
            if extent is None:
                return
            self._room.left -= 1
            self._coming.append(_Coming(after, extent.last, self._submit(extent, work)))
            after = extent.last

    def _submit(self, extent: Extent, work: Callable[[Batch], W | None]) -> Future[tuple[Batch, W | None] | None]:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for a backlog

            self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
            for _ in range(_READERS):
                self._free.append(self.source.twin())
        return self._pool.submit(self._read_elsewhere, extent, self._base, work)

    def _read_elsewhere(
        self, extent: Extent, base: Cursor, work: Callable[[Batch], W | None]
    ) -> tuple[Batch, W | None] | None:
        reader = self._free.popleft()
        try:
            batch = reader.read_extent(extent, base)
        finally:
            self._free.append(reader)
        source = self.source
        if reader.file != source.file:
            raise SourceUnavailable(f"{source.path} was replaced while it was read")
        if batch is not None and batch.layout.names != source.layout.names:
            raise SourceUnavailable(f"table {source.table!r} in {source.path} was altered while it was read")
        return None if batch is None else (batch, work(batch))

    def _drop(self) -> None:
        """Forget what was read ahead: the cursor went another way."""
        while self._coming:
            coming = self._coming.popleft().future
            self._room.left += 1
            if not coming.cancel():
                coming.exception()
