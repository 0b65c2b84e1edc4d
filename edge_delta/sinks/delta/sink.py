"""One Delta table: where a source stands in it, and appending rows and cursor in one commit.

delta-rs never compares the versions of ``txn`` actions; it only refuses a commit if another one with the same id came
since the handle's snapshot. So the cursor is read on the very handle that commits, and any error drops the handle.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    write_deltalake,
)
from deltalake.exceptions import TableNotFoundError
from msgspec.structs import replace

from edge_delta.core.errors import CommitConflict, TableCrowded
from edge_delta.core.model import Commit, Cursor, Inventory
from edge_delta.core.retry import Turns
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.delta import sql
from edge_delta.sinks.delta.cursors import COMMON_MARKS, Cursors
from edge_delta.sinks.delta.features import refuse_what_cannot_be_written
from edge_delta.sinks.delta.identity import Identity
from edge_delta.sinks.delta.inventory import inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    import polars as pl
    from deltalake import Schema

    from edge_delta.core.model import Mark
    from edge_delta.core.questions import Question, Where
    from edge_delta.sinks.delta.durable import Disk

_COMMITS_PER_HANDLE = 100
_COMMIT_RETRIES = 4
"""Tries that delta-rs makes by itself, without a pause; then `Turns` paces them, and the data file is written again."""


def _frames() -> ModuleType:
    """What a table needs Polars for."""
    from edge_delta.sinks.delta import frames  # noqa: PLC0415 - Polars, which an idle run has no use for

    return frames


class DeltaSink:
    """One Delta table in a folder or an object store.

    Args:
        uri: the table's address.
        options: storage options for delta-rs.
        app_id: from `application_id`.
        append_only: whether the table, when created here, refuses deletes and updates.
        retention: how long older versions can be read, when it is created here.
        statistics: columns that the log has limits of besides ids and times, when it is created here.
        marks: the marks that go with the cursor in this table.
        notes: recorded with every commit, for people who read the table's history.
        wait: waits between tries where others write the table too, see `Turns`.
        disk: puts what is written on the disk, for a table in a folder.
    """

    def __init__(  # noqa: PLR0913 - one argument a property of the table
        self,
        uri: str,
        options: Mapping[str, str],
        app_id: str,
        *,
        append_only: bool = True,
        retention: timedelta = timedelta(days=7),
        statistics: Sequence[str] = (),
        marks: Sequence[Mark] = COMMON_MARKS,
        notes: Mapping[str, str] | None = None,
        wait: Callable[[float], bool] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.uri = uri
        self._options = dict(options)
        self._append_only = append_only
        self._retention = retention
        self._statistics = statistics
        self._cursors = Cursors(app_id, marks)
        self._notes = dict(notes or {})
        self._disk = disk
        self._turns = Turns(wait or threading.Event().wait)
        self._handle: DeltaTable | None = None
        self._known_missing = False
        self._identity = Identity(uri)
        self._cursor: Cursor | None = None
        self._commits = 0

    @property
    def options(self) -> dict[str, str]:
        """The storage options."""
        return dict(self._options)

    # -- where it stands

    def exists(self) -> bool:
        """Whether there is a table at the address."""
        return self._open() is not None

    def committed(self) -> Cursor | None:
        """Where the log says that this source stands in this table; None if it has nothing of it."""
        self._open()
        return self._cursor

    def schema(self) -> Schema | None:
        """The table's schema, None if there is no table."""
        table = self._open()
        return None if table is None else table.schema()

    def columns(self) -> dict[str, pl.DataType | None]:
        """The table's columns as frame types, none if there is no table."""
        return _frames().to_polars(self.schema())  # type: ignore[no-any-return]

    def columns_later(self) -> Callable[[], dict[str, pl.DataType | None]]:
        """`columns` as of now, for another thread and for one that has not imported Polars yet."""
        schema = self.schema()
        return lambda: _frames().to_polars(schema)

    def ask(self, question: Question) -> pl.DataFrame:
        """What the table answers.

        Raises:
            StorageUnavailable: if the table cannot be read now.
        """
        table = self._open()
        with storage.errors(self.uri, "query"):
            return _frames().answer(table, question)  # type: ignore[no-any-return]

    def snapshot(self) -> DeltaTable | None:
        """The table for reading, also with features that cannot be written here; None if there is none.

        Raises:
            StorageUnavailable: if it cannot be read now.
        """
        with storage.errors(self.uri, "open"):
            try:
                return DeltaTable(self.uri, storage_options=self._options or None)
            except TableNotFoundError:
                return None

    def version(self) -> int | None:
        """The table's version as of the last look at it."""
        return self._handle.version() if self._handle is not None else None

    def noted(self, name: str) -> int | None:
        """A number that the log has under a name, see `edge_delta.sinks.delta.lease`; None if it has none."""
        table = self._open()
        if table is None:
            return None
        with storage.errors(self.uri, "open"):
            return table.transaction_version(name)

    def forget(self) -> None:
        """Drop the handle and the cursor that was read with it."""
        self._handle = None
        self._cursor = None
        self._known_missing = False
        self._commits = 0

    def _open(self) -> DeltaTable | None:
        if self._handle is not None and self._commits >= _COMMITS_PER_HANDLE:
            self.forget()  # a handle grows with the commits that it has made
        if self._handle is None and not self._known_missing:
            with storage.errors(self.uri, "open"):
                if self._disk is not None:
                    self._disk.prepare()
                try:
                    handle = DeltaTable(self.uri, storage_options=self._options or None)
                except TableNotFoundError:
                    self._known_missing = True
                    return None
                if self._disk is not None:
                    self._disk.opened(handle.version())
                refuse_what_cannot_be_written(handle, self.uri)
                self._identity.check(str(handle.metadata().id))
                self._cursor = self._cursors.read(handle)
                self._handle = handle
        return self._handle

    def witnessed(self, generation: int) -> Cursor | None:
        """Where the source stood in a generation, with all its witnesses; None if it has nothing of that generation."""
        table = self._open()
        return None if table is None else self._cursors.witnessed(table, generation)

    def _commit_properties(self, cursor: Cursor) -> CommitProperties:
        return CommitProperties(
            custom_metadata=self._notes or None,
            app_transactions=self._cursors.transactions(cursor, self._cursor, anew=not self._commits),
            max_commit_retries=_COMMIT_RETRIES,
        )

    # -- appending

    def append(self, frame: pl.DataFrame, cursor: Cursor, *, replacing: Where | None = None) -> Commit:
        """Append rows and cursor in one commit; creates the table, and adds columns that it does not have.

        Args:
            frame: the rows, columns in the table's types; may be empty.
            cursor: where the source stands after them.
            replacing: which rows go in the same commit; all rows of ``frame`` must be such.

        Raises:
            SchemaMismatch: if a column has another type than the table's, or the table demands one that is not there.
            CommitConflict: if the log has moved for this source, or the answer to the commit was lost.
            UnsafeStore: if the store lets one commit overwrite another.
            StorageUnavailable: if the store did not take it.
        """
        started, tries = time.perf_counter(), 0
        self._turns.await_ours()
        while True:
            tries += 1
            try:
                commit = self._append(frame, cursor, replacing, started)
            except TableCrowded:
                if not self._turns.lost():
                    raise
            else:
                self._turns.won()
                return replace(commit, tries=tries)

    def _append(self, frame: pl.DataFrame, cursor: Cursor, replacing: Where | None, started: float) -> Commit:
        try:
            conditional_put.require(self.uri, self._options)
            table = self._open() or self._create(frame)
            self._refuse_to_go_back(cursor, table.version())
            fitted, added = self._fitted(table, frame)
            how: dict[str, Any] = {"mode": "append"}
            if replacing is not None:
                how = {"mode": "overwrite", "predicate": sql.condition(replacing)}
            with storage.errors(self.uri, "append"):
                write_deltalake(
                    table,
                    _frames().plain_arrow(fitted),
                    **how,
                    schema_mode="merge" if added else None,
                    writer_properties=_frames().writer_properties(fitted.schema),
                    commit_properties=self._commit_properties(cursor),
                    post_commithook_properties=self._after_commits(),
                )
                self._settle(table)
        except BaseException:
            self.forget()
            raise
        self._cursor = cursor
        self._commits += 1
        seconds = time.perf_counter() - started
        return Commit(self.uri, table.version(), frame.height, cursor, seconds, int(fitted.estimated_size()))

    def _after_commits(self) -> PostCommitHookProperties:
        """What delta-rs does after a commit. Cleaning up lists the whole log; upkeep does it."""
        return PostCommitHookProperties(create_checkpoint=self._disk is None, cleanup_expired_logs=False)

    def _settle(self, table: DeltaTable) -> None:
        """Put what was committed on the disk, before anybody hears of it."""
        if self._disk is not None:
            self._disk.committed(table.version())
            self._disk.checkpoint(table)

    def stamp(self, column: str, time: datetime, where: Where) -> None:
        """Set a column of some rows to a time.

        Raises:
            CommitConflict: if another commit touched the same files.
            StorageUnavailable: if the store did not take it.
        """
        table = self._open()
        if table is None:
            return
        try:
            conditional_put.require(self.uri, self._options)
            with storage.errors(self.uri, "update"):
                table.update(
                    updates={column: sql.timestamp(time)},
                    predicate=sql.condition(where),
                    post_commithook_properties=self._after_commits(),
                )
                self._settle(table)
        except BaseException:
            self.forget()
            raise

    def refused(self, frame: pl.DataFrame) -> Mapping[int, tuple[str, str]]:
        """See `edge_delta.core.ports.Sink.refused`."""
        table = self._open()
        return {} if table is None else _frames().refused(table, frame, self.uri)

    def check(self, frame: pl.DataFrame) -> None:
        """Whether the table could take these rows.

        Raises:
            SchemaMismatch: if not.
        """
        table = self._open()
        if table is not None:
            self._fitted(table, frame)

    def files(self, *, listing: bool = False) -> Inventory:
        """What the table's files come to: live ones, and the others too where they are listed."""
        table, now = self._open(), datetime.now(UTC)
        if table is None:
            return Inventory(0, 0, now.isoformat())
        with storage.errors(self.uri, "list"):
            return inventory(table, self.uri, self._retention, now, listing=listing)

    def _refuse_to_go_back(self, cursor: Cursor, version: int) -> None:
        if self._disk is not None and not self._disk.same(version):
            raise CommitConflict(f"the log of table {self.uri} is not the one that was opened")
        stands = self._cursor
        if stands is None:
            return
        ours, theirs = ((c.generation, c.rowid) for c in (cursor, stands))
        if ours < theirs or (ours == theirs and cursor.marks == stands.marks):
            raise CommitConflict(f"table {self.uri} already holds rows up to {stands.rowid}")

    def _create(self, frame: pl.DataFrame) -> DeltaTable:
        self._identity.forget()
        with storage.errors(self.uri, "create"):
            _frames().create(
                self.uri,
                self._options,
                frame.schema,
                append_only=self._append_only,
                retention=self._retention,
                statistics=self._statistics,
            )
            if self._disk is not None:
                self._disk.created()
        self.forget()
        table = self._open()
        if table is None:
            raise CommitConflict(f"table {self.uri} was removed while it was made")
        return table

    def _fitted(self, table: DeltaTable, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        return _frames().fitted(frame, table.schema(), self.uri)  # type: ignore[no-any-return]
