"""The fleet's table of one mode, written by delta-rs."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    QueryBuilder,
    Schema,
    Transaction,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError

from edge_delta.core.errors import CommitConflict, EdgeDeltaError, ProtocolUnsupported
from edge_delta.gather import state as states
from edge_delta.gather.ahead import Ahead
from edge_delta.gather.logs import Log, Unreachable
from edge_delta.gather.rounds import Overtaken
from edge_delta.gather.rows import Rows, fitted, plain, prepared
from edge_delta.gather.state import APP, State
from edge_delta.gather.store import files_at, opened
from edge_delta.gather.takings import FilesGone, Refused, Shape, Taking, Way
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.delta import sql
from edge_delta.sinks.delta.creation import durable_properties
from edge_delta.sinks.delta.durable import disk_of
from edge_delta.sinks.delta.features import refuse_what_cannot_be_written
from edge_delta.sinks.delta.parquet import writer_properties

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_delta.gather.store import TableReader

RETENTION = timedelta(days=30)
"""How long the fleet's table keeps its log: what was taken stands in it."""
_NODE = "node_id"


class DeltaFleetTable:
    """One table for all devices; see `edge_delta.gather.rounds.FleetTable`.

    Args:
        uri: its address.
        options: storage options for delta-rs.
        shape: of the mode's tables.
        tables: the devices' tables.
    """

    def __init__(self, uri: str, options: Mapping[str, str], shape: Shape, tables: TableReader) -> None:
        self.uri = uri
        self._options = dict(options)
        self._shape = shape
        self._tables = tables
        self._disk = disk_of(uri)
        self._table: DeltaTable | None = None
        self._there: pa.Schema = pa.schema([])
        self._columns: pa.Schema = pa.schema([])

    @property
    def table(self) -> DeltaTable | None:
        """The table as of the last look at it, or the last commit; None if there is none."""
        return self._table

    def state(self) -> State:
        """What the table holds, from its own log.

        Raises:
            ProtocolUnsupported: if it is written by what is newer, or cannot be written here.
            StorageUnavailable: if the store does not answer.
        """
        conditional_put.require(self.uri, self._options)
        self._table = opened(self.uri, self._options)
        if self._table is None:
            self._there = self._columns = pa.schema([])
            return State()
        refuse_what_cannot_be_written(self._table, self.uri)
        self._there = self._columns = plain(pa.schema(self._table.schema().to_arrow()))
        return self._state_of(self._table)

    def _state_of(self, table: DeltaTable) -> State:
        root, _, name = self.uri.rpartition("/")
        try:
            return states.newest(Log(files_at(root, self._options), name), table.version())
        except ValueError as error:
            raise ProtocolUnsupported(f"the log of {self.uri} cannot be read: {error}", "Update edge-delta") from error

    def prepared(self, taking: Taking) -> Rows:
        """Look at a device's files; see `edge_delta.gather.rows.prepared`."""
        return prepared(taking, self._tables, self._shape.window)

    def fit(self, prepared: Rows) -> None:
        """Find room for a device's columns in the table.

        Raises:
            Refused: if one has another type than the table's, or than that of a device before it.
        """
        known = {one.name.lower(): one for one in self._columns}
        wrong = [
            f"{one.name} is {one.type}, expected {known[one.name.lower()].type}"
            for one in prepared.columns
            if one.name.lower() in known and known[one.name.lower()].type != one.type
        ]
        if wrong:
            raise Refused(f"its columns do not fit {self.uri}: {'; '.join(wrong)}")
        new = [one for one in prepared.columns if one.name.lower() not in known]
        self._columns = pa.schema([*self._columns, *new])

    def commit(self, prepared: Sequence[Rows], state: State) -> int:
        """Write rows and state in one commit.

        Returns:
            How many rows were written.

        Raises:
            Overtaken: if it may not have been written.
            StorageUnavailable: if the store did not take it.
            Unreachable: if a device's files cannot be read now.
        """
        if self._table is None and not self._columns.names:
            return 0  # tables without a row, of which nobody says the columns; they are asked again
        table = self._table or self._created()
        # What is asked of the table is asked before delta-rs pulls rows.
        known = self._known([one for one in prepared if one.taking.way is Way.MISSING])
        rows = Ahead(self._rows(prepared, known))
        stream = pa.RecordBatchReader.from_batches(self._columns, rows)
        how: dict[str, Any] = {"mode": "append"}
        replaced = [_condition(one) for one in prepared if one.taking.way is Way.REPLACE and not one.unchanged]
        if replaced:
            how = {"mode": "overwrite", "predicate": " OR ".join(f"({each})" for each in replaced)}
        try:
            with storage.errors(self.uri, "gather"):
                self._write(table, stream, how, state)
        except EdgeDeltaError as error:
            if isinstance(rows.failed, Unreachable):
                raise rows.failed from error
            if isinstance(error, CommitConflict) or isinstance(rows.failed, FilesGone):
                raise Overtaken(str(error)) from error
            raise
        finally:
            rows.close()
        return rows.count

    def _created(self) -> DeltaTable:
        """The table, made with the columns that were found.

        It is made before anything is written: of two that make it in the commit of their rows, delta-rs lets both in.

        Raises:
            Overtaken: if somebody else made it, or wrote it already.
        """
        with storage.errors(self.uri, "create"):
            try:
                DeltaTable.create(
                    self.uri,
                    Schema.from_arrow(self._columns),
                    mode="ignore",
                    configuration=durable_properties(_frame(self._columns).schema, RETENTION),
                    storage_options=self._options or None,
                )
            except CommitFailedError as error:
                raise Overtaken(f"{self.uri} was made by another process") from error
            if self._disk is not None:
                self._disk.created()
        self._table = opened(self.uri, self._options)
        if (
            self._table is None
            or plain(pa.schema(self._table.schema().to_arrow())) != self._columns
            or self._state_of(self._table) != State()
        ):
            raise Overtaken(f"{self.uri} was made by another process")
        self._there = self._columns
        return self._table

    def _write(self, table: DeltaTable, stream: pa.RecordBatchReader, how: Mapping[str, Any], state: State) -> None:
        write_deltalake(
            table,
            stream,
            **how,
            schema_mode="merge" if len(self._columns) > len(self._there) else None,
            writer_properties=writer_properties(_frame(self._columns).schema),
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": state.noted("delta-rs")},
                app_transactions=[Transaction(APP, state.round, round(time.time() * 1000))],
            ),
            post_commithook_properties=PostCommitHookProperties(
                create_checkpoint=self._disk is None, cleanup_expired_logs=False
            ),
        )
        self._there = self._columns
        if self._disk is not None:
            self._disk.committed(table.version())
            self._disk.checkpoint(table)

    def _rows(self, prepared: Sequence[Rows], known: pl.DataFrame) -> Iterator[pa.RecordBatch]:
        for one in prepared:
            for part in one.batches():
                whole = fitted(part, self._columns)
                yield from (_missing(whole, known) if one.taking.way is Way.MISSING else whole).to_batches()

    def _known(self, asked: Sequence[Rows]) -> pl.DataFrame:
        """The keys that the table has of some devices."""
        key = [name for name in self._shape.key if name in self._columns.names]
        none = _frame(self._columns).select(key)
        if not asked or self._table is None:
            return none
        there = [name for name in key if name in self._there.names]
        devices = ", ".join(sql.literal(one.taking.device) for one in asked)
        text = f"SELECT {', '.join(map(sql.column, there))} FROM t WHERE {sql.column(_NODE)} IN ({devices})"
        with storage.errors(self.uri, "ask"):
            found = pl.DataFrame(QueryBuilder().register("t", self._table).execute(text).read_all())
        return pl.concat([none, found.cast(none.select(there).schema)], how="diagonal")


def _frame(columns: pa.Schema) -> pl.DataFrame:
    return pl.DataFrame(columns.empty_table())


def _missing(rows: pa.Table, known: pl.DataFrame) -> pa.Table:
    """The rows whose keys are not known."""
    place = "_place"
    keys = pl.DataFrame(rows.select(known.columns)).with_row_index(place)
    left = keys.join(known, on=known.columns, how="anti", nulls_equal=True, maintain_order="left")
    return rows.take(left.get_column(place).to_arrow())


def _condition(rows: Rows) -> str:
    """The rows that a device's go in place of."""
    own = f"{sql.column(_NODE)} = {sql.literal(rows.taking.device)}"
    if rows.span is None:
        return own
    first, last = map(sql.timestamp, rows.span)
    return f"{own} AND {sql.column(rows.window)} >= {first} AND {sql.column(rows.window)} <= {last}"
