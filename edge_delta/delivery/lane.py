"""A lane: one mode's way from the source to its table, and what it rejects to the rejected table."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_delta.core.errors import SourceReset
from edge_delta.core.events import Event, Log
from edge_delta.core.model import BEFORE_FIRST, Batch, Commit, Context, Cursor, Mark, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import polars as pl

    from edge_delta.delivery.fitting import Made
    from edge_delta.modes.base import LastValues, Mode, TableQuery
    from edge_delta.sinks.delta.sink import DeltaSink
    from edge_delta.sinks.delta.upkeep import Keeper
    from edge_delta.source import SQLiteSource


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch came to: read = written + rejected + not selected.

    Attributes:
        read: rows read from the source.
        rejected: rows in the rejected table.
        commit: the commit that carries the kept rows; None if there were none to write.
        first_rowid: where the batch began.
        cursor: where it ended.
        last_time: the largest time among the kept rows, None if they have none.
    """

    read: int
    rejected: int
    commit: Commit | None
    first_rowid: int
    cursor: Cursor
    last_time: datetime | None

    @property
    def written(self) -> int:
        """Rows in the mode's table."""
        return self.commit.rows if self.commit is not None else 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What was made of a batch ahead of its time, and for whom."""

    mode: Mode
    cursor: Cursor
    made: Made

    def suits(self, mode: Mode, cursor: Cursor, there: Mapping[str, pl.DataType | None]) -> bool:
        """Whether the same would be made of it now."""
        from edge_delta.sinks.delta.types import differing  # noqa: PLC0415

        own = self.cursor
        same = self.mode is mode and (own.generation, own.marks) == (cursor.generation, cursor.marks)
        return same and not differing(self.made.kept.schema, there)


class Lane:
    """One mode's way.

    Args:
        name: the mode's name.
        source: where rows come from.
        load_mode: builds the mode; called when the first batch is there.
        sink: the mode's table.
        rejects: the rejected table.
        node_id: this device.
        stop_on_reset: whether a replaced source stops the process instead of starting a new generation.
        keepers: those who look after the mode's table and the rejected one, if this process does.
        urgent: for modes where a new row counts at once: seconds between looks at the source; None for the others.
        now: the clock, in UTC.
        log: where events go.
    """

    def __init__(  # noqa: PLR0913 - the parts that meet here, each named
        self,
        name: str,
        *,
        source: SQLiteSource,
        load_mode: Callable[[], Mode],
        sink: DeltaSink,
        rejects: DeltaSink,
        node_id: str,
        stop_on_reset: bool,
        keepers: tuple[Keeper, Keeper] | None = None,
        urgent: float | None = None,
        now: Callable[[], datetime],
        log: Log,
    ) -> None:
        self.name = name
        self.urgent = urgent
        self._keepers = keepers
        self.sink = sink
        self._source = source
        self._load_mode = load_mode
        self._loaded: Mode | None = None
        self._loading = threading.Lock()
        self._memory: pl.DataFrame | None = None
        self.rejects = rejects
        self._node_id = node_id
        self._stop_on_reset = stop_on_reset
        self._now = now
        self._log = log
        self._start = Cursor()
        self._ahead: Cursor | None = None

    # -- where it stands

    def cursor(self) -> Cursor:
        """Where this lane goes on: behind the last row that it settled."""
        return self._ahead or self.sink.committed() or self._start

    def start_from(self, cursor: Cursor) -> None:
        """Where to begin if the table has no cursor of this source."""
        self._start = cursor

    def forget(self) -> None:
        """Drop all that is cached after an error; the log decides again."""
        self._ahead = None
        self._memory = None
        self.sink.forget()
        self.rejects.forget()

    def check_source(self) -> None:
        """Start a new generation now if the source is not the one that the cursor belongs to.

        Raises:
            SourceReset: if it is another one and the settings say to stop.
        """
        try:
            self._source.verify(self.cursor())
        except SourceReset as reset:
            self._new_generation(reset)

    def _new_generation(self, reset: SourceReset) -> None:
        if self._stop_on_reset:
            raise SourceReset(
                reset.fact,
                'If it is meant to be new, set on_source_reset = "new_generation"; if not, put the old one back',
            ) from None
        fresh = self.cursor().next_generation()
        known = self._known_until()
        if known is not None:
            fresh = self._source.placed(fresh, known).marked(**{Mark.BEGINS: known})
        self._log.warning(
            Event.SOURCE_RESET, mode=self.name, reason=reset.fact, generation=fresh.generation, known_until=known
        )
        self._ahead = fresh
        self._memory = None

    def _known_until(self) -> int | None:
        """The last row of the new source's beginning that came from the one before, such as from its backup."""
        stands = self.sink.committed()
        if stands is None:
            return None
        from edge_delta.delivery.lineage import Lineage  # noqa: PLC0415 - seldom needed

        context = Context(self._node_id, stands.generation, self._now(), self._source.table)
        return Lineage(self._source, self._mode(), self.sink, context, stands.rowid).known_until()

    # -- one batch, one commit

    def step(self, *, limit: int, upto: int | None = None) -> Step | None:
        """Deliver the next batch; None if there is none."""
        batch = self._next_batch(limit, upto)
        return None if batch is None else self._deliver(batch)

    def _deliver(self, batch: Batch) -> Step:
        mode, context = self._mode(), self._context(batch.cursor)
        made = self._made(batch, context)
        rejected = [*batch.rejected, *made.rejected]
        self._write_rejected(rejected, batch.cursor)
        commit = self.sink.append(made.kept, batch.cursor) if made.kept.height else None
        self._ahead = None if commit is not None else batch.cursor
        if context.memory is not None:
            self._memory = mode.remembered(context.memory, made.frame, made.kept, batch.layout)
        return Step(batch.rows, len(rejected), commit, batch.first_rowid, batch.cursor, made.last_time)

    def _made(self, batch: Batch, context: Context) -> Made:
        """What the mode makes of the batch: what was prepared, if the same would come of it now."""
        from edge_delta.delivery import fitting  # noqa: PLC0415 - not before there are rows

        mode, there, ready = self._mode(), self.sink.columns(), batch.prepared
        if isinstance(ready, _Prepared) and ready.suits(mode, batch.cursor, there):
            return ready.made
        return fitting.made(batch, mode, there, context)

    def _preparation(self) -> Callable[[Batch], _Prepared | None] | None:
        """What a reader's thread can do of this lane's work: all but writing, unless the mode looks back."""
        there = self.sink.schema()

        def prepare(batch: Batch) -> _Prepared | None:
            from edge_delta.delivery import fitting  # noqa: PLC0415
            from edge_delta.sinks.delta.types import to_polars  # noqa: PLC0415

            mode, context = self._mode(), self._plain_context(batch.cursor)
            if mode.wanted(batch.layout, context) is not None:
                return None
            made = fitting.made(batch, mode, to_polars(there), context)
            return _Prepared(mode, batch.cursor, made)

        return prepare

    def look_after(self) -> None:
        """Count a commit to the mode's table, and compact it when that is due."""
        if self._keepers is not None and self._keepers[0].committed():
            self.sink.forget()  # its handle knows the files that were there before

    def finish_source(self) -> None:
        """The source is about to be replaced by another one; whatever still depends on it has to be written now."""

    def adopt(self, cursor: Cursor) -> None:
        """Go on from where another mode stands, recorded in this mode's table before any row."""
        stands = self.sink.committed()
        if stands is not None and (stands.generation, stands.rowid) >= (cursor.generation, cursor.rowid):
            return
        self._ahead = self._adopted(cursor)
        if cursor.rowid == BEFORE_FIRST:
            return
        self.sink.append(self._no_rows(), self._ahead)
        self._ahead = None

    def go_back(self, cursor: Cursor) -> Commit:
        """Go on from an earlier row, as a new generation; committed without rows."""
        return self.sink.append(self._no_rows(), cursor)

    def _adopted(self, cursor: Cursor) -> Cursor:
        """Another mode's cursor with the marks that matter here too."""
        since = {name: n for name, n in cursor.marks.items() if name in (Mark.SINCE, Mark.SINCE_ROWID)}
        begins: dict[str, int] = {Mark.BEGINS: cursor.rowid} if cursor.rowid != BEFORE_FIRST else {}
        return replace(cursor, marks={**since, **begins})

    def _no_rows(self) -> pl.DataFrame:
        """A frame without rows in the shape of the mode's table."""
        import polars as pl  # noqa: PLC0415

        from edge_delta.modes.base import DTYPES, ROWID  # noqa: PLC0415

        if self.sink.exists():
            there = self.sink.columns()
            return pl.DataFrame(schema={name: dtype for name, dtype in there.items() if dtype is not None})
        columns = {ROWID: pl.Int64(), **{c.alias: DTYPES[c.kind] for c in self._source.columns}}
        return self._empty(pl.DataFrame(schema=columns))

    def _empty(self, columns: pl.DataFrame) -> pl.DataFrame:
        """What the mode makes of a batch without rows."""
        from edge_delta.delivery import fitting  # noqa: PLC0415

        context = Context(self._node_id, 0, self._now(), self._source.table)
        return fitting.split(self._mode().plan(columns.lazy(), self._source.layout, context), columns)[0]

    def settle(self) -> Commit | None:
        """Commit the cursor by itself where the last batches wrote no row to the mode's table.

        The table is made for that if it is not there yet: else a device without alerts would read all its rows again at
        every start.
        """
        if self._ahead is None or self._ahead.rowid == BEFORE_FIRST:
            return None
        commit = self.sink.append(self._no_rows(), self._ahead)
        self._ahead = None
        return commit

    def _next_batch(self, limit: int, upto: int | None) -> Batch | None:
        try:
            return self._source.read_after(self.cursor(), limit=limit, upto=upto, prepare=self._preparation())
        except SourceReset as reset:
            self._new_generation(reset)
            return self._source.read_after(self.cursor(), limit=limit)

    # -- the mode, and what it may know

    def _mode(self) -> Mode:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load_mode()
            return self._loaded

    def _context(self, cursor: Cursor) -> Context:
        context = self._plain_context(cursor)
        if self._memory is None:
            self._memory = self._recalled(self._mode().wanted(self._source.layout, context))
        return context if self._memory is None else replace(context, memory=self._memory)

    def _plain_context(self, cursor: Cursor) -> Context:
        return Context(self._node_id, cursor.generation, self._now(), self._source.table)

    def _recalled(self, request: LastValues | TableQuery | None) -> pl.DataFrame | None:
        """What the mode looks back at, as it is before the next batch."""
        import polars as pl  # noqa: PLC0415

        from edge_delta.modes.base import LastValues  # noqa: PLC0415

        if request is None:
            return None
        if isinstance(request, LastValues):
            schema = {"sensor_id": pl.String(), **request.dtypes}
            columns = {name: (column, *request.limits[name]) for name, column in request.columns.items()}
            found = self._source.last_values(request.sensor, columns, upto=self.cursor().rowid)
        else:
            schema = dict(request.schema)
            found = self.sink.query(request.sql) if self.sink.exists() else pl.DataFrame(schema=schema)
        return found.select(pl.col(name).cast(dtype, strict=False) for name, dtype in schema.items())

    def _write_rejected(self, rejected: list[Rejection], cursor: Cursor) -> None:
        """Rejected rows go first. What the rejected table already holds of this batch is not written again."""
        if not rejected:
            return
        from edge_delta.sinks.rejected import as_frame  # noqa: PLC0415

        stands = self.rejects.committed()
        if stands is not None and stands.generation == cursor.generation:
            rejected = [r for r in rejected if r.rowid > stands.rowid]
        if not rejected:
            return
        rejected = self._mode().redacted(rejected, self._source.layout)
        context = Context(self._node_id, cursor.generation, self._now())
        frame = as_frame(rejected, context, mode=self.name, source_table=self._source.table)
        commit = self.rejects.append(frame, cursor)
        if self._keepers is not None and self._keepers[1].committed():
            self.rejects.forget()
        counts = Counter(f"{r.rule}: {r.column}" for r in rejected)
        self._log.warning(
            Event.ROWS_REJECTED,
            table=commit.table,
            mode=self.name,
            rows=len(rejected),
            bytes=commit.bytes,
            by=dict(counts),
        )
