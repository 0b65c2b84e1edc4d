"""One opened Delta table: where a source stands in it, and what it answers.

The handle and the cursor that was read with it stay until something fails, or the handle has made many commits: it
grows with them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from edge_delta.core.errors import AccessRefused, NotRegistered
from edge_delta.core.model import Cursor, Inventory
from edge_delta.sinks import access as reach
from edge_delta.sinks.delta.durable import require_folders_to
from edge_delta.sinks.delta.features import refuse_what_cannot_be_written
from edge_delta.sinks.delta.identity import Identity, restored
from edge_delta.sinks.delta.inventory import inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from types import ModuleType

    import polars as pl
    from deltalake import Schema

    from edge_delta.core.questions import Question
    from edge_delta.sinks.access import Access, Reached
    from edge_delta.sinks.delta.cursors import Cursors
    from edge_delta.sinks.delta.durable import Disk

T = TypeVar("T")

_COMMITS_PER_HANDLE = 100


def frames() -> ModuleType:
    """What a table needs Polars for."""
    from edge_delta.sinks.delta import frames  # noqa: PLC0415 - Polars, which an idle run has no use for

    return frames


def _refuse_another_layout(table: DeltaTable, partition_by: str, uri: str) -> None:
    from edge_delta.sinks.delta.partitions import refuse_another_layout  # noqa: PLC0415 - Polars, only where it is set

    refuse_another_layout(table, partition_by, uri)


def _renewing(work: Callable[[], T]) -> T:
    """What comes of it; once more where what a catalog vended has ended before its time."""
    try:
        return work()
    except AccessRefused as error:
        if not error.renewable:
            raise
    return work()


class OpenedTable:
    """A table in a folder or an object store, opened when it is first asked for.

    Args:
        uri: the table's address.
        options: storage options for delta-rs, or who gives them.
        cursors: reads the cursor.
        retention: how long older versions can be read.
        disk: puts what is written on the disk, for a table in a folder.
        partition_by: how the table must be partitioned; None for any way.
    """

    def __init__(  # noqa: PLR0913 - the table's place, and what is known of it
        self,
        uri: str,
        options: Mapping[str, str] | Access,
        cursors: Cursors,
        *,
        retention: timedelta,
        disk: Disk | None,
        partition_by: str | None,
    ) -> None:
        self.uri = uri
        self.access = reach.access_of(uri, options)
        self._reached: Reached | None = None
        self._cursors = cursors
        self._retention = retention
        self._disk = disk
        self._partition_by = partition_by
        self._handle: DeltaTable | None = None
        self._known_missing = False
        self._identity = Identity(uri)
        self._cursor: Cursor | None = None
        self._commits = 0

    @property
    def options(self) -> dict[str, str]:
        """The storage options that are good now."""
        return dict(self.access.now().options)

    @property
    def location(self) -> str:
        """Where delta-rs finds the table: its address, or what the catalog says."""
        return self.access.now().location

    # -- where it stands

    def exists(self) -> bool:
        """Whether there is a table at the address."""
        return self._open() is not None

    def committed(self) -> Cursor | None:
        """Where the log says that this source stands in this table; None if it has nothing of it."""
        if self._handle is None:
            self._open()
        return self._cursor

    def schema(self) -> Schema | None:
        """The table's schema, None if there is no table."""
        table = self._open()
        return None if table is None else table.schema()

    def columns(self) -> dict[str, pl.DataType | None]:
        """The table's columns as frame types, none if there is no table."""
        return frames().to_polars(self.schema())  # type: ignore[no-any-return]

    def columns_later(self) -> Callable[[], dict[str, pl.DataType | None]]:
        """`columns` as of now, for another thread and for one that has not imported Polars yet."""
        schema = self.schema()
        return lambda: frames().to_polars(schema)

    def ask(self, question: Question) -> pl.DataFrame:
        """What the table answers.

        Raises:
            StorageUnavailable: if the table cannot be read now.
        """

        def answer() -> pl.DataFrame:
            table = self._open()
            with self._asked("query"):
                return frames().answer(table, question)  # type: ignore[no-any-return]

        return _renewing(answer)

    def snapshot(self) -> DeltaTable | None:
        """The table for reading, also with features that cannot be written here; None if there is none.

        Raises:
            StorageUnavailable: if it cannot be read now.
        """
        with self._asked("open"):
            try:
                reached = self.access.now()
                return DeltaTable(reached.location, storage_options=reached.options or None)
            except (TableNotFoundError, NotRegistered):
                require_folders_to(self.uri)
                return None

    def version(self) -> int | None:
        """The table's version as of the last look at it."""
        return self._handle.version() if self._handle is not None else None

    def noted(self, name: str) -> int | None:
        """A number that the log has under a name, see `edge_delta.sinks.delta.lease`; None if it has none."""
        table = self._open()
        if table is None:
            return None
        with self._asked("open"):
            return table.transaction_version(name)

    def restored(self, since: int, most: int) -> int | None:
        """See `edge_delta.core.ports.Sink.restored`."""
        table = self._open()
        if table is None:
            return None
        with self._asked("open"):
            return restored(table, since, most)

    def forget(self) -> None:
        """Drop the handle and the cursor that was read with it."""
        self._handle = None
        self._cursor = None
        self._known_missing = False
        self._commits = 0

    def _open(self) -> DeltaTable | None:
        if self._handle is not None and (
            self._commits >= _COMMITS_PER_HANDLE  # a handle grows with the commits that it has made
            or self.access.now() is not self._reached  # and keeps the credentials that it was opened with
        ):
            self.forget()
        if self._handle is None and not self._known_missing:
            _renewing(self._opened_anew)
        return self._handle

    def _opened_anew(self) -> None:
        with self._asked("open"):
            if self._disk is not None:
                self._disk.prepare()
            self._reached = self.access.now()
            try:
                handle = DeltaTable(self._reached.location, storage_options=self._reached.options or None)
            except TableNotFoundError:
                require_folders_to(self.uri)
                self._known_missing = True
                return
            if self._disk is not None:
                self._disk.opened(handle.version())
            refuse_what_cannot_be_written(handle, self.uri)
            if self._partition_by is not None:
                _refuse_another_layout(handle, self._partition_by, self.uri)
            self._identity.check(handle)
            self._cursor = self._cursors.read(handle)
            self._handle = handle

    def _asked(self, operation: str) -> AbstractContextManager[None]:
        return reach.errors(self.uri, self.access, operation)

    def witnessed(self, generation: int) -> Cursor | None:
        """Where the source stood in a generation, with all its witnesses; None if it has nothing of that generation."""
        table = self._open()
        if table is None:
            return None
        with self._asked("open"):
            return self._cursors.witnessed(table, generation)

    def refused(self, frame: pl.DataFrame) -> Mapping[int, tuple[str, str]]:
        """See `edge_delta.core.ports.Sink.refused`."""
        table = self._open()
        if table is None:
            return {}
        with self._asked("query"):
            return frames().refused(table, frame, self.uri)  # type: ignore[no-any-return]

    def files(self, *, listing: bool = False) -> Inventory:
        """What the table's files come to: live ones, and the others too where they are listed."""
        table, now = self._open(), datetime.now(UTC)
        if table is None:
            return Inventory(0, 0, now.isoformat())
        with self._asked("list"):
            return inventory(table, self.uri, self._retention, now, listing=listing)
