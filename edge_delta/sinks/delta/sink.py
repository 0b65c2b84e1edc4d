"""One Delta table: where a source stands in it, and appending rows and cursor in one commit.

delta-rs never compares the versions of ``txn`` actions; it only refuses a commit if another one with the same id came
since the handle's snapshot. So the cursor is read on the very handle that commits, and any error drops the handle.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    write_deltalake,
)
from msgspec.structs import replace

from edge_delta.core.errors import AccessRefused, CommitConflict, TableCrowded
from edge_delta.core.model import Commit, Cursor
from edge_delta.core.retry import Turns
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.delta import sql
from edge_delta.sinks.delta.cursors import COMMON_MARKS, Cursors
from edge_delta.sinks.delta.opened import OpenedTable, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from edge_delta.core.model import Mark
    from edge_delta.core.questions import Where
    from edge_delta.sinks.access import Access
    from edge_delta.sinks.delta.durable import Disk

_COMMIT_RETRIES = 4
"""Tries that delta-rs makes by itself, without a pause; then `Turns` paces them, and the data file is written again."""


class DeltaSink(OpenedTable):
    """One Delta table in a folder or an object store.

    Args:
        uri: the table's address.
        options: storage options for delta-rs, or who gives them, such as a catalog.
        app_id: from `application_id`.
        append_only: whether the table, when created here, refuses deletes and updates.
        retention: how long older versions can be read, when it is created here.
        statistics: columns that the log has limits of besides ids and times, when it is created here.
        marks: the marks that go with the cursor in this table.
        notes: what is recorded with every commit, for people who read the table's history; asked before each.
        wait: waits between tries where others write the table too, see `Turns`.
        disk: puts what is written on the disk, for a table in a folder.
        partition_by: "node_id" or "date", see `edge_delta.sinks.delta.partitions`; None for none, or as the table is.
    """

    def __init__(  # noqa: PLR0913 - one argument a property of the table
        self,
        uri: str,
        options: Mapping[str, str] | Access,
        app_id: str,
        *,
        append_only: bool = True,
        retention: timedelta = timedelta(days=7),
        statistics: Sequence[str] = (),
        marks: Sequence[Mark] = COMMON_MARKS,
        notes: Callable[[], Mapping[str, str]] | None = None,
        wait: Callable[[float], bool] | None = None,
        disk: Disk | None = None,
        partition_by: str | None = None,
    ) -> None:
        cursors = Cursors(app_id, marks)
        super().__init__(uri, options, cursors, retention=retention, disk=disk, partition_by=partition_by)
        self._append_only = append_only
        self._statistics = statistics
        self._notes = notes
        self._said: list[Callable[[Cursor, int], Mapping[str, str]]] = []
        self._turns = Turns(wait or threading.Event().wait)

    def annotated(self, notes: Mapping[str, str]) -> DeltaSink:
        """Record something more with every commit, for people who read the table's history."""
        before = self._notes
        self._notes = lambda: {**(before() if before is not None else {}), **notes}
        return self

    def saying(self, notes: Callable[[Cursor, int], Mapping[str, str]]) -> DeltaSink:
        """Record with every commit what is said of its cursor and its rows, for who looks at a whole fleet."""
        self._said.append(notes)
        return self

    def _commit_properties(self, cursor: Cursor, rows: int) -> CommitProperties:
        notes = dict(self._notes()) if self._notes is not None else {}
        for said in self._said:
            notes |= said(cursor, rows)
        return CommitProperties(
            custom_metadata=notes or None,
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
        started, tries, renewed = time.perf_counter(), 0, False
        self._turns.await_ours()
        while True:
            tries += 1
            try:
                with storage.translated(self.uri):  # also what fails between the requests, as a look into the folder
                    commit = self._append(frame, cursor, replacing, started)
            except AccessRefused as error:
                # What a catalog vended has ended before its time. The log says whether the commit stands.
                if renewed or not error.renewable:
                    raise
                renewed = True
            except TableCrowded:
                self._identity.overtaken()
                if not self._turns.lost():
                    raise
            else:
                self._turns.won()
                return replace(commit, tries=tries)

    def _append(self, frame: pl.DataFrame, cursor: Cursor, replacing: Where | None, started: float) -> Commit:
        try:
            self._try_the_store()
            table = self._open() or self._create(frame)
            self._refuse_to_go_back(cursor, table.version())
            fitted, added = self._fitted(table, frame)
            how: dict[str, Any] = {"mode": "append"}
            if replacing is not None:
                how = {"mode": "overwrite", "predicate": sql.condition(replacing)}
            with self._asked("append"):
                write_deltalake(
                    table,
                    frames().plain_arrow(fitted),
                    **how,
                    schema_mode="merge" if added else None,
                    writer_properties=frames().writer_properties(fitted.schema),
                    commit_properties=self._commit_properties(cursor, frame.height),
                    post_commithook_properties=self._after_commits(),
                )
                self._settle(table)
                self._identity.committed(table.version())
        except BaseException:
            self.forget()
            raise
        self._cursor = cursor
        self._commits += 1
        seconds = time.perf_counter() - started
        return Commit(self.uri, table.version(), frame.height, cursor, seconds, int(fitted.estimated_size()))

    def _try_the_store(self) -> None:
        reached = self.access.now()
        try:
            conditional_put.require(reached.location, reached.options)
        except AccessRefused as error:
            error.renewable = self.access.refused()
            raise

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
            self._try_the_store()
            with self._asked("update"):
                table.update(
                    updates={column: sql.timestamp(time)},
                    predicate=sql.condition(where),
                    post_commithook_properties=self._after_commits(),
                )
                self._settle(table)
        except BaseException:
            self.forget()
            raise

    def check(self, frame: pl.DataFrame) -> None:
        """Whether the table could take these rows.

        Raises:
            SchemaMismatch: if not.
        """
        table = self._open()
        if table is not None:
            self._fitted(table, frame)

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
        parts = frames().columns_of(self._partition_by)
        with self._asked("create"):
            frames().create(
                self.location,
                self.options,
                frames().dated(frame, parts).schema,
                append_only=self._append_only,
                retention=self._retention,
                statistics=self._statistics,
                partition_by=parts,
            )
            if self._disk is not None:
                self._disk.created()
        self.forget()
        table = self._open()
        if table is None:
            raise CommitConflict(f"table {self.uri} was removed while it was made")
        return table

    def _fitted(self, table: DeltaTable, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        whole = frames().dated(frame, table.metadata().partition_columns)
        return frames().fitted(whole, table.schema(), self.uri)  # type: ignore[no-any-return]
